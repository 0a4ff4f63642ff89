"""The grammar of a transcript, and what is made of it."""

import pytest
from conftest import ScriptedRetriever, make_question

from profilegym import Episode, Trajectory, make_reward
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.grammar import structure
from profilegym.envs.reward import no_reward, rewards_of

SEARCH = "<think>who?</think><search>dog</search>"
ANSWER = "<think>so</think>\n<answer>tea</answer>"


def played(*texts: str, **options: object) -> Episode:
    episode = Episode(make_question(), **options)  # type: ignore[arg-type]
    stepper = BatchStepper(ScriptedRetriever(), no_reward)
    for text in texts:
        stepper.step_one(episode, text)
    return episode


@pytest.mark.parametrize(
    "texts",
    [(ANSWER,), (SEARCH, ANSWER), (SEARCH, SEARCH, ANSWER), (f"\n {ANSWER} and what is dropped",)],
)
def test_a_transcript_in_the_grammar_is_ok(texts: tuple[str, ...]) -> None:
    assert structure(played(*texts).segments) == (True, None)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("<answer>tea</answer>",), "<answer> after start"),
        (("<think> </think><answer>tea</answer>",), "<think> is empty"),
        (("<think>so</think><answer> </answer>",), "<answer> is empty"),
        (("<think>so</think>well<answer>tea</answer>",), "text outside the tags after think"),
        (("hm <think>so</think><answer>tea</answer>",), "text outside the tags after start"),
        (("<think>so<answer>tea</answer>",), "<think> is not closed before the next tag"),
        (("<think>a</think><think>b</think><answer>tea</answer>",), "<think> after think"),
        (("<search>dog</search>", ANSWER), "<search> after start"),
        ((SEARCH, "<answer>tea</answer>"), "<answer> after information"),
        (("</think><think>a</think><answer>tea</answer>",), "</think> after start"),
        (("no action", ANSWER), "text outside the tags after start"),
        (("<think>a</think>", ANSWER), "a turn was neither a search nor an answer"),
        ((SEARCH,), "it ends after information, without an answer"),
        ((), "it ends after start, without an answer"),
        (
            ("<think>a</think><information>1. I said it</information><answer>tea</answer>",),
            "the policy wrote <information> itself",
        ),
        (
            (SEARCH, "<Information >x</information><think>a</think><answer>tea</answer>"),
            "the policy wrote <information> itself",
        ),
    ],
)
def test_the_first_violation_is_named(texts: tuple[str, ...], problem: str) -> None:
    assert structure(played(*texts).segments) == (False, problem)


@pytest.mark.parametrize(("texts", "ok"), [((SEARCH, ANSWER), True), (("<answer>tea</answer>",), False)])
def test_the_record_says_whether_the_grammar_was_kept(texts: tuple[str, ...], ok: bool) -> None:
    record = played(*texts).trajectory()

    assert record.structure_ok is ok
    assert f'"structure_ok":{str(ok).lower()}' in record.to_json()
    assert Trajectory.from_json(record.to_json()) == record


def test_the_record_does_not_judge_what_is_unfinished_or_of_another_protocol() -> None:
    call = '{"name": "answer", "arguments": {"text": "tea"}}'

    assert played(SEARCH).trajectory().structure_ok is None
    assert played(call, protocol="tools").trajectory().structure_ok is None


@pytest.mark.parametrize(
    ("spec", "good", "bad"), [("structure", 1, 0), ("penalty", 0, -0.5), ("penalty:amount=0.2", 0, -0.2)]
)
def test_the_grammar_is_rewarded_or_its_breach_taken_off(spec: str, good: float, bad: float) -> None:
    rewards = rewards_of(make_reward(spec)([played(ANSWER), played("<answer>tea</answer>")]))

    assert [reward.total for reward in rewards] == [good, bad]
    assert [sum(reward.parts.values()) for reward in rewards] == [good, bad]


def test_another_protocol_is_unscored_not_punished() -> None:
    episode = played('{"name": "answer", "arguments": {"text": "tea"}}', protocol="tools")

    (reward,) = rewards_of(make_reward("penalty")([episode]))

    assert reward.total is None
    assert "tools" in str(reward.unscored)
