"""Models behind vLLM servers: exact tokens, spread over servers, which may die and come back."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from matching import naming

from profilegym import Question, Trajectory
from profilegym.agents.models.model import Turn, make_model
from profilegym.agents.models.servers import SLACK
from profilegym.agents.models.vllm import VLLMModel
from profilegym.agents.models.vllm_servers import Servers
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import ModelError, OptionError
from profilegym.testing import Fault, VLLMServer
from profilegym.testing.kit import examine
from profilegym.testing.model import CHECKS
from profilegym.testing.vllm_server import ByteTokenizer

STOP = ("</search>", "</answer>")
SAID = [Segment("environment", "What shall I drink?")]
GREEDY = Sampling(0.0, max_tokens=200)


def rooibos(prompt: str, model: str) -> str:
    return "<answer>Rooibos.</answer> And more that nobody asked for."


@pytest.fixture
def server() -> Iterator[VLLMServer]:
    with VLLMServer(rooibos) as one:
        yield one


def served(*servers: VLLMServer, restore: Any = None, **options: Any) -> VLLMModel:
    asked = Servers([one.base for one in servers], **options)
    return VLLMModel(asked, name="vllm:test", tokenizer=ByteTokenizer(), restore=restore)


async def turns(model: VLLMModel, said: Sequence[Sequence[Segment]], sampling: Sampling = GREEDY) -> list[Turn]:
    try:
        sessions = [model.open(None, 1) for _ in said]  # type: ignore[arg-type]
        return await asyncio.gather(
            *(session.generate(one, sampling, STOP) for session, one in zip(sessions, said, strict=True))
        )
    finally:
        await model.close()


def turn(model: VLLMModel, said: Sequence[Segment] = SAID, sampling: Sampling = GREEDY) -> Turn:
    return asyncio.run(turns(model, [said], sampling))[0]


def test_a_turn_has_the_tokens_that_were_sampled_and_those_that_were_read(server: VLLMServer) -> None:
    written = turn(served(server))

    assert written.text == "<answer>Rooibos.</answer>"
    assert written.tokens == list(b"<answer>Rooibos.</answer>")
    assert written.logprobs == [-0.5] * 25
    assert written.segment_tokens == [list(b"What shall I drink?")]
    assert (written.finish, written.prompt_tokens, written.completion_tokens) == ("stop", 19, 25)


def test_tokens_of_the_transcript_are_sent_as_they_were_sampled(server: VLLMServer) -> None:
    said = [*SAID, Segment("policy", "<search>tea</search>", [7, 8, 9]), Segment("environment", "Nothing.")]

    written = turn(served(server), said)

    assert server.seen[0]["prompt"] == [*b"What shall I drink?", 7, 8, 9, *b"Nothing."]
    assert written.segment_tokens == [list(b"What shall I drink?"), [7, 8, 9], list(b"Nothing.")]


def test_the_token_that_ends_a_text_is_kept_and_not_shown(server: VLLMServer) -> None:
    server.policy = lambda prompt, model: "I do not know."

    written = turn(served(server))

    assert (written.text, written.finish) == ("I do not know.", "stop")
    assert written.tokens == [*b"I do not know.", 0]


def test_a_turn_that_is_cut_says_by_what(server: VLLMServer) -> None:
    server.context = len(SAID[0].text) + 5

    assert turn(served(server), sampling=Sampling(0.0, max_tokens=4)).finish == "length"
    assert turn(served(server), sampling=Sampling(0.0, max_tokens=5)).finish == "length"
    cut = turn(served(server), sampling=Sampling(0.0, max_tokens=6))
    assert (cut.finish, cut.text) == ("context", "<answ")


def test_a_prompt_that_fills_the_context_is_not_sent(server: VLLMServer) -> None:
    server.context = len(SAID[0].text)

    written = turn(served(server))

    assert (written.finish, written.text, written.tokens) == ("context", "", [])
    assert server.requests == 0


def test_the_policy_is_sampled_as_it_is_whatever_the_generation_config_says(server: VLLMServer) -> None:
    turn(served(server), sampling=Sampling(0.7, 0.9, 50))

    body = server.seen[0]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 0.9, 50)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)
    assert body["return_token_ids"] is True
    assert body["include_stop_str_in_output"] is True
    assert body["model"] == "fake"


def test_seeds_differ_from_turn_to_turn_and_can_be_left_to_the_server(server: VLLMServer) -> None:
    later = [*SAID, Segment("policy", "Well.")]
    asyncio.run(turns(served(server), [SAID, SAID, later]))
    unseeded = make_model(f"vllm:{server.url},seeds=false")
    unseeded._tokenizer = ByteTokenizer()  # type: ignore[attr-defined]
    turn(unseeded)  # type: ignore[arg-type]

    first, again, other = (body["seed"] for body in sorted(server.seen[:3], key=lambda body: len(body["prompt"])))
    assert first == again != other
    assert "seed" not in server.seen[3]


def test_it_keeps_every_promise_of_a_model(server: VLLMServer) -> None:
    broken = [result.check.name for result in examine(served(server), CHECKS) if not result.passed]

    assert broken == []


def test_equal_beginnings_go_to_one_server_and_others_to_all() -> None:
    with VLLMServer(rooibos) as one, VLLMServer(rooibos) as other:
        groups = [[Segment("environment", f"Question {number}?")] for number in range(8 * SLACK)]
        model = served(one, other)

        for first in [*range(0, 8 * SLACK, SLACK)] * 2:  # too few at once to make a queue
            asyncio.run(turns(model, groups[first : first + SLACK]))

        prompts = [{bytes(body["prompt"]) for body in server.seen} for server in (one, other)]
        assert prompts[0].isdisjoint(prompts[1])
        assert min(map(len, prompts)) >= 8


def test_a_conversation_leaves_a_server_whose_queue_is_much_longer() -> None:
    with VLLMServer(rooibos, latency=0.3) as one, VLLMServer(rooibos, latency=0.3) as other:
        asyncio.run(turns(served(one, other), [SAID] * 40))

        assert {one.requests, other.requests} == {20 - SLACK // 2, 20 + SLACK // 2}


def test_a_dead_server_is_left_out_and_tried_again() -> None:
    with VLLMServer(rooibos) as one, VLLMServer(rooibos) as other:
        model = served(one, other)
        groups = [[Segment("environment", f"Question {number}?")] for number in range(16)]

        async def story() -> tuple[int, int]:
            await asyncio.gather(*(model.open(None, 1).generate(said, GREEDY, STOP) for said in groups))  # type: ignore[arg-type]
            await asyncio.to_thread(one.stop)
            before = one.requests
            await asyncio.gather(*(model.open(None, 1).generate(said, GREEDY, STOP) for said in groups))  # type: ignore[arg-type]
            while_dead = one.requests - before
            await asyncio.to_thread(one.start)
            while one.requests == before:  # the conversations of its prefixes return to it
                await asyncio.gather(*(model.open(None, 1).generate(said, GREEDY, STOP) for said in groups))  # type: ignore[arg-type]
                await asyncio.sleep(0.02)
            await model.close()
            return while_dead, one.requests - before

        while_dead, after = asyncio.run(asyncio.wait_for(story(), 30))

        assert while_dead == 0
        assert after > 0


def test_turns_wait_for_the_only_server_to_come_back() -> None:
    with VLLMServer(rooibos, latency=0.2) as server:
        model = served(server)

        async def story() -> list[Turn]:
            asked = asyncio.create_task(turns(model, [SAID] * 8))
            while server.in_flight < 8:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            return await asked

        written = asyncio.run(asyncio.wait_for(story(), 30))

        assert [one.text for one in written] == ["<answer>Rooibos.</answer>"] * 8
        assert server.requests >= 16


class Clock:
    """Two seconds pass whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 2.0
        return self.now


