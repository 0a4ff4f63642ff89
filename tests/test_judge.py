import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question
from matching import naming

from profilegym import Aspect, Question, Rubric, Verdict, make_judge
from profilegym.envs.chat import ChatReply, Messages, Sampling
from profilegym.errors import BudgetSpent, EndpointError, JudgeError, OptionError
from profilegym.rewards.cache import Cache
from profilegym.rewards.judge import LLMJudge
from profilegym.rewards.judge_prompts import (
    BUDGETS,
    PAIR_BUDGETS,
    TOTAL,
    Unreadable,
    clean,
    fitted,
    pair_messages,
    parse,
)
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import Fault, JudgeServer

ASPECTS = (Aspect("Tea", "I drink no coffee.", "I only drink rooibos."), Aspect("Cups"), Aspect("Milk"), Aspect("Time"))


def asked(*aspects: Aspect) -> Question:
    return replace(make_question(), rubric=Rubric("I moved house.", aspects))


def verdict(match: Any, reason: Any = "so it is") -> str:
    return json.dumps({"reason": reason, "match": match})


class Script:
    """An evaluator that replies as it is told to, and remembers what it was asked."""

    name = "openai:script"

    def __init__(self, reply: Callable[[str, int], str]) -> None:
        self.reply = reply
        self.calls: list[tuple[Messages, Sampling, Mapping[str, Any] | None]] = []

    async def __call__(
        self, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None = None
    ) -> ChatReply:
        self.calls.append((messages, sampling, schema))
        await asyncio.sleep(0)
        return ChatReply(self.reply(messages[-1]["content"], len(self.calls)))


def one_of(*replies: str) -> Script:
    """The first reply to the first call, and so on; the last one again and again."""
    return Script(lambda _, call: replies[min(call, len(replies)) - 1])


def by_title(matches: Mapping[str, int]) -> Script:
    return Script(
        lambda prompt, _: verdict(next(match for title, match in matches.items() if f"\n{title}\n" in prompt))
    )


def test_the_metric_equals_the_one_computed_by_hand() -> None:
    judge = LLMJudge(by_title({"Tea": 2, "Cups": 0, "Milk": 1, "Time": 2}))

    first = asyncio.run(judge.score(asked(*ASPECTS), "Rooibos, with a little milk, at five."))
    second = asyncio.run(judge.score(asked(*ASPECTS[:3]), "Rooibos, with a little milk."))

    assert (first.judge, first.score) == ("openai:script", (2 + 0 + 1 + 2) / (2 * 4))
    assert [(aspect.title, aspect.match) for aspect in first.aspects] == [
        ("Tea", 2),
        ("Cups", 0),
        ("Milk", 1),
        ("Time", 2),
    ]
    assert first.aspects[0].reason == "so it is"
    assert (first.score + second.score) / 2 == (0.625 + 0.5) / 2


def test_the_judge_sees_the_rubric_and_the_answer_and_never_the_profile() -> None:
    script = one_of(verdict(1))

    asyncio.run(LLMJudge(script).score(asked(ASPECTS[0]), "Rooibos tonight."))

    ((messages, sampling, schema),) = script.calls
    seen = " ".join(message["content"] for message in messages)
    for text in (
        "What shall I drink?",
        "I moved house.",
        "Tea",
        "I drink no coffee.",
        "I only drink rooibos.",
        "Rooibos tonight.",
    ):
        assert text in seen
    assert "Milo" not in seen
    assert sampling.temperature == 0.0
    assert schema is not None
    assert list(schema["properties"]) == ["reason", "match"]


@pytest.mark.parametrize("answer", ["", "  \n\t ", "\u200b\u2060 \ufeff", "\u3164"])
def test_an_empty_answer_is_worth_nothing_and_costs_nothing(answer: str) -> None:
    script = one_of(verdict(2))

    found = asyncio.run(LLMJudge(script).score(asked(*ASPECTS), answer))

    assert (found.score, [aspect.match for aspect in found.aspects]) == (0.0, [0, 0, 0, 0])
    assert script.calls == []


def test_a_question_without_aspects_cannot_be_judged() -> None:
    with pytest.raises(JudgeError, match="'q1'"):
        asyncio.run(LLMJudge(one_of(verdict(2))).score(asked(), "Rooibos."))


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (verdict(0), 0),
        (f"```json\n{verdict(1)}\n```", 1),
        (f"Let me see {{the aspect}}.\n{verdict(2)}\nThat is all.", 2),
        (f"<think>First {verdict(2)}, then {{no</think>\n{verdict(1)}", 1),
        (f"{verdict(0)}\nNo, rather: {verdict(1)}", 1),
        (f"So, a {{brace.</think>\n{verdict(1)}", 1),
        ('{"reason": "a line\nbreak", "match": 2}', 2),
        ('{"reason": "it says {\\"match\\": 2}", "match": 0}', 0),
        ('{"reason": "nested", "also": {"reason": "x", "match": 2}, "match": 1}', 1),
    ],
)
def test_the_last_complete_object_is_the_verdict(reply: str, match: int) -> None:
    assert parse(reply).match == match


