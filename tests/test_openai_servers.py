"""One model behind several OpenAI-compatible endpoints."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from matching import naming

from profilegym.agents.models.model import STOPS, Turn, make_model
from profilegym.agents.models.openai_servers import SpreadModel
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import BudgetSpent, EndpointError, OptionError
from profilegym.rewards.registry import make_judge
from profilegym.testing import Fault, PolicyServer

SAMPLING, TAGS = Sampling(max_tokens=100), STOPS["tags"]
QUESTION: Any = None


def rooibos(said: Any) -> str:
    return "<answer>Rooibos.</answer>"


def spread(*servers: PolicyServer, **options: Any) -> SpreadModel:
    urls = "|".join(server.url for server in servers)
    told = "".join(f",{name}={value}" for name, value in options.items())
    model = make_model(f"openai:player,base_url={urls},api_key=any{told}")
    assert isinstance(model, SpreadModel)
    return model


async def ask(model: SpreadModel, numbers: Sequence[int]) -> list[Turn]:
    """A first turn of so many conversations."""
    said = [[Segment("environment", f"Question {number}?")] for number in numbers]
    return await asyncio.gather(*(model.open(QUESTION, 1).generate(one, SAMPLING, TAGS) for one in said))


async def one_after_another(model: SpreadModel, *numbers: int) -> list[Turn]:
    try:
        return [turn for number in numbers for turn in await ask(model, [number])]
    finally:
        await model.close()


def test_conversations_are_spread_over_the_endpoints() -> None:
    with PolicyServer(rooibos, latency=0.05) as one, PolicyServer(rooibos, latency=0.05) as other:
        model = spread(one, other)

        async def story() -> list[Turn]:
            try:
                return await ask(model, range(64))
            finally:
                await model.close()

        turns = asyncio.run(story())

        assert {turn.text for turn in turns} == {"<answer>Rooibos.</answer>"}
        assert min(one.requests, other.requests) >= 20


def test_a_conversation_stays_with_its_endpoint() -> None:
    with PolicyServer(rooibos) as one, PolicyServer(rooibos) as other:
        asyncio.run(one_after_another(spread(one, other), *[7] * 6))

        assert {one.requests, other.requests} == {0, 6}


def test_a_dead_endpoint_is_left_out_and_asked_again() -> None:
    with PolicyServer(rooibos) as one, PolicyServer(rooibos) as other:
        model = spread(one, other)

        async def story() -> tuple[int, int]:
            await ask(model, range(16))
            await asyncio.to_thread(one.stop)
            before = one.requests
            await ask(model, range(16))
            while_dead = one.requests - before
            await asyncio.to_thread(one.start)
            while one.requests == before:
                await ask(model, range(16))
                await asyncio.sleep(0.02)
            await model.close()
            return while_dead, one.requests - before

        while_dead, after = asyncio.run(asyncio.wait_for(story(), 60))

        assert while_dead == 0
        assert after > 0


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.UNAVAILABLE, Fault.RESET, Fault.HALF])
def test_a_turn_that_fails_at_one_endpoint_is_written_by_another(fault: Fault) -> None:
    with PolicyServer(rooibos, script=[fault] * 8) as broken, PolicyServer(rooibos) as sound:
        turns = asyncio.run(one_after_another(spread(broken, sound), *range(8)))

        assert {turn.text for turn in turns} == {"<answer>Rooibos.</answer>"}


def test_an_endpoint_that_refuses_the_key_is_left_out() -> None:
    with PolicyServer(rooibos, script=[Fault.UNAUTHORIZED] * 100) as one, PolicyServer(rooibos) as other:
        turns = asyncio.run(one_after_another(spread(one, other), *range(12)))

    assert {turn.text for turn in turns} == {"<answer>Rooibos.</answer>"}


def test_what_all_endpoints_refuse_is_an_error_at_once() -> None:
    refusing = [Fault.UNAUTHORIZED] * 4
    with PolicyServer(rooibos, script=refusing) as one, PolicyServer(rooibos, script=refusing) as other:
        with pytest.raises(EndpointError, match=naming(401)):
            asyncio.run(one_after_another(spread(one, other), 1))

        assert one.requests == other.requests == 1


def test_a_request_that_would_be_refused_anywhere_is_not_asked_elsewhere() -> None:
    speaks: dict[str, Any] = {"speaks": ("chat",)}  # without tools: HTTP 400
    with PolicyServer(rooibos, **speaks) as one, PolicyServer(rooibos, **speaks) as other:
        session = spread(one, other).open(QUESTION, 1)

        with pytest.raises(EndpointError, match=naming(400)):
            asyncio.run(session.generate([Segment("environment", "Tea?")], SAMPLING, STOPS["tools"]))

        assert one.requests + other.requests == 1


def test_a_budget_is_that_of_all_endpoints() -> None:
    with PolicyServer(rooibos) as one, PolicyServer(rooibos) as other:
        model = spread(one, other, price_in=1, price_out=1, budget=0.0003)

        with pytest.raises(BudgetSpent):
            asyncio.run(one_after_another(model, *range(100)))

        assert one.requests + other.requests < 60


def test_an_endpoint_that_is_named_twice_and_a_judge_of_several_are_errors() -> None:
    with pytest.raises(OptionError, match=naming("http://a")):
        make_model("openai:player,base_url=http://a|http://a,api_key=any")
    with pytest.raises(OptionError, match=naming("http://a|http://b")):
        make_judge("openai:judge,base_url=http://a|http://b,api_key=any")