def test_where_no_server_answers_the_error_names_each(server: VLLMServer) -> None:
    url = server.base
    server.stop()

    with pytest.raises(ModelError, match=naming(url)):
        turn(served(server, clock=Clock()))


def test_a_server_of_another_model_is_an_error_at_once(server: VLLMServer) -> None:
    with pytest.raises(ModelError, match=naming("fake", "other")):
        turn(served(server, model="other"))


def test_a_reply_without_token_ids_is_an_error(server: VLLMServer) -> None:
    server._script = iter([Fault.WRONG_SCHEMA] * 100)

    with pytest.raises(ModelError):
        turn(served(server))


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.UNAVAILABLE, Fault.RESET, Fault.HALF])
def test_a_request_that_fails_is_asked_again(fault: Fault, server: VLLMServer) -> None:
    server._script = iter([fault, fault])

    assert turn(served(server)).text == "<answer>Rooibos.</answer>"
    assert server.requests == 3


def test_a_refused_request_is_not_asked_again(server: VLLMServer) -> None:
    server.refuses = ("min_p",)

    with pytest.raises(ModelError, match=naming("min_p")):
        turn(served(server))
    assert server.requests == 1


def test_an_adapter_is_asked_by_its_name_and_restored_where_it_is_missing(server: VLLMServer) -> None:
    server.policy = lambda prompt, model: f"<answer>{model}</answer>"
    restored = []

    async def restore(url: str, name: str) -> None:
        restored.append((url, name))
        server.adapters[name] = "/somewhere"

    model = served(server, restore=restore)
    assert turn(model).text == "<answer>fake</answer>"
    model.adapter = "policy-v2"

    assert turn(model).text == "<answer>policy-v2</answer>"
    assert restored == [(server.base, "policy-v2")]


