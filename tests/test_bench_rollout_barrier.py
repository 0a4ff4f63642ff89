"""Without a barrier, episodes whose turns differ in length wait for none but their own."""

import asyncio

import pytest

from profilegym import Question
from profilegym.benchmarks import rollout_barrier
from profilegym.benchmarks.rollout_barrier import InRounds, measure, targets
from profilegym.envs.chat import Sampling
from profilegym.envs.question import Profile
from profilegym.testing import VLLMServer
from profilegym.testing.vllm_server import ByteTokenizer


@pytest.mark.alone
@pytest.mark.slow
def test_it_is_at_least_half_as_fast_again_as_round_by_round() -> None:
    result = measure(rounds=1)

    assert [target.holds for target in targets(result)] == [True], result


def test_in_rounds_no_turn_comes_before_the_last_of_its_round() -> None:
    from profilegym.agents.models.vllm import VLLMModel
    from profilegym.agents.models.vllm_servers import Servers
    from profilegym.envs.trajectory import Segment

    order: list[str] = []
    question = Question("q", "u", "?", Profile("u", ()))

    async def talk(model: InRounds, name: str) -> None:
        session = model.open(question, 0)
        await session.generate([Segment("environment", name)], Sampling(0.0), ())
        order.append(name)
        session.close()

    async def talks(server: VLLMServer) -> None:
        model = InRounds(VLLMModel(Servers([server.base]), name="test", tokenizer=ByteTokenizer()))
        await asyncio.gather(talk(model, "slow"), talk(model, "quick"))
        await model.close()

    with VLLMServer(
        lambda prompt, _: prompt, latency=lambda body: 0.3 if bytes(body["prompt"]) == b"slow" else 0
    ) as server:
        asyncio.run(talks(server))

    assert order == ["slow", "quick"]


def test_turns_differ_in_length_and_episodes_in_turns() -> None:
    texts = [f"Question {number}?" for number in range(200)]
    times = [rollout_barrier.latency({"prompt": list(text.encode())}) for text in texts]
    kinds = {rollout_barrier.policy(text, "")[:15] for text in texts}

    assert max(times) > 5 * min(times)
    assert len(kinds) == 2
