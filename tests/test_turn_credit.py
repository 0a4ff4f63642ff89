"""Rewards that arrive at a call, and the advantage of a turn: exact values, and a toy whose right answer is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import pytest
from conftest import make_question
from matching import naming

from profilegym import Aspect, Document, Episode, Question, Rubric, Trajectory
from profilegym.agents.turn_format import call_tool
from profilegym.apps.view.tokens import advantage_at
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.episode_options import checked_options
from profilegym.envs.retrieval import make_retriever
from profilegym.envs.reward import no_reward
from profilegym.envs.tools import Tool, Toolset, make_tool
from profilegym.errors import OptionError
from profilegym.training.advantage import turn_advantages
from profilegym.training.call_rewards import TurnRewards, call_rewards
from profilegym.training.recipe import Recipe
from profilegym.training.settings import load_settings

AMOUNTS = TurnRewards(new=1, repeat=0.1, useless=0.05)


def test_the_advantage_of_a_turn_is_its_reward_to_go_less_that_of_the_group() -> None:
    group = [[0.5, -0.25, 0.0], [0.0], [-0.25, 0.0], [1.0, 0.0]]

    # To go: (0.25, -0.25, 0), (0), (-0.25, 0), (1, 0). Means over all four: 0.25, -0.0625, 0.
    assert turn_advantages(group) == [[0.0, -0.1875, 0.0], [-0.25], [-0.5, 0.0625], [0.75, 0.0625]]


def test_a_member_that_is_left_out_moves_no_mean() -> None:
    assert turn_advantages([[1.0, 0.0], None, [0.0]]) == [[0.5, 0.0], [], [-0.5]]
    assert turn_advantages([[1.0, 0.0], None]) == [[0.0, 0.0], []]
    assert turn_advantages([]) == []


USELESS, FOUND = -0.3, 1.0  # of the first call and the second in the toy; the answer that ends an episode has 0
EPISODES = ([0.0], [USELESS, 0.0], [USELESS, FOUND, 0.0])  # stopped at once, after one call, after two


def expected_gradient(
    advantages: Callable[[Sequence[Sequence[float]]], Sequence[Sequence[float]]], goes_on: tuple[float, float], k: int
) -> list[float]:
    """Of a group's mean over all its outcomes, by the logits of going on at the turns 0 and 1."""
    first, second = goes_on
    chances = (1 - first, first * (1 - second), first * second)
    scores = ([-first], [1 - first, -second], [1 - first, 1 - second])  # of log-probabilities, by logit
    gradient = [0.0, 0.0]
    for group in product(range(len(EPISODES)), repeat=k):
        found = advantages([EPISODES[member] for member in group])
        for member, by_turn in zip(group, found, strict=True):
            for turn, score in enumerate(scores[member]):
                gradient[turn] += prod(chances[one] for one in group) * score * by_turn[turn] / k
    return gradient


def true_gradient(first: float, second: float) -> list[float]:
    """Of the expected reward, first * (USELESS + second * FOUND)."""
    value = USELESS + second * FOUND
    return [first * (1 - first) * value, first * second * (1 - second) * FOUND]


def normalised_by_turn(group: Sequence[Sequence[float]]) -> list[list[float]]:
    """Each reward less the mean of those that have that turn, summed from each turn on."""
    columns = [[rewards[t] for rewards in group if t < len(rewards)] for t in range(max(map(len, group)))]
    centred = [[one - sum(columns[t]) / len(columns[t]) for t, one in enumerate(rewards)] for rewards in group]
    return [[sum(rewards[t:]) for t in range(len(rewards))] for rewards in centred]


def among_those_that_went_on(group: Sequence[Sequence[float]]) -> list[list[float]]:
    """The reward to go less its mean over the members that have that turn."""
    to_go = [[sum(rewards[t:]) for t in range(len(rewards))] for rewards in group]
    columns = [[rewards[t] for rewards in to_go if t < len(rewards)] for t in range(max(map(len, group)))]
    return [[one - sum(columns[t]) / len(columns[t]) for t, one in enumerate(rewards)] for rewards in to_go]


