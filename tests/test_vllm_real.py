"""vLLM itself, on the CPU: `make vllm` installs it and runs these tests, which else say so and do nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer  # noqa: E402

import profilegym as pg  # noqa: E402
from profilegym import Trajectory  # noqa: E402
from profilegym.agents.agent import make_agent  # noqa: E402
from profilegym.agents.models import smollm2  # noqa: E402
from profilegym.agents.models.model import STOPS, Turn, make_model  # noqa: E402
from profilegym.agents.models.openai_formats import ContinuedChat  # noqa: E402
from profilegym.agents.models.openai_policy import ServedModel  # noqa: E402
from profilegym.agents.models.tokenize import tokens_of  # noqa: E402
from profilegym.agents.rollout import Job, Rollout  # noqa: E402
from profilegym.envs.chat import Sampling  # noqa: E402
from profilegym.envs.tools import Toolset, make_tools  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.training.recipe import Recipe  # noqa: E402
from profilegym.training.settings import check_settings  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.vllm_real]

HERE = Path(__file__).parents[1] / ".venv" / "with-vllm" / "bin" / "vllm"
LORA = ("--enable-lora", "--max-lora-rank", "16", "--max-loras", "6")
GREEDY = Sampling(0.0, max_tokens=48)
STARTS_WITHIN = 300  # seconds
PATIENCE = 3600  # seconds for an episode and for a turn, on a machine that does other things
COMPARED = 200  # turns


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
    try:
        made.start()
        yield made
    finally:
        made.kill()


def played(model: Any, count: int, **options: Any) -> list[Trajectory]:
    """Greedy episodes on questions of the world, with the profile."""

    async def play() -> list[Trajectory]:
        given = {"max_searches": 2, **options}
        rollout = Rollout(
            model, pg.make_retriever("bm25"), sampling=GREEDY, deadline=PATIENCE, max_tokens=160, options=given
        )
        questions = pg.load_questions("world:seed=7,users=100/test")
        jobs = [Job(questions[number], make_agent("pr2")) for number in range(count)]
        try:
            return [trajectory async for trajectory in rollout.run(jobs)]
        finally:
            await model.close()

    return asyncio.run(play())


def same_turns(model: Any, transcripts: Sequence[Sequence[Segment]], tools: Toolset | None = None) -> list[Turn]:
    """The model's greedy turn after each transcript."""
    stop = STOPS["tags" if tools is None else "tools"]

    async def turn(segments: Sequence[Segment]) -> Turn:
        session = model.open(None, 0)
        if tools is not None:
            session.tools = tools.schemas
        try:
            return await session.generate(segments, GREEDY, stop)  # type: ignore[no-any-return]
        finally:
            session.close()

    async def turns() -> list[Turn]:
        try:
            return await asyncio.gather(*map(turn, transcripts))
        finally:
            await model.close()

    return asyncio.run(turns())


@dataclass(frozen=True)
class Written:
    """Turns that vLLM wrote, in tokens and in text, each after its transcript."""

    transcripts: list[list[Segment]]
    tokens: list[list[int]]
    texts: list[str]

    @classmethod
    def of(cls, episodes: Sequence[Trajectory]) -> "Written":
        found = [
            (trajectory.segments[:number], segment)
            for trajectory in episodes
            for number, segment in enumerate(trajectory.segments)
            if segment.author == "policy" and segment.tokens
        ][:COMPARED]
        assert len(found) == COMPARED
        return cls(
            [list(before) for before, _ in found], [list(turn.tokens or ()) for _, turn in found],
            [turn.text for _, turn in found],
        )  # fmt: skip


def told(what: str, same: Sequence[bool]) -> int:
    print(f"{what}: {sum(same)} of {len(same)} turns are the same")
    return sum(same)


@pytest.fixture(scope="module")
def written(server: Serving) -> Written:
    return Written.of(played(make_model(f"vllm:{server.url},timeout={PATIENCE}"), 80))


@pytest.fixture(scope="module")
def local(written: Written) -> list[Turn]:
    """What the local engine writes in their place."""
    return same_turns(make_model("smollm2"), written.transcripts)


def test_greedy_turns_are_those_of_the_local_engine(written: Written, local: list[Turn]) -> None:
    same = [list(turn.tokens or ()) == tokens for turn, tokens in zip(local, written.tokens, strict=True)]

    assert told("vllm:", same) >= 0.99 * COMPARED