def test_an_adapter_can_be_named_as_the_model(server: VLLMServer) -> None:
    server.policy = lambda prompt, model: f"<answer>{model}</answer>"
    server.adapters["policy-v2"] = "/somewhere"

    assert turn(served(server, model="policy-v2")).text == "<answer>policy-v2</answer>"


def test_an_adapter_that_nobody_restores_is_an_error(server: VLLMServer) -> None:
    model = served(server)
    model.adapter = "policy-v2"

    with pytest.raises(ModelError, match=naming("policy-v2")):
        turn(model)


@pytest.mark.parametrize(
    "spec",
    [
        "vllm:127.0.0.1:8000",
        "vllm:",
        "vllm:http://a|http://a",
        "vllm:http://a,color=red",
        "vllm:http://a,timeout=0",
        "vllm:http://a,timeout=brief",
    ],
)
def test_a_spec_that_cannot_work_is_refused(spec: str) -> None:
    with pytest.raises(OptionError):
        make_model(spec)


def test_a_refused_spec_does_not_show_its_login() -> None:
    with pytest.raises(OptionError, match=naming("timeout='brief'")) as refused:
        make_model("vllm:http://me:secret@a,timeout=brief")

    assert "secret" not in str(refused.value)


def test_the_name_says_what_makes_the_model_again() -> None:
    spec = "vllm:http://a:1|http://b:2,model=mine,system=Be brief."

    assert make_model(spec).name == spec


def test_an_episode_with_a_server_has_exact_tokens(server: VLLMServer, ask: Callable[..., Question]) -> None:
    from profilegym.agents.pr2 import PR2
    from profilegym.agents.rollout import Job, Rollout
    from profilegym.envs.retrieval import make_retriever
    from profilegym.training.grpo.sequence import sequence_of

    server.policy = lambda prompt, model: (
        "<think>I look.</think><search>drink</search>"
        if "<information>" not in prompt.rpartition("drink?")[2]
        else "<think>There.</think><answer>Rooibos.</answer>"
    )

    async def play() -> list[Trajectory]:
        rollout = Rollout(served(server), make_retriever("bm25"), sampling=GREEDY)
        try:
            return [trajectory async for trajectory in rollout.run([Job(ask(), PR2())])]
        finally:
            await rollout.model.close()

    (trajectory,) = asyncio.run(play())

    assert trajectory.answer == "Rooibos."
    row = sequence_of(trajectory, lambda text: pytest.fail(f"the tokens of {text!r} are unknown"))
    assert bytes(token for token, own in zip(row.completion, row.mask, strict=True) if own).decode() == (
        "<think>I look.</think><search>drink</search><think>There.</think><answer>Rooibos.</answer>"
    )
    assert all(value == -0.5 for value, own in zip(row.logprobs, row.mask, strict=True) if own)
