"""vLLM itself, on the CPU: `make vllm` installs it and runs these tests, which else say so and do nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import profilegym as pg  # noqa: E402
from profilegym import Trajectory  # noqa: E402
from profilegym.agents.agent import make_agent  # noqa: E402
from profilegym.agents.models import smollm2  # noqa: E402
from profilegym.agents.models.model import STOPS, Turn, make_model  # noqa: E402
from profilegym.agents.rollout import Job, Rollout  # noqa: E402
from profilegym.envs.chat import Sampling  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.training.recipe import Recipe  # noqa: E402
from profilegym.training.settings import check_settings  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.vllm_real]

HERE = Path(__file__).parents[1] / ".venv" / "with-vllm" / "bin" / "vllm"
LORA = ("--enable-lora", "--max-lora-rank", "16", "--max-loras", "6")
GREEDY = Sampling(0.0, max_tokens=48)
STARTS_WITHIN = 300  # seconds


@dataclass
class Serving:
    """A vLLM server of SmolLM2 on a port of its own, which can be killed and started again."""

    program: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(self.port)]
        options += ["--dtype", "float32", "--max-model-len", "4096", *LORA]
        settings = {
            "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_SERVER_DEV_MODE": "1",
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", str(smollm2.weights()), *options],
                stdout=log, stderr=log, env=os.environ | settings, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.5)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """The server with its engine, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    program = Path(os.environ.get("PROFILEGYM_VLLM") or HERE)
    if not program.exists():
        pytest.skip("vLLM is not here: make vllm, or name its executable in PROFILEGYM_VLLM")
    if not (smollm2.folder() / "config.json").exists():
        pytest.skip("smollm2 is not here: make llm")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Serving(program, port, tmp_path_factory.mktemp("vllm") / "server.log")
    made.start()
    yield made
    made.kill()


def played(model: Any, count: int) -> list[Trajectory]:
    """Greedy episodes on questions of the world, with the profile."""

    async def play() -> list[Trajectory]:
        rollout = Rollout(
            model, pg.make_retriever("bm25"), sampling=GREEDY, max_tokens=160, options={"max_searches": 2}
        )
        questions = pg.load_questions("world:seed=7,users=80/test")
        jobs = [Job(questions[number], make_agent("pr2")) for number in range(count)]
        try:
            return [trajectory async for trajectory in rollout.run(jobs)]
        finally:
            await model.close()

    return asyncio.run(play())


def same_turns(model: Any, transcripts: Sequence[Sequence[Segment]]) -> list[Turn]:
    async def turn(segments: Sequence[Segment]) -> Turn:
        session = model.open(None, 0)
        try:
            return await session.generate(segments, GREEDY, STOPS["tags"])  # type: ignore[no-any-return]
        finally:
            session.close()

    async def turns() -> list[Turn]:
        try:
            return await asyncio.gather(*map(turn, transcripts))
        finally:
            await model.close()

    return asyncio.run(turns())


def test_greedy_turns_are_those_of_the_local_engine(server: Serving) -> None:
    transcripts: list[list[Segment]] = []
    written: list[list[int]] = []
    for trajectory in played(make_model(f"vllm:{server.url}"), 80):
        for number, segment in enumerate(trajectory.segments):
            if segment.author == "policy" and segment.tokens:
                transcripts.append(trajectory.segments[:number])
                written.append(list(segment.tokens))
    transcripts, written = transcripts[:200], written[:200]

    local = same_turns(make_model("smollm2"), transcripts)

    same = sum(list(turn.tokens or ()) == tokens for turn, tokens in zip(local, written, strict=True))
    print(f"{same} of {len(written)} turns are the same; {sum(map(len, transcripts)) / len(transcripts):.1f} segments")
    assert len(written) == 200
    assert same >= 198