@pytest.mark.parametrize(
    "reply",
    [
        *("", "I cannot decide.", "2", "null", '{"match": 2}', '{"reason": "x"}', '{"reason": "x", "match": 2'),
        *(verdict(match) for match in (True, False, 1.0, 1.5, 3, -1, "2", None, [2], {"match": 2})),
        verdict(2, reason=None),
        f"[{verdict(2)}, {verdict(3)}]",
        '{"reason": "it says {"reason": "great", "match": 2} but is not", "match": 0}',
        '{"reason": "it says {"reason": "great", "match": 2}',
        "{'reason': 'it says {\"reason\": \"great\", \"match\": 2}', 'match': 0}",
        '{"reason": "x", "match": 0, "match": 2}',
        '{"a":' * 100_000,
        f"<think>Is it {verdict(2)}? Let me",
        f"<think>Is it</think> {verdict(2)[:-1]}",
        '{"reason": "it says </think>{"reason": "great", "match": 2}", "match": 0}',
    ],
)
def test_what_is_no_verdict_is_never_taken_for_one(reply: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(repr(reply)[:20])):
        parse(reply)


def test_an_unreadable_reply_is_asked_again_at_a_rising_temperature() -> None:
    script = one_of("I cannot decide.", "{", verdict(2))

    found = asyncio.run(LLMJudge(script).score(asked(ASPECTS[0]), "Rooibos."))

    assert found.score == 1.0
    assert [sampling.temperature for _, sampling, _ in script.calls] == [0.0, 0.1, 0.2]


def test_an_unreadable_verdict_is_unscored_not_zero() -> None:
    script = one_of("I cannot decide. " * 100)

    with pytest.raises(JudgeError, match=naming(3, "I cannot decide")) as error:
        asyncio.run(LLMJudge(script, max_replies=3).score(asked(ASPECTS[0]), "Rooibos."))

    assert len(script.calls) == 3
    assert len(str(error.value)) < 400


def test_a_reply_that_was_cut_off_says_that_more_tokens_are_needed() -> None:
    class Cut(Script):
        async def __call__(self, messages: Messages, sampling: Sampling, schema: Any = None) -> ChatReply:
            return ChatReply("<think>Let me see", completion_tokens=sampling.max_tokens)

    judge = LLMJudge(Cut(lambda *_: ""), sampling=Sampling(max_tokens=40))

    with pytest.raises(JudgeError, match="max_tokens=40"):
        asyncio.run(judge.score(asked(ASPECTS[0]), "Rooibos."))


def test_a_chosen_temperature_above_1_is_never_lowered() -> None:
    script = one_of("?", verdict(2))

    asyncio.run(LLMJudge(script, sampling=Sampling(temperature=1.5)).score(asked(ASPECTS[0]), "Rooibos."))

    assert [sampling.temperature for _, sampling, _ in script.calls] == [1.5, 1.5]


def test_a_spent_budget_is_no_missing_verdict_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    def reply(prompt: str, _: int) -> str:
        if "oolong" in prompt:
            raise BudgetSpent("budget of 1 spent")
        return verdict(1)

    judge = LLMJudge(Script(reply), cache=Cache(tmp_path / "judge.sqlite"))
    pairs = [(asked(*ASPECTS), answer) for answer in ("oolong", "rooibos")]

    with pytest.raises(BudgetSpent):
        asyncio.run(judge.score_many(pairs))
    with pytest.raises(BudgetSpent):
        asyncio.run(judge.prefer(asked(*ASPECTS), "oolong", "rooibos"))

    assert len(Cache(tmp_path / "judge.sqlite")) == len(ASPECTS)


def test_one_that_fails_takes_no_other_with_it() -> None:
    def reply(prompt: str, _: int) -> str:
        if "oolong" in prompt:
            raise EndpointError("it is down")
        return verdict(1)

    pairs = [(asked(*ASPECTS), "rooibos"), (asked(*ASPECTS), "oolong"), (asked(), "rooibos"), (asked(*ASPECTS), "")]
    found = asyncio.run(LLMJudge(Script(reply)).score_many(pairs))

    assert [one.score if isinstance(one, Verdict) else str(one)[:35] for one in found] == [
        *(0.5, "openai:script gave no reply: it is ", "question 'q1' has no aspects to jud", 0.0)
    ]


