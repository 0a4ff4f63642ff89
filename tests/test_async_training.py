"""Training with vLLM servers, on the CPU with a fake one: adapters are pushed, runs end, stop and go on."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from tiny_policy import make_tiny_policy, recipe

from profilegym import Trajectory, TrajectoryReader
from profilegym.errors import OptionError
from profilegym.testing import VLLMServer
from profilegym.training.grpo.resuming import step_of
from profilegym.training.metrics import read_metrics
from profilegym.training.recipe import Recipe

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("peft")

from profilegym.training.interruption import Stopped  # noqa: E402
from profilegym.training.train import train  # noqa: E402

pytestmark = pytest.mark.slow

NUMBERS = count()


def numbered(prompt: str, model: str) -> str:
    return f"<answer>{next(NUMBERS)}</answer>"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def server(policy: Path) -> Iterator[VLLMServer]:
    from transformers import AutoTokenizer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with VLLMServer(numbered, tokenizer=AutoTokenizer.from_pretrained(policy), context=2048) as one:
        yield one
    torch.set_num_threads(threads)


def asked(policy: Path, server: VLLMServer, **changes: Any) -> Recipe:
    served = {"engine": "vllm-server", "vllm_server": server.base, "turn_tokens": 40, "max_tokens": 80}
    settings: dict[str, Any] = {
        "generation": served,
        "optimiser": {"steps": 3, "questions": 2, "learning_rate": 1e-3},
        "lora": {"rank": 4, "alpha": 8},
        "trl": {"max_staleness": 1},
    }
    return recipe(policy, **(settings | changes))


def run(recipe: Recipe, out: Path) -> list[Trajectory]:
    train(recipe, out, lambda step, metrics: None)
    return list(TrajectoryReader(out / "trajectories.jsonl"))


def test_a_run_pushes_its_adapters_and_keeps_the_policy_metrics_and_episodes(
    policy: Path, server: VLLMServer, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    played = run(asked(policy, server), tmp_path)

    assert {path.rpartition("/")[2] for path in server.adapters.values()} <= {f"trl-policy-v{v}" for v in (2, 3, 4)}
    assert [path for path in server.controls if path == "/v1/load_lora_adapter"] == ["/v1/load_lora_adapter"] * 4
    asked_for = {body["model"] for body in server.seen}
    assert "fake" not in asked_for
    assert len(asked_for) >= 2
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert [step["step"] for step in metrics] == [1, 2, 3]
    assert all({"score", "gain", "ratio", "reward"} <= set(step) for step in metrics[:1])
    assert len(played) >= 3 * 8
    assert all(t.ended == "answered" and t.advantage is not None for t in played)
    before, after = (AutoModelForCausalLM.from_pretrained(path) for path in (policy, tmp_path / "final"))
    names = [name for name, weight in before.named_parameters() if (weight != after.get_parameter(name)).any()]
    assert names
    assert all("_proj" in name for name in names)


def test_a_server_that_is_killed_in_mid_step_costs_time_and_nothing_else(
    policy: Path, server: VLLMServer, tmp_path: Path
) -> None:
    def outage() -> None:
        while server.answered < 12:
            time.sleep(0.01)
        server.stop()
        time.sleep(1.0)
        server.start()

    server._latency = lambda body: 0.05
    killer = threading.Thread(target=outage, daemon=True)
    killer.start()
    played = run(asked(policy, server), tmp_path)
    killer.join()

    assert [step["step"] for step in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert {trajectory.ended for trajectory in played} == {"answered"}, [t.error for t in played if t.error]
    assert all(trajectory.reward is not None and trajectory.reward.total is not None for trajectory in played)


def test_a_run_that_was_interrupted_goes_on_with_the_next_questions(
    policy: Path, server: VLLMServer, tmp_path: Path
) -> None:
    def interrupt(step: int, _: Any) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=naming("SIGTERM")):
        train(asked(policy, server), tmp_path, interrupt)
    before = list(TrajectoryReader(tmp_path / "trajectories.jsonl"))
    done = read_metrics(tmp_path / "metrics.jsonl")[-1]["step"]
    played = run(asked(policy, server), tmp_path)[len(before) :]

    assert [step["step"] for step in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert (tmp_path / "final" / "config.json").exists()
    assert 1 <= done < 3
    assert min(step_of(trajectory) for trajectory in before) == 0
    assert min(step_of(trajectory) for trajectory in played) == done  # those that had been played ahead, too


def test_the_policy_behind_the_servers_is_evaluated(policy: Path, server: VLLMServer, tmp_path: Path) -> None:
    data = {"train": "world:seed=1,users=12/train", "validation": "world:seed=1,users=12/validation"}
    watch = {"evaluate": 3, "questions": 4, "save": 3}

    run(asked(policy, server, data=data, watch=watch), tmp_path)

    steps = read_metrics(tmp_path / "metrics.jsonl")
    assert [step["step"] for step in steps if "validation_score" in step] == [0, 3]


def test_log_probabilities_without_the_temperature_are_refused(
    policy: Path, server: VLLMServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VLLMServer, "logprobs_mode", "raw_logprobs")
    settings = {"engine": "vllm-server", "vllm_server": server.base, "turn_tokens": 40, "max_tokens": 80}

    with pytest.raises(OptionError, match=naming("raw_logprobs", "0.7", server.base)):
        run(asked(policy, server, generation=settings | {"temperature": 0.7}), tmp_path)