@pytest.mark.parametrize("goes_on", [(0.5, 0.9), (0.2, 0.5), (0.8, 0.1)])
@pytest.mark.parametrize("k", [2, 4])
def test_the_expected_gradient_of_stopping_is_the_true_one(goes_on: tuple[float, float], k: int) -> None:
    expected = [(1 - 1 / k) * value for value in true_gradient(*goes_on)]  # a member is part of its own mean

    assert expected_gradient(turn_advantages, goes_on, k) == pytest.approx(expected, abs=1e-12)


def test_normalising_by_turn_teaches_to_stop_where_searching_pays() -> None:
    goes_on = (0.5, 0.9)

    assert true_gradient(*goes_on)[0] > 0.1
    assert expected_gradient(normalised_by_turn, goes_on, 4)[0] < 0


def test_a_mean_over_those_that_went_on_weighs_turns_by_their_number() -> None:
    goes_on = (0.5, 0.9)
    true, found = true_gradient(*goes_on), expected_gradient(among_those_that_went_on, goes_on, 4)

    assert found[0] / true[0] == pytest.approx(3 / 4)
    assert found[1] / true[1] < 0.6


def question(*evidence: str) -> Question:
    """By one person with two posts, `u1-0` of rooibos and `u1-1` of a dog."""
    return replace(make_question(), rubric=Rubric("", (Aspect("a", documents=evidence),)))


def search(query: str) -> str:
    return f"<search>{query}</search>"


def played(asked: Question, *turns: str, **options: Any) -> Trajectory:
    episode = Episode(asked, **checked_options(options))
    for turn in turns:
        BatchStepper(make_retriever("bm25"), no_reward).step_one(episode, turn)
    return episode.trajectory()


@pytest.mark.parametrize(
    ("evidence", "turns", "expected"),
    [
        (["u1-0"], ["rooibos", "rooibos"], [1, -0.1, 0]),
        (["u1-0", "u1-1"], ["rooibos", "dog"], [0.5, 0.5, 0]),
        (["u1-0"], ["dog", "rooibos"], [-0.05, 1, 0]),
        (["u1-0"], ["nowhere"], [-0.1, 0]),
        (["u1-0"], [], [0]),
    ],
)
def test_a_call_is_rewarded_for_what_it_adds(evidence: list[str], turns: list[str], expected: list[float]) -> None:
    asked = question(*evidence)
    record = played(asked, *map(search, turns), "<answer>tea</answer>")

    assert call_rewards(record, asked, AMOUNTS) == pytest.approx(expected)


def test_a_document_shown_again_is_a_repeat() -> None:
    asked = question("u1-0")
    record = played(asked, search("rooibos"), search("rooibos"), "<answer>tea</answer>", repeat_hits=True)

    assert call_rewards(record, asked, AMOUNTS) == pytest.approx([1, -0.1, 0])


def test_a_mistake_and_the_text_of_a_tool_are_no_repeats() -> None:
    def weather(profile: object) -> str:
        """Say what the weather is."""
        return "It rains."

    asked = question("u1-0")
    tools = Toolset([Tool.of(weather)])
    record = played(asked, "I think.", '<tool>{"name": "weather"}</tool>', "<answer>tea</answer>", tools=tools)

    assert len(record.searches) == 1
    assert call_rewards(record, asked, AMOUNTS) == [0, 0, 0]


def in_tags(name: str, **arguments: Any) -> str:
    return f"<search>{arguments['query']}</search>" if name == "search_profile" else call_tool(name, arguments)


def in_calls(name: str, **arguments: Any) -> str:
    return call_tool(name, arguments)


def natively(name: str, **arguments: Any) -> str:
    return call_tool(name, arguments, protocol="tools")