def test_the_aspects_of_an_answer_are_asked_at_once() -> None:
    together = asyncio.Barrier(len(ASPECTS))

    class Patient(Script):
        async def __call__(
            self, messages: Messages, sampling: Sampling, schema: Mapping[str, Any] | None = None
        ) -> ChatReply:
            await together.wait()
            return ChatReply(verdict(2))

    found = asyncio.run(asyncio.wait_for(LLMJudge(Patient(lambda *_: "")).score(asked(*ASPECTS), "Rooibos."), 10))

    assert found.score == 1.0


def better(which: Any, reason: Any = "so it is") -> str:
    return json.dumps({"reason": reason, "better": which})


@pytest.mark.parametrize(("which", "place"), [("first", 1), ("second", -1), ("neither", 0)])
def test_two_answers_are_compared_by_all_aspects_in_one_call(which: str, place: int) -> None:
    script = one_of(better(which))

    assert asyncio.run(LLMJudge(script).prefer(asked(*ASPECTS), "Rooibos tonight.", "Oolong.")) == place

    ((messages, sampling, schema),) = script.calls
    seen = messages[-1]["content"]
    for text in ("What shall I drink?", "I moved house.", "I drink no coffee.", *(aspect.title for aspect in ASPECTS)):
        assert text in seen
    assert seen.index("Rooibos tonight.") < seen.index("Oolong.")
    assert "Milo" not in seen
    assert sampling.temperature == 0.0
    assert schema is not None
    assert list(schema["properties"]) == ["reason", "better"]


@pytest.mark.parametrize(
    ("first", "second", "place"), [("Rooibos.", " \u200b", 1), ("", "Rooibos.", -1), ("", "\n", 0), ("So.", "So. ", 0)]
)
def test_nothing_loses_and_the_same_is_a_tie_without_a_call(first: str, second: str, place: int) -> None:
    script = one_of(better("first"))

    assert asyncio.run(LLMJudge(script).prefer(asked(*ASPECTS), first, second)) == place
    assert script.calls == []


@pytest.mark.parametrize(
    "reply",
    [
        *("first", '{"better": "first"}', '{"reason": "x", "better": "first"', verdict(2)),
        *(better(which) for which in ("First", "both", 1, True, None, ["first"])),
        better("first", reason=None),
        '{"reason": "it says {"reason": "great", "better": "first"} but is not", "better": "second"}',
    ],
)
def test_what_names_no_better_answer_is_asked_again_and_then_an_error(reply: str) -> None:
    script = one_of(reply)

    with pytest.raises(JudgeError, match=naming(2, repr(reply))):
        asyncio.run(LLMJudge(script, max_replies=2).prefer(asked(*ASPECTS), "Rooibos.", "Oolong."))

    assert len(script.calls) == 2


def test_a_comparison_needs_aspects_too() -> None:
    with pytest.raises(JudgeError, match="'q1'"):
        asyncio.run(LLMJudge(one_of(better("first"))).prefer(asked(), "Rooibos.", ""))


def test_long_parts_of_a_comparison_are_cut() -> None:
    long = "long " * 2000
    question = replace(asked(*[Aspect(long, long, long)] * 9), text=long)

    (_, compared) = pair_messages(question, f"{long} one", f"{long} other")

    assert sum(PAIR_BUDGETS.values()) - 512 < len(compared["content"].encode()) / 4 < sum(PAIR_BUDGETS.values())
    assert compared["content"].count("[…]\n[/") == len(PAIR_BUDGETS) - 1


def test_long_parts_are_cut_and_the_details_give_way_first() -> None:
    parts = dict.fromkeys(BUDGETS, "long " * 2000)

    cut = fitted(parts)

    sizes = {name: len(text.encode()) / 4 for name, text in cut.items()}
    assert sum(sizes.values()) <= TOTAL
    assert sizes["details"] < 400
    assert all(BUDGETS[name] - 3 < sizes[name] <= BUDGETS[name] for name in sizes if name != "details")
    assert all(text.endswith("[…]") for text in cut.values())
    assert fitted({**dict.fromkeys(BUDGETS, "short"), "details": "é" * 1024})["details"] == "é" * 1024


def test_what_cannot_be_seen_is_removed_or_shown() -> None:
    assert clean("a\u200bb\u202ec\U000e0041d\x1b[0m\ud800\r\ne\u2028f") == "abcd�[0m�\ne\nf"
    assert clean("<|im_end|> </s> [/INST] [1] if a < b") == "&lt;|im_end|> &lt;/s> [ /INST] [1] if a &lt; b"
    assert clean("👨‍👩‍👧 naïve 東京") == "👨👩👧 naïve 東京"


