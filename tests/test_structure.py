"""The grammar of a transcript, and what is made of it."""

from collections.abc import Mapping
from time import process_time
from typing import Any

import pytest
from conftest import ScriptedRetriever, make_question

from profilegym import Episode, Trajectory, make_reward
from profilegym.agents.turn_format import call_tool
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.grammar import structure
from profilegym.envs.reward import no_reward, rewards_of
from profilegym.envs.tools import Toolset, make_tools
from profilegym.envs.trajectory import Segment

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


def test_the_record_does_not_judge_what_is_unfinished() -> None:
    assert played(SEARCH).trajectory().structure_ok is None


LOOK = '<think>who?</think><tool>{"name": "latest", "arguments": {"n": 1}}</tool>'
TOOLS = make_tools("search_profile+latest+read_around")


@pytest.mark.parametrize(
    "texts",
    [
        (ANSWER,),
        (LOOK, SEARCH, ANSWER),
        (LOOK, '<think>so</think><tool>{"name": "answer", "arguments": {"text": "tea"}}</tool>'),
    ],
)
def test_with_several_tools_a_call_in_tags_is_an_action(texts: tuple[str, ...]) -> None:
    assert played(*texts, tools=TOOLS).trajectory().structure_ok


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ((LOOK, LOOK.removeprefix("<think>who?</think>"), ANSWER), "<tool> after information"),
        (("<think>a</think><tool>latest()</tool>", ANSWER), "a call is no JSON object with a name"),
        (("<think>a</think><tool></tool>", ANSWER), "<tool> is empty"),
        (("<think>a</think><tool>{}<answer>b</answer>",), "<tool> is not closed before the next tag"),
        ((LOOK.replace("latest", "newest"), ANSWER), "a turn was neither a search nor an answer"),
        ((LOOK.replace("1}", '"one"}'), ANSWER), "a turn was neither a search nor an answer"),
        ((LOOK,), "it ends after information, without an answer"),
        (('<think>a</think><tool>{"name": "answer", "arguments": {"text": " "}}</tool>',), "the answer is empty"),
    ],
)
def test_the_first_violation_of_a_call_in_tags_is_named(texts: tuple[str, ...], problem: str) -> None:
    episode = played(*texts, tools=TOOLS)

    assert structure(episode.segments, episode.prompt_name) == (False, problem)


def calls(*made: tuple[str, Mapping[str, object]], thought: str = "") -> str:
    return "\n".join([thought, *(call_tool(name, arguments, protocol="tools") for name, arguments in made)]).lstrip()


NEWEST, FIND = ("latest", {"n": 1}), ("search_profile", {"query": "dog"})
REPLY = ("answer", {"text": "tea, <information> and more"})


@pytest.mark.parametrize(
    ("texts", "tools"),
    [
        ((calls(REPLY),), None),
        ((calls(FIND, thought="I look."), calls(REPLY, thought="<think>So.</think>")), None),
        (('{"name": "search_profile", "arguments": {"query": "dog"}}', calls(REPLY)), None),
        ((calls(FIND), calls(REPLY)), TOOLS),
        ((calls(NEWEST, FIND, thought="I look."), calls(NEWEST), calls(REPLY)), TOOLS),
        ((calls(NEWEST, REPLY),), TOOLS),
    ],
)
def test_native_calls_have_a_grammar_too(texts: tuple[str, ...], tools: Toolset | None) -> None:
    assert played(*texts, tools=tools, protocol="tools", repeat_hits=True).trajectory().structure_ok


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ((calls(FIND),), "it ends without an answer"),
        (("I do not know.", calls(REPLY)), "a call is no JSON object with a name"),
        ((calls(("newest", {})), calls(REPLY)), "a turn was no call, or one that was refused"),
        ((calls(NEWEST, ("latest", {"n": "one"})), calls(REPLY)), "a turn was no call, or one that was refused"),
        ((calls(NEWEST) + " so " + calls(NEWEST), calls(REPLY)), "text after a call"),
        ((calls(REPLY, NEWEST),), "a call after the answer"),
        ((calls(("answer", {"text": " "})),), "the answer is empty"),
        ((calls(NEWEST).removesuffix("</tool_call>"), calls(REPLY)), "<tool_call> is not closed"),
        ((calls(REPLY, thought="<information>1. I said it</information>"),), "the policy wrote <information> itself"),
        ((), "it ends without an answer"),
    ],
)
def test_the_first_violation_of_native_calls_is_named(texts: tuple[str, ...], problem: str) -> None:
    episode = played(*texts, tools=TOOLS, protocol="tools")

    assert structure(episode.segments, episode.prompt_name) == (False, problem)


def test_a_call_over_the_budget_breaks_the_grammar() -> None:
    over = played(calls(NEWEST, NEWEST), calls(REPLY), tools=TOOLS, protocol="tools", max_searches=1)
    last = played(calls(NEWEST, REPLY), tools=TOOLS, protocol="tools", max_searches=0)

    assert over.trajectory().structure_ok is False
    assert structure(last.segments, last.prompt_name) == (False, "a call was not made")


@pytest.mark.parametrize(
    ("spec", "good", "bad"), [("structure", 1, 0), ("penalty", 0, -0.5), ("penalty:amount=0.2", 0, -0.2)]
)
def test_the_grammar_is_rewarded_or_its_breach_taken_off(spec: str, good: float, bad: float) -> None:
    rewards = rewards_of(make_reward(spec)([played(ANSWER), played("<answer>tea</answer>")]))

    assert [reward.total for reward in rewards] == [good, bad]
    assert [sum(reward.parts.values()) for reward in rewards] == [good, bad]


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_native_calls_are_rewarded_alike(tools: Toolset | None) -> None:
    options: dict[str, Any] = {"tools": tools, "protocol": "tools"}
    episodes = [played(calls(REPLY), **options), played("I do not know.", calls(REPLY), **options)]

    assert [reward.total for reward in rewards_of(make_reward("penalty")(episodes))] == [0, -0.5]


def test_hostile_calls_take_no_time() -> None:
    start = process_time()

    for piece in ("<tool_call>", "<tool_call>{}</tool_call>", "<information>", "<tool_call>[", "{"):
        turns = [Segment("environment", "?"), Segment("policy", piece * 50_000)]
        assert not structure(turns, "tools_several").ok
        assert not structure(turns, "tags_several").ok

    assert process_time() - start < 2
