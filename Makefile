# make train | test | check | bench | docs: each sets up .venv by itself; all it needs is Python ≥ 3.11.
# make llm: SmolLM2-135M-Instruct, a small chat model, into the user's cache: --model smollm2.
# make pilot: the policy that comes with the package, from nothing.
# make results: docs/results.md, every run behind it included, which takes hours; interrupted and run again, it goes on.
# make results-llm: docs/results-llm.md, a pretrained model that learns; 14 hours of two cores. FILE names LoCoMo's published JSON.
# make methods: the tables of docs/methods.md, what recipes train for them included; it goes on as well. MODELS names others to ask.
# make axe | screenshots: what the tests of the viewer's pages look for with (npm); pictures of those pages (Chromium).
# make beside: an episode stepped beside other frameworks, and by the core alone; make clients: the endpoint's tests with both
# majors of the openai client. Each has a virtual environment of its own in .venv, made when it is missing.
# make interop: one episode in every framework of docs/interop.md, those that do not go together in environments of their own.
# make interop-cost: a step in each framework's own loop beside the smallest search environment in it.
# make vllm: the tests of vLLM itself, on the CPU, with vLLM in an environment of its own (constraints-vllm.txt).
# environments: those that beside and clients need, one after the other, as pip writes into this folder while it builds the package.
# WORKERS says how many processes share the tests; those that measure time (marked alone) then run one at a time.
# make lower-bounds: some tests with the lowest versions that pyproject.toml states, in an environment of its own (not of torch).
# make gpu: rollouts and GRPO steps on one GPU, toy size without one; make gpu-parts: what it needs where there is no network.
# EXTRAS names the optional parts to install and test with: make test EXTRAS=dev,dense,pyserini

PYTHON ?= python3
EXTRAS ?= dev
WORKERS ?= 2
BIN := .venv/bin
comma := ,
AXE := .venv/axe/node_modules/axe-core/axe.min.js
READY := .venv/ready-$(subst $(comma),-,$(EXTRAS))

CLIENT_TESTS := $(patsubst %,tests/test_%.py,endpoint endpoint_server openai_policy judge judge_cache sync)
LOWEST_TESTS := $(patsubst %,tests/test_%.py,profile_qa endpoint judge recipe trl_fields hf vllm_model)

.PHONY: train llm pilot results results-llm methods test environments beside clients clients-2 clients-3 interop interop-cost vllm lower-bounds gpu gpu-parts check bench docs axe screenshots clean
export PROFILEGYM_NO_SKIPS

train: .venv/ready-train
	$(BIN)/profilegym train world/recipes/pr2-world.yaml

pilot: .venv/ready-train
	$(BIN)/python -m profilegym.world.pilot.train

llm: $(if $(filter all,$(subst $(comma), ,$(EXTRAS))),$(READY),.venv/ready-llm-metrics)
	$(BIN)/profilegym model get smollm2

results: .venv/ready-train-dense
	$(BIN)/python -m profilegym.studies.results

results-llm: .venv/ready-train-dense-metrics-view
	$(BIN)/profilegym model get smollm2
	$(BIN)/python -m profilegym.studies.results_llm $(if $(FILE),--file $(FILE))

methods: .venv/ready-train-dense-metrics$(if $(MODELS),-endpoint)
	$(BIN)/profilegym train world/recipes/prlm-world-lamp-5.yaml
	$(BIN)/profilegym train world/recipes/tagpr-world-lamp-2.yaml
	$(BIN)/python -m profilegym.studies.methods $(if $(MODELS),--models $(MODELS))

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not alone'
	$(BIN)/python -m pytest -m alone $(shell grep -l pytest.mark.alone tests/test_*.py)

environments:
	$(MAKE) -j1 $(patsubst %,.venv/with-%/ready,alone inspect verifiers openenv openai-2 openai-3)

beside: .venv/with-alone/ready .venv/with-verifiers/ready .venv/with-openenv/ready
	.venv/with-alone/bin/python tests/beside/step_alone.py
	.venv/with-verifiers/bin/python tests/beside/step_beside_verifiers.py
	.venv/with-openenv/bin/python tests/beside/step_beside_openenv.py

clients: clients-2 clients-3

clients-2 clients-3: clients-%: .venv/with-openai-%/ready
	.venv/with-openai-$*/bin/python -m pytest -q $(CLIENT_TESTS)

interop: .venv/ready-llm-dev environments
	$(MAKE) -j1 .venv/with-skyrl/ready .venv/with-verl/ready
	$(BIN)/python -m pytest -q -k interop