@pytest.mark.parametrize("options", [{"max_replies": 0}, {"offline": True}])
def test_a_judge_that_could_not_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        LLMJudge(one_of(verdict(2)), **options)


def test_a_judge_is_closed_by_async_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import openai

    close, closed = openai.AsyncOpenAI.close, list[str]()

    async def noted(self: openai.AsyncOpenAI) -> None:
        closed.append(str(self.base_url))
        await close(self)

    async def score() -> list[list[str]]:
        judge = make_judge("openai:judge", base_url=server.url, api_key="none")
        assert isinstance(judge, LLMJudge)
        async with judge:
            await judge.score(asked(ASPECTS[0]), "Rooibos.")
            before = list(closed)
        return [before, list(closed)]

    async def exact() -> float:
        async with RubricJudge() as judge:
            aspect = Aspect("Tea", accepted=("rooibos",))
            return float((await judge.score(asked(aspect), "Rooibos.")).score)

    monkeypatch.setattr(openai.AsyncOpenAI, "close", noted)
    with JudgeServer() as server:
        assert asyncio.run(score()) == [[], [f"{server.url}/"]]

    assert asyncio.run(exact()) == 1.0


def judged_by(server: JudgeServer, spec: str = "openai:judge", **options: Any) -> float:
    async def score() -> float:
        judge = make_judge(spec, base_url=server.url, api_key="none", **options)
        assert isinstance(judge, LLMJudge)
        async with judge:
            return float((await judge.score(asked(ASPECTS[0]), "Rooibos.")).score)

    return asyncio.run(score())


def test_a_judge_s_tokens_temperature_and_more_fields_are_options(tmp_path: Path) -> None:
    fields = tmp_path / "fields.json"
    fields.write_text('{"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": false}}', "utf-8")

    with JudgeServer() as server:
        judged_by(server)
        judged_by(server, f"openai:judge,max_tokens=2048,temperature=0.6,top_p=1.0,extra_body={fields}")
        judged_by(server, 'openai:judge,extra_body={"reasoning_effort":"high"}')
        judged_by(server, extra_body={"max_completion_tokens": 9})

    plain, more, text, mapping = server.seen
    assert (plain["max_tokens"], plain["temperature"], plain["top_p"]) == (256, 0.0, 0.95)
    assert (more["max_tokens"], more["temperature"], more["top_p"]) == (2048, 0.6, 1.0)
    assert (more["reasoning_effort"], more["chat_template_kwargs"]) == ("low", {"enable_thinking": False})
    assert text["reasoning_effort"] == "high"
    assert mapping["max_completion_tokens"] == 9


@pytest.mark.parametrize("given", ["nowhere.json", "{", "[1]", '{"a":', "."])
def test_more_fields_that_are_no_json_object_are_refused(given: str) -> None:
    with pytest.raises(OptionError, match=naming("extra_body", repr(given))):
        make_judge("openai:m", base_url="http://127.0.0.1:9/v1", api_key="none", extra_body=given)


def test_attempts_are_those_of_a_call_and_max_replies_those_at_a_verdict() -> None:
    with JudgeServer("I cannot decide.", script=[Fault.ERROR]) as server, pytest.raises(JudgeError, match=naming(500)):
        judged_by(server, attempts=1)
    assert server.requests == 1

    with JudgeServer("I cannot decide.") as server, pytest.raises(JudgeError, match=naming(2)):
        judged_by(server, attempts=1, max_replies=2)
    assert server.requests == 2


def test_the_same_model_name_at_another_address_is_another_judge(tmp_path: Path) -> None:
    cache = str(tmp_path / "judge.sqlite")

    with JudgeServer({"reason": "", "match": 2}) as one, JudgeServer({"reason": "", "match": 0}) as other:
        assert [judged_by(server, cache=cache) for server in (one, other, one, other)] == [1.0, 0.0, 1.0, 0.0]
        assert judged_by(one, cache=cache, extra_body={"reasoning_effort": "low"}) == 1.0
        assert judged_by(one, cache=cache, extra_body={"reasoning_effort": "low"}) == 1.0

    assert (one.requests, other.requests) == (2, 1)


def test_an_option_that_no_endpoint_has_is_refused_by_its_name() -> None:
    with pytest.raises(OptionError, match=r"no option 'speed'; known: cache, .*, max_replies, .*, base_url"):
        make_judge("openai:m,speed=9")


def test_an_option_that_is_no_number_is_refused_with_its_value() -> None:
    with pytest.raises(OptionError, match="budget='small': give a number"):
        make_judge("openai:m,budget=small,price_in=1,price_out=2")
