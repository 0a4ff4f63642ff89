"""Rollouts that vLLM writes, with a stand-in for it: there is none without a GPU."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy, recipe

from profilegym import Trajectory, TrajectoryReader

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from vllm_stand_in import StandIn  # noqa: E402

from profilegym.agents.models.hf import HFModel  # noqa: E402
from profilegym.agents.models.stop_criteria import Stops  # noqa: E402
from profilegym.envs.chat import Sampling  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.errors import ModelError  # noqa: E402
from profilegym.training import checks  # noqa: E402
from profilegym.training.grpo import trainer as grpo  # noqa: E402
from profilegym.training.grpo.vllm import VLLMModel  # noqa: E402
from profilegym.training.train import train  # noqa: E402

pytestmark = pytest.mark.slow

STOP = ("</search>", "</answer>")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def played_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StandIn]]:
    """The stand-ins that trainers made for themselves."""
    made: list[StandIn] = []

    def make(**settings: Any) -> StandIn:
        made.append(StandIn(**settings))
        return made[-1]

    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", make)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def generation(engine: str) -> dict[str, Any]:
    server = {"vllm_server": "http://127.0.0.1:9"} if engine == "vllm-server" else {}
    return {"engine": engine, "turn_tokens": 12, "max_tokens": 30, **server}


@pytest.mark.parametrize("engine", ["vllm", "vllm-server"])
def test_what_vllm_sampled_is_trained_on_with_the_log_probabilities_it_was_sampled_with(
    engine: str, policy: Path, tmp_path: Path, played_by: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        batches.append(original(self, inputs))
        return batches[-1]

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)  # rows without an advantage, too
    asked = recipe(policy, generation=generation(engine), optimiser={"steps": 2, "questions": 3, "learning_rate": 1e-3})

    train(asked, tmp_path, lambda step, metrics: None)

    played = list(TrajectoryReader(tmp_path / "trajectories.jsonl"))
    assert len(played) == 24
    assert any(len(one.segments) > 2 for one in played)
    for step, output in enumerate(batches):
        mask = (output["completion_mask"] * output["tool_mask"]).bool()
        for row, trajectory in enumerate(played[12 * step : 12 * step + 12]):
            if trajectory.kind == "personalised":
                tokens, logprobs = sampled(trajectory)
                assert output["completion_ids"][row][mask[row]].tolist() == tokens
                assert output["sampling_per_token_logps"][row][mask[row]].tolist() == pytest.approx(logprobs, abs=1e-6)
        torch.testing.assert_close(output["importance_sampling_ratio"], torch.ones(12, 1), atol=1e-4, rtol=0)
    (stand_in,) = played_by
    assert stand_in.synced == 2
    assert stand_in.settings["mode"] == ("server" if engine == "vllm-server" else "colocate")
    assert stand_in.settings["generation_kwargs"] == {"stop": [*STOP], "include_stop_str_in_output": True}
    turns = sum(segment.author == "policy" for one in played for segment in one.segments)
    assert sum(stand_in.asked) == turns
    assert len(stand_in.asked) <= 2 * 6  # everybody's next turn at once


def sampled(trajectory: Trajectory) -> tuple[list[int], list[float]]:
    turns = [segment for segment in trajectory.segments if segment.author == "policy"]
    return (
        [token for turn in turns for token in turn.tokens or ()],
        [logprob for turn in turns for logprob in turn.logprobs or ()],
    )


def test_two_processes_ask_one_server_together(policy: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import trl.trainer.grpo_trainer as trainer\n"
        "from vllm_stand_in import StandIn\n"
        "from tiny_policy import recipe\n"
        "from profilegym.training.train import train\n"
        "trainer.VLLMGeneration = StandIn\n"
        f"asked = recipe(Path({str(policy)!r}), generation={generation('vllm-server')!r},\n"
        "    optimiser={'steps': 2, 'questions': 3, 'learning_rate': 1e-3})\n"
        f"train(asked, Path({str(tmp_path / 'run')!r}), lambda step, metrics: None)\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    ended = subprocess.run(
        [*torchrun, str(script)], capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )

    assert ended.returncode == 0, ended.stderr[-3000:]
    played = list(TrajectoryReader(tmp_path / "run" / "trajectories.jsonl"))
    assert len(played) == 24
    assert "error" not in {one.ended for one in played}


class Broken:
    def generate(self, *_: Any) -> Any:
        raise ConnectionError("the server hung up")


class Unknown:
    """Does not say how likely a token was."""

    def generate(self, prompts: list[list[int]], *_: Any) -> Any:
        return prompts, [[0, 1]] * len(prompts), [[[None], [-1.0]]] * len(prompts), None


SAID = [Segment("environment", "A question?")]


def asking(policy: Path, generation: Any) -> VLLMModel:
    local = HFModel.load(str(policy))
    return VLLMModel(generation, local.tokenizer, Stops.of(local.model, local.tokenizer), STOP, together=False)


def spoken(policy: Path, generation: Any, most: int) -> Any:
    model = asking(policy, generation)
    return asyncio.run(model.open(None, 0).generate(SAID, Sampling(1.0, max_tokens=most), STOP))  # type: ignore[arg-type]


def test_a_round_that_fails_reaches_those_who_wait_beside_one_who_gave_up(policy: Path) -> None:
    async def work() -> None:
        model = asking(policy, Broken())
        given_up, waiting = (asyncio.create_task(model.turn(SAID, 8)) for _ in range(2))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(ModelError):
            await asyncio.wait_for(waiting, 10)

    asyncio.run(work())


def test_a_server_that_fails_is_no_turn(policy: Path) -> None:
    with pytest.raises(ModelError, match="the server hung up"):
        spoken(policy, Broken(), most=8)


def test_how_a_turn_ended(policy: Path) -> None:
    assert spoken(policy, Unknown(), most=2).finish == "length"
    assert spoken(policy, Unknown(), most=8).finish == "context"  # it said less than it might, and not its end
    assert spoken(policy, Unknown(), most=1).tokens == [0]


def test_a_likelihood_that_is_not_known_is_not_made_up(policy: Path) -> None:
    assert spoken(policy, Unknown(), most=8).logprobs is None


@pytest.mark.parametrize("engine", ["vllm", "vllm-server"])
def test_without_vllm_a_recipe_that_asks_for_it_is_told_what_is_missing(engine: str, policy: Path) -> None:
    assert checks.missing_packages(recipe(policy, generation=generation(engine))) == [
        "vLLM not installed: pip install 'trl[vllm]'"
    ]