def test_greedy_turns_by_chat_are_those_of_the_local_engine_where_both_read_the_same_tokens(
    server: Serving, written: Written, local: list[Turn]
) -> None:
    """Chat sends text: the blank line before a turn is one token to the local engine, and two inside a longer text."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2.weights())
    chat = make_model(f"openai:smollm2,base_url={server.url}/v1,api_key=none,concurrency=16,timeout={PATIENCE}")

    turns = same_turns(chat, written.transcripts)

    assert isinstance(chat, ServedModel)
    assert chat.text_form == "continued"
    same = [turn.text == other.text for turn, other in zip(turns, local, strict=True)]
    told("chat", same)
    alike = [one for one, read in zip(same, written.transcripts, strict=True) if reads_alike(read, tokenizer)]
    assert len(alike) >= COMPARED / 3
    assert told("chat, the same tokens read", alike) >= 0.99 * len(alike)


def reads_alike(transcript: Sequence[Segment], tokenizer: Any) -> bool:
    """Whether the tokens of a transcript are those that a chat server makes of its text."""
    asked = ContinuedChat().body(transcript, ())
    continued = bool(asked.get("continue_final_message"))
    text = tokenizer.apply_chat_template(
        asked["messages"], tokenize=False, continue_final_message=continued, add_generation_prompt=not continued
    )
    exact = [token for tokens in tokens_of(transcript, tokenizer) for token in tokens]
    return bool(tokenizer.encode(text, add_special_tokens=False) == exact)


def test_greedy_turns_with_native_tools_are_those_of_the_local_engine(server: Serving, tmp_path: Path) -> None:
    """SmolLM2's own template has no tools: both sides are given one that has."""
    from test_native_tools import QWEN

    for file in smollm2.weights().iterdir():
        if file.name not in ("chat_template.jinja", "tokenizer_config.json"):
            (tmp_path / file.name).symlink_to(file)
    tokenizer = AutoTokenizer.from_pretrained(smollm2.weights())
    tokenizer.chat_template = QWEN
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for file in (tmp_path / "tokenizer").iterdir():
        file.replace(tmp_path / file.name)
    tools = make_tools("search_profile+latest")
    asked = make_model(f"vllm:{server.url},timeout={PATIENCE},tokenizer={tmp_path}")
    written = Written.of(played(asked, 100, protocol="tools", tools=tools))

    local = same_turns(make_model(f"hf:{tmp_path}"), written.transcripts, tools)

    same = [list(turn.tokens or ()) == tokens for turn, tokens in zip(local, written.tokens, strict=True)]
    assert told("native tools", same) >= 0.99 * COMPARED


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


@dataclass
class Run:
    """A training run, its episodes in the order in which they were recorded, and when each step ended."""

    trainer: Any
    before: dict[str, Any]
    episodes: list[Trajectory]
    ended: list[float]


def above_zero(episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
    """A reward of 0 is none of these."""
    from tiny_policy import by_chance

    return [pg.Reward(1 + (reward.total or 0)) for reward in by_chance()(list(episodes))]


def trained(recipe: Recipe, folder: Path) -> Run:
    """FlashAttention and the name of a GPU are stood in for here (`training/grpo/without_gpu.py`)."""
    from transformers import TrainerCallback

    from profilegym.training.grpo.async_trainer import make_async_trainer
    from profilegym.training.runtime import quieten

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.monotonic())

    quieten()
    episodes: list[Trajectory] = []
    ended: list[float] = []
    questions = pg.load_questions(recipe.data.train)
    trainer = make_async_trainer(recipe, questions, above_zero, episodes.extend, folder)
    trainer.add_callback(Clock())
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if "lora_" in name}
    trainer.train()
    return Run(trainer, before, episodes, ended)


def total(trajectory: Trajectory) -> float | None:
    return trajectory.reward.total if trajectory.reward is not None else None


def test_two_steps_with_pushed_adapters(server: Serving, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    first = greedy_text(server.url, None)

    run = trained(asked_for(server.url), tmp_path)

    logs = [log for log in run.trainer.state.log_history if "ratio" in log]
    print("ratio", [log["ratio"] for log in logs], "reward", [log["reward"] for log in logs])
    assert [log["step"] for log in logs] == [1, 2]
    assert all(abs(log["ratio"] - 1) <= 0.02 for log in logs)
    after = dict(run.trainer.model.named_parameters())
    moved = [bool((after[name] != weight).any()) for name, weight in run.before.items()]
    assert sum(moved) == len(moved)
    assert greedy_text(server.url, "trl-policy-v3") != first
    assert all((total(trajectory) or 0) >= 1 for trajectory in run.episodes)
    shutil.rmtree(tmp_path / "checkpoints")


def test_a_server_that_is_killed_in_mid_step_and_started_again(server: Serving, tmp_path: Path) -> None:
    """It is gone with an adapter loaded and turns asked for, and back before the last step has ended."""
    recipe = asked_for(server.url, optimiser={"steps": 3, "questions": 2, "learning_rate": 1e-3})
    begun = len(server.log.read_text())
    back: list[float] = []

    def logged() -> str:
        return server.log.read_text()[begun:]

    def outage() -> None:
        while not ("trl-policy-v1" in logged() and logged().count("POST /v1/completions") > 4):
            time.sleep(0.1)
        server.kill()
        server.start()
        back.append(time.monotonic())

    thread = threading.Thread(target=outage, daemon=True)
    thread.start()
    run = trained(recipe, tmp_path)
    thread.join()

    print(f"{len(run.episodes)} episodes; back {run.ended[-1] - back[0]:.0f} s before the end of the last step")
    assert run.trainer.state.global_step == len(run.ended) == 3
    assert back[0] < run.ended[-1]
    rows: dict[int, list[int]] = defaultdict(list)
    for trajectory in run.episodes:
        step, row = map(int, trajectory.id.rpartition(":")[2].split("-"))
        rows[step].append(row)
    assert [sorted(rows[step]) for step in (0, 1, 2)] == [list(range(2 * recipe.group.size))] * 3  # none is lost
    assert {trajectory.ended for trajectory in run.episodes} <= {"answered", "budget", "length"}
    assert all((total(trajectory) or 0) >= 1 for trajectory in run.episodes)
