"""TagPR's tags: what counts as thinking in steps, and what it earns."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from conftest import make_question
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym import Aspect, Episode, Reward, Rubric, make_reward
from profilegym.envs.reward import rewards_of
from profilegym.envs.tagpr_tags import TAGS, tagged
from profilegym.errors import OptionError
from profilegym.rewards.compose import tagpr

TEA = replace(make_question(), rubric=Rubric("", (Aspect("drink", accepted=("tea",)),)))
STEPS = (
    "<examine_examples>He drinks.</examine_examples>\n<identify_patterns>Tea.</identify_patterns>"
    "<compose_answer>Short.</compose_answer>"
)


def thought(thinking: str, answer: str = "tea") -> Episode:
    episode = Episode(TEA)
    episode.write(f"<think>{thinking}</think><answer>{answer}</answer>")
    return episode


def step(tag: str, text: str = "so it is") -> str:
    return f"<{tag}>{text}</{tag}>"


def test_there_are_nine_tags_and_the_two_that_are_known_among_them() -> None:
    assert len(TAGS) == 9
    assert {"examine_examples", "identify_patterns"} < set(TAGS)


def test_thinking_is_read_as_steps() -> None:
    found = tagged(thought(f"  {STEPS}\n").segments)

    assert (found.steps, found.problem) == (("examine_examples", "identify_patterns", "compose_answer"), None)


def test_the_thinking_of_every_turn_is_read() -> None:
    episode = Episode(TEA)
    episode.write(f"<think>{step('understand_task')}</think><search>tea</search>")
    episode.add_hits([])
    episode.write(f"<think>{step('link_evidence')}</think><answer>tea</answer>")

    assert tagged(episode.segments).steps == ("understand_task", "link_evidence")


@pytest.mark.parametrize(
    ("thinking", "problem"),
    [
        ("", "there is no step"),
        ("just so", "text between the steps"),
        (f"{STEPS} and so on", "text between the steps"),
        (step("guess"), "<guess> inside <think>"),
        (step("link_evidence", "so <b>bold</b>"), "<b> inside <link_evidence>"),
        (step("link_evidence", f"so {step('compose_answer')}"), "<compose_answer> inside <link_evidence>"),
        (step("link_evidence", " "), "<link_evidence> is empty"),
        ("<link_evidence>so", "</think> inside <link_evidence>"),
        ("so</link_evidence>", "text between the steps"),
        ("<link_evidence>so</compose_answer>", "</compose_answer> inside <link_evidence>"),
        ("<think>", "<think> inside <think>"),
    ],
)
def test_what_is_no_row_of_steps_is_said(thinking: str, problem: str) -> None:
    assert tagged(thought(thinking).segments).problem == problem


def test_thinking_that_never_ends_is_said() -> None:
    episode = Episode(TEA)
    episode.write(f"<think>{STEPS}")

    assert tagged(episode.segments).problem == "<think> is not closed"


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<compose_answer>", "</compose_answer>", "< /THINK >", "x", " "]))
)
def test_whatever_is_written_steps_or_a_problem_are_found(pieces: Sequence[str]) -> None:
    episode = Episode(TEA)
    episode.write("".join(pieces))

    found = tagged(episode.segments)

    assert bool(found.steps) or found.problem


@pytest.mark.parametrize(
    ("thinking", "form", "kinds"),
    [
        (STEPS, 1, 1),
        (step("link_evidence") * 2 + step("compose_answer") * 2 + step("understand_task"), 1, 1),
        (step("link_evidence") * 3 + step("compose_answer") + step("understand_task"), 1, 0),
        (step("link_evidence") + step("compose_answer"), 1, 0),
        (f"{STEPS} and so on", 0, 0),
    ],
)
def test_the_form_and_the_kinds_of_steps_are_rewards(thinking: str, form: float, kinds: float) -> None:
    (of_form,) = rewards_of(make_reward("tag_format")([thought(thinking)]))
    (of_kinds,) = rewards_of(make_reward("tag_set")([thought(thinking)]))

    assert (of_form.parts, of_kinds.parts) == ({"tag_format": form}, {"tag_set": kinds})


def test_how_many_kinds_and_how_often_can_be_set() -> None:
    (reward,) = rewards_of(make_reward("tag_set:least=1,most=4")([thought(step("link_evidence") * 4)]))

    assert reward.total == 1


def prmu(episodes: Sequence[Episode]) -> list[Reward]:
    return [Reward(0.8) for _ in episodes]


def test_the_sum_equals_the_one_computed_by_hand() -> None:
    good, untagged, wrong = thought(STEPS), thought("so it is"), thought(STEPS, "coffee")
    loose = Episode(TEA)
    loose.write("<answer>tea</answer>")

    rewards = rewards_of(tagpr(prmu=prmu)([good, untagged, wrong, loose]))

    assert [reward.total for reward in rewards] == pytest.approx([1 + 0.1 + 0.1 + 0.24, 1 + 0.24, 0.2 + 0.24, 0.24])
    assert rewards[0].parts == pytest.approx({"task": 1, "tag_format": 0.1, "tag_set": 0.1, "prmu": 0.24})
    assert rewards[0].verdict is not None


def test_the_second_stage_is_the_task_alone() -> None:
    (reward,) = rewards_of(make_reward("tagpr:score:rubric,alpha=0,beta=0,gamma=0")([thought("so it is")]))

    assert reward.parts == {"task": 1}


def test_a_broken_form_is_no_better_than_a_task_below_0() -> None:
    rated = replace(TEA, rubric=Rubric(reference="5"))
    episodes = [Episode(rated), Episode(rated)]
    for episode, thinking in zip(episodes, (f"<think>{STEPS}</think>", ""), strict=True):
        episode.write(f"{thinking}<answer>3</answer>")

    formed, broken = rewards_of(tagpr("mae", gamma=0)(episodes))

    assert formed.total is broken.total is None
    assert "-2 cannot be gated" in str(broken.unscored)


def test_a_task_that_could_not_be_scored_leaves_all_unscored() -> None:
    (reward,) = rewards_of(tagpr("none", gamma=0)([thought(STEPS)]))

    assert reward.total is None
    assert reward.unscored == "task: no reward function was given"


def test_prmu_is_named_or_left_out() -> None:
    with pytest.raises(OptionError, match=naming("prmu", "gamma=0")):
        make_reward("tagpr:rubric")
