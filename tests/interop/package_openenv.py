"""examples/openenv as OpenEnv's own validation sees it, and its server with oracle, floor, sessions and tasks."""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from openenv.cli._validation import validate_running_environment
from openenv.core import GenericEnvClient
from openenv.validation import Level, Verdict, run_validation
from openenv.validation.parsers.openenv_yaml import OpenEnvYamlParser
from openenv.validation.runtime.collector import collect_runtime_evidence
from openenv.validation.runtime.contracts import load_runtime_plan

from profilegym._util.loopback import listen

PACKAGE = Path(__file__).parent.parent.parent / "examples/openenv"
sys.path[:0] = [str(PACKAGE), str(PACKAGE / "validation")]

from oracle import plan  # noqa: E402
from server.app import app  # noqa: E402

report = run_validation(PACKAGE, max_level=Level.STATIC)
assert report.verdict is Verdict.PASS, report

manifest = OpenEnvYamlParser().parse(PACKAGE)
probe = load_runtime_plan(PACKAGE, manifest.execution)
assert probe.model_dump() == plan(), "stale: python validation/oracle.py > validation/runtime.json"

listening = listen(0)
url = f"http://127.0.0.1:{listening.getsockname()[1]}"
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
while not server.started:
    time.sleep(0.05)

live = validate_running_environment(url, timeout_s=60)
assert live["passed"], live

evidence = collect_runtime_evidence(url, probe, episode_timeout_s=manifest.resources.episode_timeout_s)
assert evidence.failure_reason is None, evidence

QUESTION = probe.reset.options["question_id"]


def play(actions: list[dict[str, Any]], **reset: Any) -> Any:
    with GenericEnvClient(base_url=url) as client:
        results = [client.reset(**reset), *map(client.step, actions)]
        return [(result.observation["text"], result.reward, result.done) for result in results], client.state()


best, state = play(probe.actions, seed=probe.reset.seed, question_id=QUESTION)
again, _ = play(probe.actions, seed=probe.reset.seed, question_id=QUESTION)
floor, _ = play([{"message": "<answer></answer>"}], question_id=QUESTION)
low, high = manifest.reward.range
assert best == again
assert best[-1][1] >= high - manifest.reward.oracle_tolerance
assert high - floor[-1][1] >= manifest.reward.floor_margin
assert set(state if isinstance(state, dict) else state.model_dump()) == {"episode_id", "step_count"}

clients = [GenericEnvClient(base_url=url) for _ in range(8)]
opened = [client.__enter__() for client in clients]
prompts = [client.reset(split="test", index=index).observation["text"] for index, client in enumerate(opened)]
assert len(set(prompts)) == len(clients)
for client in clients:
    client.__exit__(None, None, None)

task = httpx.post(f"{url}/profilegym/task", json={"split": "test", "index": 0}).json()
assert QUESTION in json.dumps(task), task
assert not {"rubric", "profile", "aspects", "text"} & set(json.dumps(task).split('"')), task
server.should_exit = True
print("static and live validation passed; the oracle reaches the maximum, the floor does not")