interop-cost: .venv/ready-llm-dev environments
	$(MAKE) -j1 .venv/with-skyrl/ready .venv/with-verl/ready
	for one in openenv skyrl verifiers verl inspect; do \
	  .venv/with-$$one/bin/python tests/interop/cost_$$one.py 2> .venv/cost.log || { tail .venv/cost.log; exit 1; }; done
	$(BIN)/python tests/interop/cost_trl.py

vllm: .venv/ready-llm-dev .venv/with-vllm/ready
	$(BIN)/python -m pytest -q -m vllm_real

lower-bounds: .venv/with-lowest/ready
	.venv/with-lowest/bin/python -m pytest -q -W default -m "not slow" $(LOWEST_TESTS)
	.venv/with-lowest/bin/python -m pytest -q -W default tests/test_train_command.py -k smallest_recipe

gpu: $(if $(wildcard gpu-parts/part-*),.venv/with-gpu/ready,.venv/ready-llm)
	$(if $(wildcard gpu-parts/part-*),.venv/with-gpu/bin,$(BIN))/python -m profilegym bench gpu --out gpu.json

gpu-parts: .venv/ready-llm
	$(BIN)/python benchmarks/gpu_parts.py pack gpu-parts

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build .typed && $(BIN)/python -m pip install -q --no-deps --no-build-isolation --target .typed . && rm -rf build
	cp -r studies .typed/profilegym/ # not in the wheel
	MYPYPATH=.typed $(BIN)/mypy -p profilegym
	MYPYPATH=.typed:tests $(BIN)/mypy --explicit-package-bases $(wildcard tests/*.py) $(wildcard examples/*.py)
	$(BIN)/python docs/generate.py --check

bench: $(READY)
	$(BIN)/profilegym bench retrieval
	$(BIN)/profilegym bench env
	$(BIN)/profilegym bench judge

docs: $(READY)
	$(BIN)/python docs/generate.py

axe: $(AXE)

$(AXE): | $(READY)
	npm install --silent --no-save --no-audit --no-fund --prefix .venv/axe axe-core@4.14.1

screenshots: .venv/ready-dev-view
	$(BIN)/python docs/screenshots.py

.venv/with-verifiers/ready: WITH := 'verifiers==0.4.*'
.venv/with-openenv/ready: WITH := 'openenv==0.10.*' httpx
.venv/with-inspect/ready: WITH := 'inspect_ai==0.3.285'
# These two pin releases for GPUs that nothing here uses, so they come without what they require.
.venv/with-skyrl/ready: WITH := 'skyrl-gym==0.4.*' torch==2.13.0 'ray==2.57.0' 'transformers<=5.16.1' aiohttp cloudpathlib \
  jaxtyping loguru orjson pybase64 tqdm
.venv/with-skyrl/ready: WITHOUT := 'skyrl==0.4.*'
.venv/with-verl/ready: WITH := torch==2.13.0 'ray>=2.50' 'tensordict>=0.8,<=0.10,!=0.9.0' 'transformers>=5.5.3,<5.11,!=5.6.0' accelerate \
  cachetools codetiming datasets dill fastapi hydra-core pandas peft pillow pyarrow torchdata uvicorn
.venv/with-verl/ready: WITHOUT := 'verl==0.9.*'
.venv/with-openai-2/ready: WITH := 'openai[aiohttp]==2.54.0' hypothesis pytest
.venv/with-openai-3/ready: WITH := 'openai[aiohttp]==3.*' hypothesis pytest

.venv/with-vllm/ready: constraints-vllm.txt tests/install_vllm.py
	$(PYTHON) tests/install_vllm.py $(@D) constraints-vllm.txt
	touch $@

.venv/with-lowest/ready: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv $(@D)
	$(PYTHON) tests/lowest.py > $(@D)/lowest.txt
	$(@D)/bin/python -m pip install -q --disable-pip-version-check -e '.[endpoint,train]' hypothesis pytest \
	  -c $(@D)/lowest.txt
	touch $@

.venv/with-gpu/ready: $(wildcard gpu-parts/part-*)
	$(PYTHON) benchmarks/gpu_parts.py install gpu-parts $(@D)
	touch $@

.venv/with-%/ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check -e . $(WITH)
	$(if $(WITHOUT),$(@D)/bin/python -m pip install -q --no-deps --ignore-requires-python $(WITHOUT))
	touch $@

clean:
	rm -rf .venv .typed build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/ready-%: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("profilegym needs Python 3.11 or newer; this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(subst -,$(comma),$*)]'
	touch $@
