"""The model behind an endpoint, in its three forms, against a loopback server that plays a policy."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from matching import names, naming

from profilegym import Episode, Question, Trajectory, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models import failures, openai_formats, openai_policy
from profilegym.agents.models.model import STOPS, Turn, make_model
from profilegym.agents.models.openai_policy import ServedModel, ServedRequest
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.action import TOOLS
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import BudgetSpent, EndpointError, ModelError, OptionError
from profilegym.testing import Fault, PolicyServer

SAID = [Segment("environment", "Answer. Question: what to drink?\n\n")]
SHORT = Sampling(max_tokens=100)
TAGS, CALL = STOPS["tags"], STOPS["tools"]
LOOK = "<think>Who is it?</think>\n<search>tea</search>"
REPLY = "<think>I see.</think><answer>Rooibos.</answer> That is all."
CALLS = (
    '<tool_call>{"name": "search_profile", "arguments": {"query": "rooibos"}}</tool_call>',
    '<tool_call>{"name": "answer", "arguments": {"text": "Rooibos </tool_call>."}}</tool_call>',
)


def says(*texts: str) -> Callable[[Any], str]:
    """The texts one after the other, whoever asks."""
    queue = list(texts)
    return lambda said: queue.pop(0) if len(queue) > 1 else queue[0]


def connected(server: PolicyServer, **options: Any) -> ServedModel:
    spec = ",".join(f"{name}={value}" for name, value in {"base_url": server.url, "api_key": "any", **options}.items())
    model = make_model(f"openai:player,{spec}")
    assert isinstance(model, ServedModel)
    return model


def generate(
    model: ServedModel,
    *conversations: Sequence[Segment],
    stop: Sequence[str] = TAGS,
    sampling: Sampling = SHORT,
    seed: int | None = 7,
) -> list[Turn]:
    """One turn of each conversation, all at once."""
    question: Any = None

    async def run() -> list[Turn]:
        try:
            sessions = [model.open(question, seed) for _ in conversations]
            said = zip(sessions, conversations, strict=True)
            return await asyncio.gather(*(session.generate(segments, sampling, stop) for session, segments in said))
        finally:
            await model.close()

    return asyncio.run(run())


def play(
    server: PolicyServer, questions: Sequence[Question], agent: str = "pr2", protocol: str = "tags", **options: Any
) -> list[Trajectory]:
    model = connected(server, **options)
    rollout = Rollout(model, make_retriever("bm25"), options={"protocol": protocol})

    async def run() -> list[Trajectory]:
        try:
            jobs = [Job(question, make_agent(agent)) for question in questions]
            return [trajectory async for trajectory in rollout.run(jobs)]
        finally:
            await model.close()

    return asyncio.run(run())


def written(trajectory: Trajectory) -> list[str]:
    return [segment.text for segment in trajectory.segments if segment.author == "policy"]


@pytest.mark.parametrize("manner", ["openai", "vllm", "transformers"])
@pytest.mark.parametrize("form", ["completions", "chat"])
def test_a_turn_ends_with_its_stop_string_whatever_the_server_does_with_it(form: str, manner: Any) -> None:
    with PolicyServer(says(REPLY), manner=manner) as server:
        (turn,) = generate(connected(server, form=form), SAID)

    assert turn.text == "<think>I see.</think><answer>Rooibos.</answer>"
    assert turn.finish == "stop"
    assert (turn.tokens, turn.logprobs, turn.segment_tokens) == (None, None, None)


def test_the_models_own_end_closes_no_tag_where_the_server_tells_it_apart() -> None:
    with PolicyServer(says("<answer>Rooibos"), manner="vllm") as server:
        (turn,) = generate(connected(server, form="completions"), SAID)

    assert turn.text == "<answer>Rooibos"


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("<answer>Rooibos", "<answer>Rooibos</answer>"),
        ("<search>tea", "<search>tea</search>"),
        ("<answer>I would <search> it", "<answer>I would <search> it</search>"),
        ("I cannot decide.", "I cannot decide."),
        ("", ""),
    ],
)
def test_elsewhere_the_tag_that_stands_open_is_closed(text: str, turn: str) -> None:
    with PolicyServer(says(text)) as server:
        assert generate(connected(server, form="chat"), SAID)[0].text == turn


def test_raw_completions_are_asked_with_the_transcript_as_it_is() -> None:
    said = [*SAID, Segment("policy", LOOK), Segment("environment", "\n\n<information>\n</information>\n\n")]
    with PolicyServer(says(REPLY)) as server:
        (turn,) = generate(connected(server, form="completions"), said, sampling=Sampling(0.7, 0.9, 100))

    (body,) = server.seen
    assert body.pop("seed") >= 0
    assert body == {
        "model": "player",
        "prompt": "".join(segment.text for segment in said),
        "stop": list(TAGS),
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 100,
    }
    assert (turn.prompt_tokens, turn.completion_tokens) == (len(body["prompt"]) // 4, 9)


def test_in_chat_the_environment_is_the_user() -> None:
    told = Segment(
        "environment", "\n\n<information>\nNothing more was found.\n</information>\n3 searches are left.\n\n"
    )
    with PolicyServer(says(REPLY)) as server:
        generate(connected(server, form="chat"), [*SAID, Segment("policy", LOOK), told])

    assert server.seen[0]["messages"] == [
        {"role": "user", "content": SAID[0].text.strip()},
        {"role": "assistant", "content": LOOK},
        {"role": "user", "content": told.text.strip()},
    ]


@pytest.mark.parametrize("form", ["completions", "chat"])
def test_a_text_that_was_begun_is_gone_on_with(form: str) -> None:
    begun = [*SAID, Segment("policy", "<think>Tea.</think><answer>It is")]
    with PolicyServer(says(" rooibos")) as server:
        (turn,) = generate(connected(server, form=form), begun)

    assert turn.text == " rooibos</answer>"
    if form == "chat":
        assert server.seen[0]["messages"][-1] == {"role": "user", "content": "Go on from there."}


def test_a_turn_without_stop_strings_is_asked_without() -> None:
    with PolicyServer(says("- tea\n- sleep")) as server:
        (turn,) = generate(connected(server), SAID, stop=())

    assert turn.text == "- tea\n- sleep"
    assert "stop" not in server.seen[0]


def test_a_reply_that_was_cut_says_so() -> None:
    with PolicyServer(says("word " * 100), context=60) as server:
        model = connected(server)
        cut, full = (generate(model, SAID, sampling=Sampling(max_tokens=limit))[0] for limit in (10, 100))

    assert (cut.finish, cut.completion_tokens) == ("length", 10)
    assert (full.finish, full.completion_tokens) == ("context", 60 - len(SAID[0].text) // 4)


def test_reasoning_that_a_server_keeps_apart_stays_apart() -> None:
    class Reasoning(PolicyServer):
        def _said(self, *asked: Any) -> dict[str, Any]:
            reply = super()._said(*asked)
            reply["choices"][0]["message"] = {"role": "assistant", "reasoning_content": "Hm."}
            return reply

    with Reasoning(says(REPLY)) as server:
        (turn,) = generate(connected(server, form="chat"), SAID)

    assert turn.text == ""
    assert turn.completion_tokens == 9


@pytest.mark.parametrize(("form", "asked"), [("completions", 1), ("chat", True)])
def test_log_probabilities_are_kept_where_they_are_asked_for(form: str, asked: object) -> None:
    with PolicyServer(says("<answer>tea!</answer>")) as server:
        (turn,) = generate(connected(server, form=form, logprobs="true"), SAID)

    assert server.seen[0]["logprobs"] is asked or server.seen[0]["logprobs"] == asked
    assert turn.logprobs == [-0.5, -0.5, -0.5]


def test_a_call_may_have_no_log_probabilities() -> None:
    function = {"name": "search_profile", "arguments": '{"query": "tea"}'}
    message = {"content": None, "tool_calls": [{"function": function}]}
    reply = {"choices": [{"message": message, "logprobs": {"content": None}, "finish_reason": "tool_calls"}]}

    turn = openai_policy._read("tools", ServedRequest(SAID, Sampling(), STOPS["tools"], TOOLS), reply)

    assert turn.text == '<tool_call>{"name": "search_profile", "arguments": {"query": "tea"}}</tool_call>'
    assert turn.logprobs is None


def test_seeds_follow_from_the_episodes_seed_and_the_turn() -> None:
    second = [*SAID, Segment("policy", LOOK), Segment("environment", "nothing")]

    def seeds(seed: int | None) -> list[int]:
        with PolicyServer(says(REPLY)) as server:
            model = connected(server, form="completions")
            for said in (SAID, second):
                generate(model, said, seed=seed)
        return [body.get("seed") for body in server.seen]  # type: ignore[misc]

    assert seeds(1) == seeds(1)
    assert len({*seeds(1), *seeds(2)}) == 4
    assert max(*seeds(1), *seeds(2)) < 2**31
    assert seeds(None) == [None, None]


def test_by_itself_it_asks_by_chat() -> None:
    with PolicyServer(says(REPLY)) as server:
        model = connected(server)
        generate(model, *[SAID] * 5)

    assert model.text_form == "chat"
    assert all("messages" in body for body in server.seen)


def test_a_server_that_continues_the_assistants_message_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolicyServer, "version", "0.32.0")
    later = [*SAID, Segment("policy", LOOK), Segment("environment", "<information>Tea.</information>")]
    with PolicyServer(says(REPLY)) as server:
        model = connected(server)
        generate(model, SAID)
        generate(model, later)

    first, second = server.seen
    assert model.text_form == "continued"
    assert [message["role"] for message in first["messages"]] == ["user"]
    assert "continue_final_message" not in first
    assert second["messages"][1] == {"role": "assistant", "content": LOOK + "<information>Tea.</information>"}
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)


def test_without_chat_it_turns_to_raw_completions_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with PolicyServer(says(REPLY), speaks=["completions"]) as server, caplog.at_level(logging.WARNING):
        model = connected(server)
        turns = generate(model, *[SAID] * 5)

    assert model.text_form == "completions"
    assert ["prompt" in body for body in server.seen] == [False] + [True] * 5
    (message,) = caplog.messages
    assert names(message, "openai:player", 404, "chat")
    assert {turn.text for turn in turns} == {"<think>I see.</think><answer>Rooibos.</answer>"}


def test_a_server_that_fails_at_chat_is_asked_for_raw_completions() -> None:
    with PolicyServer(says(REPLY), script=[Fault.ERROR]) as server:
        model = connected(server, attempts=1)
        generate(model, SAID)

    assert model.text_form == "completions"


def test_a_server_that_continues_messages_never_gets_bare_text_for_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolicyServer, "version", "0.32.0")
    with PolicyServer(says(REPLY), script=[Fault.ERROR]) as server:
        model = connected(server, attempts=1)
        with pytest.raises(EndpointError, match=naming(500)):
            generate(model, SAID)

    assert model.text_form is None
    assert all("messages" in body for body in server.seen)


def test_where_both_paths_are_refused_nothing_is_settled() -> None:
    with PolicyServer(says(REPLY), speaks=[]) as server:
        model = connected(server)
        with pytest.raises(EndpointError, match=naming(404, "/completions")):
            generate(model, SAID)

    assert model.text_form is None


def test_a_failure_that_passes_settles_no_form() -> None:
    with PolicyServer(says(REPLY), script=[Fault.UNAUTHORIZED]) as server:
        model = connected(server)
        with pytest.raises(EndpointError, match=naming(401)):
            generate(model, SAID)
        generate(model, SAID)

    assert model.text_form == "chat"


@pytest.mark.parametrize("form", ["completions", "chat"])
def test_an_episode_over_the_text_protocol(form: str, ask: Callable[..., Question]) -> None:
    with PolicyServer(says(LOOK, REPLY)) as server:
        (trajectory,) = play(server, [ask()], form=form)

    assert written(trajectory) == [LOOK, "<think>I see.</think><answer>Rooibos.</answer>"]
    assert (trajectory.answer, trajectory.ended, trajectory.model) == ("Rooibos.", "answered", "openai:player")
    assert trajectory.structure_ok


def test_a_reasoning_model_plays_without_the_fields_that_it_refuses(ask: Callable[..., Question]) -> None:
    refuses = ("max_tokens", "temperature", "top_p", "seed", "stop")
    with PolicyServer(says(LOOK + "<information>made up</information>", REPLY), refuses=refuses) as server:
        (trajectory,) = play(server, [ask()], form="chat")

    assert (trajectory.answer, trajectory.ended) == ("Rooibos.", "answered")
    assert written(trajectory)[0].endswith("</search>")
    assert len(server.seen) == len(refuses) + 2
    assert server.seen[-1].keys() == {"model", "messages", "max_completion_tokens"}


def test_an_episode_with_native_tools(ask: Callable[..., Question]) -> None:
    with PolicyServer(says(*CALLS)) as server:
        (trajectory,) = play(server, [ask()], protocol="tools")

    assert trajectory.answer == "Rooibos </tool_call>."
    assert trajectory.searches[0].query == "rooibos"
    first, second = server.seen
    assert [tool["function"]["name"] for tool in first["tools"]] == ["search_profile", "answer"]
    assert (first["tool_choice"], first["parallel_tool_calls"], "stop" in first) == ("auto", False, False)
    called, result = second["messages"][1:]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"query": "rooibos"}
    assert result["role"] == "tool"
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]
    assert result["content"].startswith("<information>\n1. [2024-01-01] I only drink rooibos.")


def test_a_policy_that_calls_no_tool_is_corrected_as_a_user_would(ask: Callable[..., Question]) -> None:
    with PolicyServer(says("Rooibos, I think.", *CALLS)) as server:
        (trajectory,) = play(server, [ask()], protocol="tools")

    assert (trajectory.ended, trajectory.malformed) == ("answered", 1)
    said, correction = server.seen[1]["messages"][1:]
    assert said == {"role": "assistant", "content": "Rooibos, I think."}
    assert (correction["role"], correction["content"][:32]) == ("user", "I expected a call of the tool se")


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("search_profile", '{"query": ', "not valid JSON"),
        ("search_profile", '{"query": "tea", "user": "u2"}', "exactly one argument"),
        ("erase_profile", "{}", "no such tool"),
    ],
)
def test_a_call_that_is_wrong_is_corrected_and_told_again_as_a_server_can_read_it(
    name: str, arguments: str, reason: str, ask: Callable[..., Question]
) -> None:
    class Wrong(PolicyServer):
        def _said(self, *asked: Any) -> dict[str, Any]:
            reply = super()._said(*asked)
            if self.requests == 1:
                reply["choices"][0]["message"]["tool_calls"][0]["function"] = {"name": name, "arguments": arguments}
            return reply

    with Wrong(says(*CALLS)) as server:
        (trajectory,) = play(server, [ask()], protocol="tools")

    assert trajectory.ended == "answered"
    assert reason in trajectory.segments[2].text
    for message in server.seen[1]["messages"]:
        for call in message.get("tool_calls", ()):
            assert json.loads(call["function"]["arguments"]) == json.loads(arguments)


def test_only_the_first_of_several_calls_counts(ask: Callable[..., Question]) -> None:
    class Eager(PolicyServer):
        def _said(self, *asked: Any) -> dict[str, Any]:
            reply = super()._said(*asked)
            reply["choices"][0]["message"]["tool_calls"] *= 2
            return reply

    with Eager(says(*CALLS)) as server:
        (trajectory,) = play(server, [ask()], protocol="tools")

    assert (len(trajectory.searches), trajectory.answer) == (1, "Rooibos </tool_call>.")
    assert len(server.seen[1]["messages"][1]["tool_calls"]) == 1


def test_tools_can_be_spoken_as_text_too(ask: Callable[..., Question]) -> None:
    with PolicyServer(says(CALLS[0], CALLS[1].replace(" </tool_call>", "", 1))) as server:
        (trajectory,) = play(server, [ask()], protocol="tools", form="chat")

    assert trajectory.searches[0].query == "rooibos"
    assert trajectory.ended == "answered"
    assert server.seen[0]["stop"] == list(CALL)
    assert "tools" not in server.seen[0]


def test_a_server_without_tools_fails_the_episode_and_says_why(ask: Callable[..., Question]) -> None:
    with PolicyServer(says(*CALLS), speaks=["completions", "chat"]) as server:
        (trajectory,) = play(server, [ask()], protocol="tools")

    assert trajectory.ended == "error"
    assert "tools are not supported" in str(trajectory.error)


def test_form_tools_is_not_for_episodes_with_tags() -> None:
    told = naming("form=tools", "protocol='tools'")
    with PolicyServer(says(REPLY)) as server, pytest.raises(ModelError, match=told):
        generate(connected(server, form="tools"), SAID)


def test_usage_and_cost_are_those_of_the_turn(ask: Callable[..., Question]) -> None:
    with PolicyServer(says(LOOK, REPLY)) as server:
        (trajectory,) = play(server, [ask()], form="chat", price_in=1000, price_out=2000)

    usage = trajectory.usage
    assert usage is not None
    assert usage["turns"] == 2
    assert usage["cost"] == pytest.approx((usage["prompt_tokens"] * 1000 + usage["completion_tokens"] * 2000) / 1e6)
    assert usage["completion_tokens"] == (len(LOOK) - len("</search>")) // 4 + 9


def test_a_spent_budget_ends_the_run(questions: Sequence[Question]) -> None:
    with PolicyServer(says(REPLY)) as server, pytest.raises(BudgetSpent):
        play(server, questions, price_in=1, price_out=1, budget=0.001)

    assert server.requests <= 3


def test_faults_that_pass_cost_no_episode(questions: Sequence[Question]) -> None:
    faults = [Fault.ERROR, Fault.RESET, Fault.HALF, Fault.MALFORMED, Fault.TOO_MANY]
    with PolicyServer(says(REPLY), script=faults) as server:
        trajectories = play(server, questions, form="completions")

    assert [trajectory.ended for trajectory in trajectories] == ["answered"] * 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"form": "telepathy"}, ["form='telepathy'", "'auto'"]),
        ({"speed": 9}, ["openai:player", "'speed'", "logprobs, concurrency"]),
        ({"timeout": "brief"}, ["openai:player", "timeout='brief'", "a number"]),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(OptionError, match=naming(*named)):
        connected(PolicyServer(says("")), **options)


def test_agents_may_ask_aside(ask: Callable[..., Question]) -> None:
    def policy(said: Sequence[tuple[str, str]]) -> str:
        return "- tea\n- health" if "List what" in said[0][1] else REPLY

    with PolicyServer(policy) as server:
        (trajectory,) = play(server, [ask()], agent="plan")

    assert [search.query for search in trajectory.searches] == ["tea", "health"]
    assert trajectory.answer == "Rooibos."
    assert Episode(ask()).observation == trajectory.segments[0].text


def test_half_a_character_that_a_server_sent_does_not_end_the_episode(questions: Sequence[Question]) -> None:
    turns = iter(["<search>tea \ud83d</search>", "<answer>Rooibos.</answer>"])
    with PolicyServer(lambda _: next(turns)) as server:
        (played,) = play(server, questions[:1])

    assert (played.ended, played.answer) == ("answered", "Rooibos.")


@pytest.mark.parametrize("values", [[-0.5, float("nan")], [-0.5, float("-inf")], [-0.5, None]])
def test_log_probabilities_that_are_none_are_not_known(values: list[Any]) -> None:
    request = ServedRequest([Segment("environment", "tea?")], Sampling(), (), TOOLS)
    content = [{"logprob": value} for value in values]
    choice = {"message": {"content": "Rooibos."}, "logprobs": {"content": content}, "finish_reason": "stop"}

    assert openai_policy._read("chat", request, {"choices": [choice]}).logprobs is None


def test_what_a_server_says_cannot_write_to_the_terminal() -> None:
    said = failures.reply_error({"error": {"message": "no \x1b]0;title\x07 model", "code": 404}})

    assert "no �]0;title� model" in str(said)


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "12", "completion_tokens": -1}, {"prompt_tokens": 1e999}, [7], "x"]
)
def test_counts_that_are_none_are_not_known(usage: object) -> None:
    request = ServedRequest([Segment("environment", "tea?")], Sampling(), (), TOOLS)
    reply = {"choices": [{"message": {"content": "Rooibos."}}], "usage": usage}

    turn = openai_policy._read("chat", request, reply)

    assert (turn.prompt_tokens, turn.completion_tokens) == (None, None)


def test_half_a_character_in_the_arguments_of_a_call_can_be_sent() -> None:
    call = '<tool_call>{"name": "latest\\udc00", "arguments": {"query": "tea \\ud800"}}</tool_call>'
    segments = [Segment("environment", "Q"), Segment("policy", call), Segment("environment", "found")]

    json.dumps(openai_formats.tool_messages_of(segments), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<think>y</think><answer cites="post-1">no walnuts', "</answer>"),
        ("<think>y</think><answer>no walnuts", "</answer>"),
        ("< Answer >no walnuts", "</answer>"),
        ("<answer>no</answer><search>walnuts", "</search>"),
        ('<answer cites="1">no walnuts</answer>', ""),
        ("no <answers> here", ""),
    ],
)
def test_the_tag_that_is_open_is_closed_whatever_stands_in_it(text: str, expected: str) -> None:
    assert openai_formats.closing_tag(text, STOPS["tags"]) == expected