@pytest.mark.parametrize("written", [in_tags, in_calls, natively])
def test_calls_are_rewarded_alike_however_they_are_written(written: Callable[..., str]) -> None:
    def nothing(profile: object) -> list[Document]:
        """Find nothing."""
        return []

    def lies(profile: object) -> str:
        """Say that nothing was found."""
        return "Nothing more was found."

    asked = question("u1-0")
    tools = Toolset([make_tool("search_profile"), make_tool("read_around"), Tool.of(nothing), Tool.of(lies)])
    turns = [
        written("search_profile", query="nowhere"),
        written("search_profile", query="rooibos"),
        written("search_profile", query="rooibos"),
        written("read_around", id="u1-0"),
        written("nothing"),
        written("lies"),
        written("read_around", id="u9"),
    ]

    record = played(asked, *turns, tools=tools, max_searches=9, protocol="tools" if written is natively else "tags")

    assert call_rewards(record, asked, AMOUNTS) == pytest.approx([-0.1, 1, -0.1, -0.05, -0.1, 0, 0])
    read_back = Trajectory.from_json(record.to_json())
    assert call_rewards(read_back, asked, AMOUNTS) == call_rewards(record, asked, AMOUNTS)


@pytest.mark.parametrize("written", [in_tags, natively])
def test_one_search_tool_is_rewarded_alike_too(written: Callable[..., str]) -> None:
    asked = question("u1-0")
    turns = [written("search_profile", query=query) for query in ("nowhere", "dog", "rooibos", "rooibos")]

    record = played(asked, *turns, protocol="tools" if written is natively else "tags")

    assert call_rewards(record, asked, AMOUNTS) == pytest.approx([-0.1, -0.05, 1, -0.1])


def test_several_calls_of_a_turn_add_up() -> None:
    asked = question("u1-0", "u1-1")
    turn = "\n".join(natively("search_profile", query=query) for query in ("rooibos", "rooibos", "dog"))

    record = played(asked, turn, tools="search_profile+latest", protocol="tools")

    assert call_rewards(record, asked, AMOUNTS) == pytest.approx([0.5 - 0.1 + 0.5])


def test_what_the_prompt_shows_is_not_found_by_a_call() -> None:
    asked = question("u1-0")
    episode = Episode(asked, initial_search=True, repeat_hits=True)
    episode.add_hits(make_retriever("bm25").search(asked.profile, "rooibos", 1))
    for turn in (search("rooibos"), "<answer>tea</answer>"):
        BatchStepper(make_retriever("bm25"), no_reward).step_one(episode, turn)

    assert call_rewards(episode.trajectory(), asked, AMOUNTS) == pytest.approx([-0.1, 0])


def test_the_documents_of_another_user_are_no_evidence() -> None:
    asked = question("u1-0")
    other = replace(asked, profile=replace(asked.profile, user_id="u2"))

    assert call_rewards(played(other, search("rooibos"), "<answer>a</answer>"), other, AMOUNTS) == [-0.05, 0]


def test_rewards_are_unknown_without_evidence_and_after_an_error() -> None:
    failed = played(question("u1-0"), search("rooibos"), "<answer>a</answer>")
    failed.ended = "error"

    assert call_rewards(played(question(), "<answer>a</answer>"), question(), AMOUNTS) is None
    assert call_rewards(failed, question("u1-0"), AMOUNTS) is None


def test_a_search_of_a_history_that_is_not_needed_is_useless() -> None:
    asked = question()
    asked = replace(asked, rubric=replace(asked.rubric, history="unneeded"))

    assert call_rewards(played(asked, search("rooibos"), "<answer>a</answer>"), asked, AMOUNTS) == [-0.05, 0]


def test_a_record_keeps_the_advantages_of_its_turns() -> None:
    record = played(question("u1-0"), search("rooibos"), "<answer>a</answer>")
    assert "turn_advantages" not in record.to_json()

    record.advantage, record.turn_advantages = 1.0, [0.5, -0.25]

    assert Trajectory.from_json(record.to_json()).turn_advantages == [0.5, -0.25]
    assert [advantage_at(record, number) for number in (1, 3)] == [1.5, 0.75]


def test_any_mode_can_have_the_turns_added() -> None:
    recipe = load_settings(Recipe, "pr2-world-smoke", ["advantage=delta+turn", "turn.repeat=0.2"])

    assert (recipe.mode, recipe.by_turn, recipe.turn.repeat) == ("delta", True, 0.2)
    assert not load_settings(Recipe, "pr2-world-smoke").by_turn
    with pytest.raises(OptionError, match=naming("turn")):
        load_settings(Recipe, "pr2-world-smoke", ["turn.repeat=0.2"])