def test_log_probabilities_are_those_of_the_local_engine(server: Serving) -> None:
    (trajectory,) = played(make_model(f"vllm:{server.url}"), 1)
    segment = next(segment for segment in trajectory.segments if segment.author == "policy")

    (turn,) = same_turns(make_model("smollm2"), [trajectory.segments[:1]])

    assert segment.logprobs == pytest.approx(turn.logprobs, abs=1e-3)


def asked_for(url: str, **changes: Any) -> Recipe:
    content = {
        "about": "a test",
        "model": "smollm2",
        "reward": f"{Path(__file__).with_name('tiny_policy.py')}:by_chance",
        "judge": "rubric",
        "data": {"train": "world:seed=1,users=12/train"},
        "episode": {"max_searches": 1},
        "group": {"personalised": 3, "baseline": 1},
        "generation": {"engine": "vllm-server", "vllm_server": url, "turn_tokens": 24, "max_tokens": 48},
        "optimiser": {"steps": 2, "questions": 2, "learning_rate": 1e-3},
        "lora": {"rank": 8, "alpha": 32, "targets": ["q_proj", "v_proj", "o_proj"]},
        "watch": {"evaluate": 0, "save": 10},
        "trl": {"max_staleness": 1},  # fewer episodes at once, for a server on the CPU
    }
    return check_settings(Recipe, content | changes, "test")


def greedy_text(url: str, model: str | None) -> str:
    asked = make_model(f"vllm:{url}" + (f",model={model}" if model else ""))
    (turn,) = same_turns(asked, [[Segment("environment", "Name three fruits, and say why you like them.")]])
    return turn.text


def trained(recipe: Recipe, folder: Path) -> tuple[Any, list[Trajectory], dict[str, Any]]:
    """FlashAttention and the name of a GPU are stood in for here (`training/grpo/without_gpu.py`)."""
    from tiny_policy import by_chance

    from profilegym.training.grpo.async_trainer import make_async_trainer
    from profilegym.training.runtime import quieten

    quieten()
    episodes: list[Trajectory] = []
    questions = pg.load_questions(recipe.data.train)
    trainer = make_async_trainer(recipe, questions, by_chance(), episodes.extend, folder)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if "lora_" in name}
    trainer.train()
    return trainer, episodes, before


def test_two_steps_with_pushed_adapters(server: Serving, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    first = greedy_text(server.url, None)

    trainer, episodes, before = trained(asked_for(server.url), tmp_path)

    logs = [log for log in trainer.state.log_history if "ratio" in log]
    print("ratio", [log["ratio"] for log in logs], "reward", [log["reward"] for log in logs])
    assert [log["step"] for log in logs] == [1, 2]
    assert all(abs(log["ratio"] - 1) <= 0.02 for log in logs)
    after = dict(trainer.model.named_parameters())
    moved = [bool((after[name] != weight).any()) for name, weight in before.items()]
    assert sum(moved) == len(moved)
    assert greedy_text(server.url, "trl-policy-v3") != first
    assert all(trajectory.reward is not None and trajectory.reward.total is not None for trajectory in episodes)
    shutil.rmtree(tmp_path / "checkpoints")


def test_a_server_that_is_killed_in_mid_step_and_started_again(server: Serving, tmp_path: Path) -> None:
    import threading

    recipe = asked_for(server.url, optimiser={"steps": 3, "questions": 2, "learning_rate": 1e-3})

    def outage() -> None:
        while "trl-policy-v1" not in server.log.read_text()[started:] or not episodes_begun():
            time.sleep(0.1)
        server.kill()
        server.start()

    def episodes_begun() -> bool:
        return server.log.read_text()[started:].count("POST /v1/completions") > 4

    started = len(server.log.read_text())
    thread = threading.Thread(target=outage, daemon=True)
    thread.start()
    trainer, episodes, _ = trained(recipe, tmp_path)
    thread.join()

    assert trainer.state.global_step == 3
    assert {trajectory.ended for trajectory in episodes} <= {"answered", "budget", "length"}
    assert all(trajectory.reward is not None and trajectory.reward.total is not None for trajectory in episodes)
