"""What is trained is what was sampled, in the context in which it was sampled, whoever wrote what stands before it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy

from profilegym import Question, Trajectory, make_agent, make_retriever
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.chat import Sampling
from profilegym.errors import EpisodeError
from profilegym.training.grpo.sequence import TokenSequence, sequence_of, training_row

pytest.importorskip("torch")

from profilegym.agents.models import hf
from profilegym.agents.models import tokenize as spelling
from profilegym.agents.models.hf import HFModel

EXAMPLE = f"{Path(__file__).parent.parent}/examples/my_agent.py:LooksFirst"
TEMPLATE = "<s>{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HFModel:
    return HFModel.load(str(make_tiny_policy(tmp_path_factory.mktemp("policy"))))


def sequence(model: HFModel, trajectory: Trajectory) -> TokenSequence:
    return sequence_of(trajectory, lambda segment: model.tokenizer.encode(segment.text, add_special_tokens=False))


@pytest.mark.parametrize("template", [None, TEMPLATE])
@pytest.mark.parametrize("agent", ["pr2", "none", "rag", "plan", EXAMPLE])
def test_a_turn_is_trained_in_the_tokens_in_which_it_was_sampled(
    agent: str, template: str | None, model: HFModel, ask: Callable[..., Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    read: list[list[int]] = []
    monkeypatch.setattr(hf, "tokens_of", remembering(read))

    trajectory = asyncio.run(play(agent, ask(), model))
    found = sequence(model, trajectory)

    tokens, sampled = found.prompt + found.completion, len(found.prompt) + found.mask.index(1)
    assert tokens[:sampled] in read
    assert (template is None) == (found.prompt[:3] != model.tokenizer.encode("<s>[user]")[:3])
    assert sum(found.mask) == sum(len(s.tokens or ()) for s in trajectory.segments if s.author == "policy")


def remembering(read: list[list[int]]) -> Any:
    """Keeps what a turn was sampled after."""

    def tokens_of(*asked: Any, **options: Any) -> list[list[int]]:
        found = spelling.tokens_of(*asked, **options)
        read.append([token for part in found for token in part])
        return found

    return tokens_of


async def play(agent: str, question: Question, model: HFModel) -> Trajectory:
    rollout = Rollout(model, make_retriever("bm25"), sampling=Sampling(1.0, max_tokens=12))
    (trajectory,) = [trajectory async for trajectory in rollout.run([Job(question, make_agent(agent))])]
    return trajectory


def recorded(*said: Any) -> Trajectory:
    return Trajectory("e", "q", "u", "personalised", list(said), (), "Tea.", "answered")


def test_a_turn_sampled_after_a_text_of_unknown_tokens_is_refused(model: HFModel) -> None:
    prompt, own, reply = ("environment", "Tea?", None, None), ("policy", "<search>", None, None), ("environment", "1.")
    sampled = ("policy", "Tea.", [5], [-0.5])

    with pytest.raises(EpisodeError):
        sequence(model, recorded(*prompt, *sampled))
    with pytest.raises(EpisodeError):
        sequence(model, recorded("environment", "Tea?", [1], None, *own, *reply, None, None, *sampled))
    assert sequence(model, recorded("environment", "Tea?", [1], None, *own, *reply, [2], None, *sampled)).mask[-1] == 1


def test_tokens_and_log_probabilities_of_different_numbers_are_refused(model: HFModel) -> None:
    with pytest.raises(EpisodeError):
        sequence(model, recorded("environment", "Tea?", [1], None, "policy", "Tea.", [5, 6, 7], [-0.5]))


def test_an_episode_without_room_for_a_token_has_no_row_to_train_on() -> None:
    found = [
        training_row(recorded("environment", "Tea?", [1], None, "policy", text, tokens, None), lambda _: [0], "masked")
        for text, tokens in (("", []), ("Tea.", [5]))
    ]

    assert [row and row.completion for row in found] == [None, [5]]


def test_what_nobody_sampled_is_read_and_not_learned(model: HFModel) -> None:
    found = sequence(model, recorded("environment", "Tea?", None, None, "policy", "Tea.", None, None))

    assert found.completion == model.tokenizer.encode("Tea.", add_special_tokens=False)
    assert set(found.mask) == {0}
