"""The endpoint's client against a real server on loopback that fails as it is told."""

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import names, naming

from profilegym.agents.models import Endpoint, Usage
from profilegym.agents.models.accounting import Estimate
from profilegym.agents.models.failures import OPTIONAL, Permanent, Retryable, refused_field, reply_error, without
from profilegym.agents.models.limits import CircuitBreaker
from profilegym.agents.models.openai_formats import content_text
from profilegym.envs.chat import ChatReply, Messages, Sampling
from profilegym.errors import EndpointError, OptionError
from profilegym.testing import Fault, JudgeServer

ASKED: Messages = [{"role": "user", "content": "Is it so? Yes, or no."}]
SCHEMA = {"type": "object", "properties": {"match": {"type": "integer"}}}
KEY = "sk-very-secret"


class Pauses(list[float]):
    """Remembers how long it was to sleep, and does not."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def with_endpoint(server: JudgeServer, work: Callable[[Endpoint], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with Endpoint("judge", base_url=server.url, api_key=KEY, **{"sleep": Pauses(), **options}) as endpoint:
            return await work(endpoint)

    return asyncio.run(run())


async def ask(endpoint: Endpoint, schema: dict[str, Any] | None = None) -> ChatReply:
    return await endpoint(ASKED, Sampling(max_tokens=20), schema)


def asked(server: JudgeServer, **options: Any) -> ChatReply:
    reply: ChatReply = with_endpoint(server, ask, **options)
    return reply


def asker(n: int) -> Callable[[Endpoint], Awaitable[tuple[list[Any], Endpoint]]]:
    async def work(endpoint: Endpoint) -> tuple[list[Any], Endpoint]:
        return await asyncio.gather(*(ask(endpoint) for _ in range(n)), return_exceptions=True), endpoint

    return work


def test_a_reply_is_the_text_and_what_it_took() -> None:
    with JudgeServer("yes, it is") as server:
        assert asked(server) == ChatReply("yes, it is", prompt_tokens=5, completion_tokens=2)

    assert server.seen == [
        {"model": "judge", "messages": ASKED, "temperature": 0.0, "top_p": 1.0, "max_tokens": 20},
    ]


def test_it_is_named_as_its_spec_and_asks_for_its_model() -> None:
    with (
        JudgeServer(script=[Fault.UNAUTHORIZED]) as server,
        pytest.raises(EndpointError, match=naming("openai:judge", server.url)),
    ):
        asked(server)

    assert server.seen[0]["model"] == "judge"


def test_any_request_is_read_as_its_caller_wants_and_asked_again_when_it_cannot_be_read() -> None:
    def read(answer: Any) -> ChatReply:
        return ChatReply("read", completion_tokens=json.loads(answer["choices"][0]["message"]["content"])["match"])

    async def work(endpoint: Endpoint) -> tuple[ChatReply, Usage]:
        body = {"model": "other", "messages": ASKED, "tools": []}
        return await endpoint.post("/chat/completions", body, Estimate(5, 20), read), endpoint.usage

    with JudgeServer({"match": 17}, script=[Fault.MALFORMED, Fault.WRONG_SCHEMA]) as server:
        reply, usage = with_endpoint(server, work)

    assert reply == ChatReply("read", completion_tokens=17)
    assert (usage.calls, usage.retries) == (3, 2)  # what could not be read is billed, too
    assert usage.completion_tokens > 17
    assert server.seen[0] == {"model": "other", "messages": ASKED, "tools": []}


@pytest.mark.parametrize(
    "fault",
    [
        Fault.TOO_MANY, Fault.TOO_MANY_FOR_NOW, Fault.ERROR, Fault.UNAVAILABLE, Fault.HALF, Fault.NO_JSON, Fault.RESET,
    ],
)  # fmt: skip
def test_what_passes_is_asked_again(fault: Fault) -> None:
    with JudgeServer("yes", script=[fault, fault]) as server:
        (reply,), endpoint = with_endpoint(server, asker(1))

    assert reply.text == "yes"
    assert (server.requests, server.answered) == (3, 1)
    assert (endpoint.usage.calls, endpoint.usage.retries) == (1, 2)


def test_a_reply_that_drips_is_given_up_after_the_timeout_and_asked_again() -> None:
    with JudgeServer("yes", script=[Fault.SLOW_BODY]) as server:
        assert asked(server, timeout=0.15).text == "yes"

    assert server.requests == 2


def test_pauses_double_and_last_as_long_as_the_endpoint_asks() -> None:
    pauses = Pauses()
    script = [Fault.ERROR, Fault.ERROR, Fault.TOO_MANY_FOR_NOW]
    with JudgeServer(script=script, retry_after=17) as server:
        asked(server, sleep=pauses)

    first, second, third = pauses
    assert 0.5 <= first <= 0.625
    assert 1.0 <= second <= 1.25
    assert third == 17


def test_tries_end_and_the_error_says_after_how_many_and_why() -> None:
    told = naming(3, 500, "scripted fault")
    with JudgeServer(rates={Fault.ERROR: 1.0}) as server, pytest.raises(EndpointError, match=told):
        asked(server, attempts=3)

    assert server.requests == 3


def test_a_pause_beyond_the_deadline_is_not_begun() -> None:
    pauses = Pauses()
    server = JudgeServer(script=[Fault.TOO_MANY_FOR_NOW], retry_after=100)
    with server, pytest.raises(EndpointError, match=naming(429)):
        asked(server, deadline=99, sleep=pauses)

    assert pauses == []
    assert server.requests == 1


def test_a_refusal_is_not_asked_again_and_says_what_to_do() -> None:
    told = naming(401, "OPENAI_API_KEY")
    with JudgeServer(script=[Fault.UNAUTHORIZED]) as server, pytest.raises(EndpointError, match=told):
        asked(server)

    assert server.requests == 1


def test_the_key_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with JudgeServer(script=[Fault.UNAUTHORIZED]) as server, pytest.raises(EndpointError) as caught:
        asked(server)

    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "incorrect key: Bearer [key]" in shown
    assert KEY not in shown
    assert KEY not in repr(Endpoint("judge", base_url="http://127.0.0.1:9/v1", api_key=KEY))


def test_a_letter_in_place_of_a_key_is_left_in_the_words_of_an_error() -> None:
    async def refused(server: JudgeServer) -> None:
        async with Endpoint("judge", base_url=server.url, api_key="e") as endpoint:
            await ask(endpoint)

    with JudgeServer(script=[Fault.UNAUTHORIZED]) as server, pytest.raises(EndpointError) as caught:
        asyncio.run(refused(server))

    assert "incorrect key: Bearer [key]" in str(caught.value)
    assert "the key is refused: set OPENAI_API_KEY" in str(caught.value)


def test_address_and_key_come_from_the_environment_or_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(OptionError, match=naming("OPENAI_API_KEY", "OPENAI_BASE_URL", "base_url")):
        Endpoint("judge")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    with pytest.raises(OptionError, match=naming("OPENAI_API_KEY", "api_key")):
        Endpoint("judge")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    assert repr(Endpoint("judge")) == "Endpoint('judge', base_url='http://127.0.0.1:9/v1')"


def test_a_key_alone_asks_where_openai_s_own_client_would(monkeypatch: pytest.MonkeyPatch) -> None:
    from openai import OpenAI

    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAI() as client:
        assert Endpoint("judge").url == str(client.base_url).rstrip("/")
    monkeypatch.delenv("OPENAI_API_KEY")

    assert Endpoint("judge", api_key=KEY).url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_url": "localhost"}, ["base_url", "localhost", "http://"]),
        ({"concurrency": 0}, ["concurrency=0"]),
        ({"price_in": 1.0}, ["price_in", 1.0, "price_out"]),
        ({"budget": 1.0}, ["budget", 1.0, "price_in", "price_out"]),
    ],
)
def test_an_option_that_cannot_work_is_refused(options: dict[str, Any], named: list[object]) -> None:
    with pytest.raises(OptionError, match=naming(*named)):
        Endpoint("judge", **{"base_url": "http://127.0.0.1:9", "api_key": KEY, **options})


def test_a_schema_is_sent_where_the_endpoint_takes_one() -> None:
    with JudgeServer() as server:
        with_endpoint(server, lambda endpoint: ask(endpoint, SCHEMA))

    assert server.seen[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_schema_that_is_refused_is_left_out_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    async def twice(endpoint: Endpoint) -> set[str]:
        await ask(endpoint, SCHEMA)
        await ask(endpoint, SCHEMA)
        return endpoint.refused

    with JudgeServer(structured=False) as server:
        assert with_endpoint(server, twice) == {"response_format"}

    assert ["response_format" in body for body in server.seen] == [True, False, False]
    assert [names(message, "response_format") for message in caplog.messages] == [True]


def test_fields_that_a_reasoning_model_refuses_are_left_out_or_renamed_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(endpoint: Endpoint) -> Endpoint:
        await ask(endpoint, SCHEMA)
        await asyncio.gather(*(ask(endpoint, SCHEMA) for _ in range(8)))
        return endpoint

    with JudgeServer("yes", refuses=("max_tokens", "temperature", "top_p")) as server:
        endpoint = with_endpoint(server, work)

    assert endpoint.refused == {"max_tokens", "temperature", "top_p"}
    assert len(server.seen) == 3 + 9  # one refusal for each field, and never another
    schema = server.seen[-1].pop("response_format")
    assert schema["type"] == "json_schema"
    assert server.seen[-1] == {"model": "judge", "messages": ASKED, "max_completion_tokens": 20}
    fields = ("max_tokens", "temperature", "top_p")
    assert [names(message, field) for message, field in zip(caplog.messages, fields, strict=True)] == [True] * 3


def test_refusals_of_many_first_calls_are_no_failures(caplog: pytest.LogCaptureFixture) -> None:
    with JudgeServer("yes", refuses=("max_tokens", "temperature"), latency=0.01) as server:
        replies, endpoint = with_endpoint(server, asker(16))

    assert [reply.text for reply in replies] == ["yes"] * 16
    assert (endpoint.usage.calls, endpoint.usage.retries, endpoint.limiter.limit) == (16, 0, 32)
    assert len(caplog.messages) == 2


def test_a_field_is_known_to_be_refused_only_after_a_reply_without_it() -> None:
    class Closed(JudgeServer):
        def _refused(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
            return 400, "'temperature' is not supported, nor is anything else"

    async def work(endpoint: Endpoint) -> set[str]:
        with pytest.raises(EndpointError):
            await ask(endpoint)
        return endpoint.refused

    with Closed() as server:
        assert with_endpoint(server, work) == set()


OPENAI_S = {"message": "Unsupported value: 'temperature' does not support 0.0 with this model. Only 1 is supported."}


@pytest.mark.parametrize(
    ("status", "body", "field"),
    [
        (400, OPENAI_S | {"param": "temperature", "code": "unsupported_value"}, "temperature"),
        (400, {"message": "Unsupported: 'max_tokens'. Use 'max_completion_tokens'.", "param": None}, "max_tokens"),
        (400, {"message": "'response_format' is not supported", "param": "response_format.type"}, "response_format"),
        (400, {"message": "Unrecognized request argument supplied: seed"}, "seed"),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_p"]}]}, "top_p"),
        (400, "`temperature` is deprecated for this model", "temperature"),
        (400, {"message": "Invalid 'temperature': 3 is above 2", "param": "temperature"}, None),
        (400, {"message": "the context is 4096 tokens; max_tokens is 5000", "param": None}, None),
        (400, {"message": "The model 'x' does not support images", "param": "model"}, None),
        (400, {"message": "unknown field 'user'"}, None),
        (400, None, None),
        (429, OPENAI_S | {"param": "temperature"}, None),
        (None, OPENAI_S, None),
    ],
)  # fmt: skip
def test_only_the_refusal_of_a_field_itself_is_taken_for_one(status: int | None, body: Any, field: str | None) -> None:
    error = Exception()
    param = body.get("param") if isinstance(body, dict) else None
    vars(error).update({"status_code": status, "body": body, "param": param})
    asked = dict.fromkeys(("model", "max_tokens", "temperature", "top_p", "seed", "response_format"))

    assert refused_field(error, asked, schema_known=True) == field


def test_a_refusal_that_names_nothing_may_mean_the_schema_until_one_was_taken() -> None:
    error = Exception()
    vars(error).update({"status_code": 400, "body": "bad request"})

    assert refused_field(error, {"response_format": {}}, schema_known=False) == "response_format"
    assert refused_field(error, {"response_format": {}}, schema_known=True) is None
    assert refused_field(error, {"stop": []}, schema_known=False) is None


@given(
    st.sets(st.sampled_from(["max_tokens", *OPTIONAL])),
    st.dictionaries(st.sampled_from(["model", "max_tokens", *OPTIONAL]), st.integers()),
)
def test_a_body_without_refused_fields_keeps_all_others(refused: set[str], body: dict[str, int]) -> None:
    sent = without(body, refused)

    assert not refused & sent.keys()
    assert {name: sent[name] for name in body.keys() - refused} == {n: v for n, v in body.items() if n not in refused}
    assert sent.get("max_completion_tokens") == (body.get("max_tokens") if "max_tokens" in refused else None)
    assert without(sent, refused) == sent


def test_the_cost_is_what_the_replies_took() -> None:
    with JudgeServer("yes, it is") as server:  # 5 tokens in and 2 out
        _, endpoint = with_endpoint(server, asker(3), price_in=1_000_000, price_out=2_000_000)

    usage = endpoint.usage
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens, usage.cost) == (3, 15, 6, 27.0)


def test_the_budget_is_never_passed_even_by_many_at_once() -> None:
    with JudgeServer("yes, it is") as server:  # 9 each; 46 set aside for 6 tokens in and up to 20 out
        replies, endpoint = with_endpoint(server, asker(20), budget=100, price_in=1e6, price_out=2e6)

    refused = [reply for reply in replies if isinstance(reply, EndpointError)]
    assert endpoint.usage.cost == 9 * server.requests <= 100
    assert len(refused) == 20 - server.requests > 0
    assert all(str(error).startswith("budget of 100 spent") for error in refused)


def test_no_more_are_in_flight_than_allowed() -> None:
    with JudgeServer(latency=0.01) as server:
        replies, endpoint = with_endpoint(server, asker(30), concurrency=5)

    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert server.most_in_flight == 5
    assert endpoint.limiter.inside == 0


def test_the_endpoint_is_asked_less_at_once_when_it_says_too_many() -> None:
    async def work(endpoint: Endpoint) -> list[float]:
        limits = []
        for _ in range(3):
            await asyncio.gather(*(ask(endpoint) for _ in range(16)))
            limits.append(endpoint.limiter.limit)
        return limits

    with JudgeServer(latency=0.005, script=[None] * 16 + [Fault.TOO_MANY] * 16) as server:
        grown, cut, recovered = with_endpoint(server, work)

    assert grown == 32
    assert cut < grown < cut * 2
    assert recovered > cut


def test_requests_and_tokens_are_spread_over_the_minute() -> None:
    pauses = Pauses()
    with JudgeServer("yes, it is") as server:
        with_endpoint(server, asker(4), requests_per_minute=20, clock=lambda: 0.0, sleep=pauses)
    assert sorted(pauses) == [2, 5, 8]

    pauses.clear()
    with JudgeServer("yes, it is") as server:  # 26 tokens are expected of a call, 7 are taken
        with_endpoint(server, asker(2), tokens_per_minute=780, clock=lambda: 0.0, sleep=pauses, concurrency=1)
    assert pauses == []  # 7 tokens are half a second


def test_an_endpoint_that_is_down_fails_fast_and_is_found_again() -> None:
    now = [0.0]

    async def work(endpoint: Endpoint) -> str:
        endpoint.breaker = CircuitBreaker(endpoint.url, lambda: now[0], failures=3, patience=0.0)
        server.stop()
        with pytest.raises(EndpointError, match=naming(endpoint.url, 3)):
            await ask(endpoint)
        server.start()
        with pytest.raises(EndpointError, match=naming(endpoint.url, 10)):
            await ask(endpoint)
        assert server.requests == 0
        now[0] = 10.0
        return (await ask(endpoint)).text + (await ask(endpoint)).text

    with JudgeServer("yes") as server:
        assert with_endpoint(server, work) == "yesyes"


def test_a_refusal_is_no_sign_that_the_endpoint_is_down() -> None:
    breaker = CircuitBreaker("here", lambda: 0.0, failures=2, patience=0.0)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()

    breaker.check()
    breaker.failed()
    with pytest.raises(EndpointError, match=naming("here", 2)):
        breaker.check()


def test_a_short_outage_loses_nothing() -> None:
    with JudgeServer("yes", latency=0.01) as server:
        back = asyncio.Event()

        async def until_it_is_back(_: float) -> None:
            await back.wait()

        async def work(endpoint: Endpoint) -> list[ChatReply]:
            calls = asyncio.gather(*(ask(endpoint) for _ in range(100)))
            while server.answered < 10:
                await asyncio.sleep(0)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            back.set()
            return await calls

        replies = with_endpoint(server, work, sleep=until_it_is_back)

    assert [reply.text for reply in replies] == ["yes"] * 100


def test_a_cancelled_call_leaves_nothing_running() -> None:
    async def work(endpoint: Endpoint) -> tuple[int, int]:
        calls = [asyncio.create_task(ask(endpoint)) for _ in range(4)]
        while server.in_flight < 2:
            await asyncio.sleep(0.001)
        for call in calls:
            call.cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        return endpoint.limiter.inside, len(asyncio.all_tasks())

    with JudgeServer(latency=30) as server:
        assert with_endpoint(server, work, concurrency=2) == (0, 1)


def test_a_reply_without_text_is_an_error_and_an_empty_one_is_not() -> None:
    with JudgeServer("") as server:
        assert asked(server).text == ""
    with JudgeServer(lambda _: None) as server, pytest.raises(EndpointError, match=naming("'stop'")) as told:
        asked(server)
    assert "max_tokens" not in str(told.value)

    assert server.requests == 1


def test_replies_without_text_are_billed_and_end_with_the_budget() -> None:
    with JudgeServer(lambda _: None) as server:
        replies, endpoint = with_endpoint(server, asker(40), budget=100, price_in=1e6, price_out=1e6, concurrency=4)

    assert server.requests == endpoint.usage.calls < 40
    assert endpoint.usage.prompt_tokens == 5 * server.requests
    assert sum("budget of 100 spent" in str(error) for error in replies) == 40 - server.requests


def test_a_call_that_is_cancelled_while_it_waits_takes_no_rate() -> None:
    async def work(endpoint: Endpoint) -> float:
        assert await ask(endpoint)
        waiting = [asyncio.create_task(ask(endpoint)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return endpoint._requests.take(1)

    with JudgeServer("yes") as server:
        pause = with_endpoint(server, work, requests_per_minute=60, sleep=asyncio.sleep)

    assert server.requests < 4
    assert pause < 3  # seconds, and not one for each that was cancelled


def test_the_error_of_a_gateway_in_a_reply_is_told() -> None:
    told = reply_error({"error": {"message": "the context is too long", "code": 400}})
    assert isinstance(told, Permanent)
    assert names(str(told), "the context is too long")
    assert isinstance(reply_error({"error": "the provider is down"}), Retryable)
    assert reply_error({"choices": [{}], "error": None}) is None


def test_of_a_whole_page_that_a_server_sends_only_the_beginning_is_told() -> None:
    told = str(reply_error({"error": {"message": "<html>" + "x" * 300_000, "code": 404}}))

    assert len(told) < 1000
    assert names(told, "<html>", "no such model or path")


def test_text_is_read_from_parts_and_reasoning_left_out() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "ye"}, {"type": "text", "text": "s"}]

    assert content_text(parts) == content_text("yes") == "yes"
    assert content_text([{"type": "thinking", "thinking": "Hm."}]) is content_text(None) is None


def test_none_is_lost_and_none_is_doubled_among_faults() -> None:
    rates = {Fault.TOO_MANY: 0.05, Fault.ERROR: 0.05, Fault.RESET: 0.05, Fault.HALF: 0.05}
    with JudgeServer("yes", rates=rates) as server:
        replies, endpoint = with_endpoint(server, asker(200), attempts=20)

    assert [reply.text for reply in replies] == ["yes"] * 200
    assert server.answered == endpoint.usage.calls == 200
    assert server.requests == 200 + endpoint.usage.retries
