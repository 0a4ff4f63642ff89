"""Rollouts that vLLM writes in the training process, with a stand-in for it, as this needs a GPU."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy, recipe

from profilegym import Trajectory, TrajectoryReader

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from transformers import AutoTokenizer  # noqa: E402
from vllm_stand_in import StandIn  # noqa: E402

from profilegym.agents.models.hf import HFModel  # noqa: E402
from profilegym.agents.models.stop_criteria import Stops  # noqa: E402
from profilegym.envs.chat import Sampling  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.errors import ModelError  # noqa: E402
from profilegym.training import checks  # noqa: E402
from profilegym.training.grpo import trainer as grpo  # noqa: E402
from profilegym.training.grpo.colocated import ColocatedVLLM  # noqa: E402
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


def generation() -> dict[str, Any]:
    return {"engine": "vllm", "turn_tokens": 12, "max_tokens": 30}


def test_what_vllm_sampled_is_trained_on_with_the_log_probabilities_it_was_sampled_with(
    policy: Path, tmp_path: Path, played_by: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        batches.append(original(self, inputs))
        return batches[-1]

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)  # rows without an advantage, too
    asked = recipe(policy, generation=generation(), optimiser={"steps": 2, "questions": 3, "learning_rate": 1e-3})

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
    assert stand_in.settings["mode"] == "colocate"
    assert stand_in.settings["generation_kwargs"] == {"stop": [*STOP], "include_stop_str_in_output": True}
    turns = sum(segment.author == "policy" for one in played for segment in one.segments)
    assert sum(stand_in.asked) == turns
    assert len(stand_in.asked) <= 2 * 6  # everybody's next turn at once


def test_vllm_reads_the_chat_template_with_the_options_of_the_recipe(
    policy: Path, tmp_path: Path, played_by: list[StandIn]
) -> None:
    chat = shutil.copytree(policy, tmp_path / "chat")
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant]{{ ' in short' if terse }}"
    (chat / "chat_template.jinja").write_text(template)
    asked = recipe(chat, generation=generation(), optimiser={"steps": 1, "questions": 3})

    train(asked.model_copy(update={"model": f"hf:{chat},system=be,template_terse=true"}), tmp_path, lambda *_: None)

    read = AutoTokenizer.from_pretrained(chat)
    for one in TrajectoryReader(tmp_path / "trajectories.jsonl"):
        text = one.segments[0].text
        expected = f"[system] be[user] {text} [assistant] in short"
        assert one.segments[0].tokens == read(expected, add_special_tokens=False)["input_ids"]


def sampled(trajectory: Trajectory) -> tuple[list[int], list[float]]:
    turns = [segment for segment in trajectory.segments if segment.author == "policy"]
    return (
        [token for turn in turns for token in turn.tokens or ()],
        [logprob for turn in turns for logprob in turn.logprobs or ()],
    )


class Broken:
    def generate(self, *_: Any) -> Any:
        raise ConnectionError("the server hung up")


class Unknown:
    """Does not say how likely a token was."""

    def generate(self, prompts: list[list[int]], *_: Any) -> Any:
        return prompts, [[0, 1]] * len(prompts), [[[None], [-1.0]]] * len(prompts), None


SAID = [Segment("environment", "A question?")]


def asking(policy: Path, generation: Any) -> ColocatedVLLM:
    local = HFModel.load(str(policy))
    return ColocatedVLLM(generation, local.tokenizer, Stops.of(local.model, local.tokenizer), STOP)


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


def test_a_prompt_that_fills_the_context_ends_the_episode_there_and_is_not_sent(policy: Path) -> None:
    local = HFModel.load(str(policy))
    model = ColocatedVLLM(Broken(), local.tokenizer, Stops.of(local.model, local.tokenizer), STOP, context=2)

    turn = asyncio.run(model.open(None, 0).generate(SAID, Sampling(1.0, max_tokens=8), STOP))  # type: ignore[arg-type]

    assert (turn.finish, turn.text, turn.tokens) == ("context", "", [])


def test_other_work_goes_on_while_vllm_generates(policy: Path) -> None:
    judged = threading.Event()

    class Waiting:
        def generate(self, prompts: list[list[int]], *_: Any) -> Any:
            assert judged.wait(10)
            return prompts, [[0]] * len(prompts), [[[-1.0]]] * len(prompts), None

    async def work() -> None:
        turn = asyncio.create_task(asking(policy, Waiting()).turn(SAID, 8))
        while not asked_in_thread():
            await asyncio.sleep(0)
        judged.set()
        assert (await turn).tokens == [0]

    def asked_in_thread() -> bool:
        return any("asyncio" in thread.name for thread in threading.enumerate())

    asyncio.run(work())


def test_below_a_top_p_of_1_each_token_is_weighed_by_the_mass_of_its_nucleus(
    policy: Path, tmp_path: Path, played_by: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        batches.append(original(self, inputs))
        return batches[-1]

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)
    asked = recipe(
        policy, generation=generation() | {"top_p": 0.8}, optimiser={"steps": 1, "questions": 3, "learning_rate": 1e-3}
    )

    train(asked, tmp_path, lambda step, metrics: None)

    (output,) = batches
    mask = (output["completion_mask"] * output["tool_mask"]).bool()
    weights = output["importance_sampling_ratio"][mask]
    assert output["importance_sampling_ratio"].shape == mask.shape
    assert ((weights > 0.8 - 1e-4) & (weights < 1 - 1e-4)).any()
    assert weights.min() >= 0.8 - 1e-4
    assert weights.max() <= 1 + 1e-4


def test_a_server_that_fails_is_no_turn(policy: Path) -> None:
    with pytest.raises(ModelError, match="the server hung up"):
        spoken(policy, Broken(), most=8)


def test_how_a_turn_ended(policy: Path) -> None:
    assert spoken(policy, Unknown(), most=2).finish == "length"
    assert spoken(policy, Unknown(), most=8).finish == "context"  # it said less than it might, and not its end
    assert spoken(policy, Unknown(), most=1).tokens == [0]


def test_a_likelihood_that_is_not_known_is_not_made_up(policy: Path) -> None:
    assert spoken(policy, Unknown(), most=8).logprobs is None


def test_without_vllm_a_recipe_that_needs_it_here_is_told_what_is_missing(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda package: None if package == "vllm" else True)
    served = {"engine": "vllm-server", "vllm_server": "http://127.0.0.1:9"}
    adapters = {"rank": 8}

    needs = [
        checks.missing_packages(recipe(policy, generation=asked, lora=lora))
        for asked, lora in ((generation(), None), (served, None), (served, adapters))
    ]

    (told,), (also,), nothing = needs
    assert told == also
    assert "profilegym[vllm]" in told
    assert nothing == []
