"""Adapters on several servers, and the attention that takes FlashAttention's place."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from matching import naming

from profilegym.agents.models.vllm import VLLMModel
from profilegym.agents.models.vllm_servers import Servers
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.testing import VLLMServer
from profilegym.testing.vllm_server import ByteTokenizer

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import numpy as np  # noqa: E402

from profilegym.training.grpo import policy_servers  # noqa: E402
from profilegym.training.grpo.policy_servers import PolicyServers  # noqa: E402
from profilegym.training.grpo.without_gpu import plain_attention  # noqa: E402


def named(prompt: str, model: str) -> str:
    return f"<answer>{model}</answer>"


@pytest.fixture
def two() -> Iterator[tuple[VLLMServer, VLLMServer]]:
    with VLLMServer(named) as one, VLLMServer(named) as other:
        yield one, other


def handled(*servers: VLLMServer) -> tuple[PolicyServers, VLLMModel]:
    urls = [server.base for server in servers]
    found: list[PolicyServers] = []
    model = VLLMModel(
        Servers(urls), name="test", tokenizer=ByteTokenizer(), restore=lambda url, name: found[0].restore(url, name)
    )
    found.append(PolicyServers(urls, 5.0, model))
    return found[0], model


def answer(model: VLLMModel, text: str = "Who are you?") -> str:
    async def ask() -> str:
        turn = await model.open(None, 0).generate([Segment("environment", text)], Sampling(0.0, max_tokens=99), ())  # type: ignore[arg-type]
        await model.close()
        return turn.text

    return asyncio.run(ask())


def test_each_server_gets_every_adapter_and_the_newest_is_asked(two: tuple[VLLMServer, VLLMServer]) -> None:
    servers, model = handled(*two)
    assert answer(model) == "<answer>fake</answer>"

    servers.load_lora_adapter("policy-v1", "/adapters/1")
    servers.load_lora_adapter("policy-v2", "/adapters/2")
    servers.unload_lora_adapter("policy-v1")

    assert answer(model) == "<answer>policy-v2</answer>"
    assert [one.adapters for one in two] == [{"policy-v2": "/adapters/2"}] * 2


def test_all_servers_pause_and_go_on_together(two: tuple[VLLMServer, VLLMServer]) -> None:
    servers, _ = handled(*two)

    servers.pause()
    assert [one.controls for one in two] == [["/pause"]] * 2
    servers.resume()

    assert [one.controls for one in two] == [["/pause", "/resume"]] * 2


def test_adapters_of_an_earlier_run_are_replaced_and_what_was_cached_of_them_is_dropped(
    two: tuple[VLLMServer, VLLMServer],
) -> None:
    two[0].adapters["policy-v1"] = "/earlier/1"
    servers, _ = handled(*two)

    servers.load_lora_adapter("policy-v1", "/adapters/1")
    servers.load_lora_adapter("policy-v2", "/adapters/2")

    assert all(one.adapters == {"policy-v1": "/adapters/1", "policy-v2": "/adapters/2"} for one in two)
    assert [one.controls.count("/reset_prefix_cache") for one in two] == [1, 1]


def test_a_server_that_was_started_again_gets_the_adapter_when_it_is_asked_for_it() -> None:
    with VLLMServer(named) as server:
        servers, model = handled(server)
        servers.load_lora_adapter("policy-v1", "/adapters/1")
        server.stop()
        server.start()
        assert server.adapters == {}

        assert answer(model) == "<answer>policy-v1</answer>"

        assert server.adapters == {"policy-v1": "/adapters/1"}


def test_a_server_that_is_down_is_left_out_of_a_push(two: tuple[VLLMServer, VLLMServer]) -> None:
    servers, _ = handled(*two)
    two[0].stop()

    servers.pause()
    servers.load_lora_adapter("policy-v1", "/adapters/1")
    servers.resume()

    assert two[1].adapters == {"policy-v1": "/adapters/1"}


def test_where_no_server_takes_an_adapter_the_error_names_them(
    two: tuple[VLLMServer, VLLMServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_servers, "_PAUSE", 0.01)
    servers, model = handled(*two)
    servers.server_timeout = 0.05
    for one in two:
        one.stop()

    with pytest.raises(TimeoutError, match=naming("policy-v1", two[0].base, two[1].base)):
        servers.load_lora_adapter("policy-v1", "/adapters/1")
    assert model.adapter is None


@pytest.mark.parametrize("window", [None, 3])
def test_plain_attention_shows_each_sample_what_it_would_see_alone(window: int | None) -> None:
    """Of three samples, two with a common beginning; heads of keys are shared by two heads of queries."""
    from trl.experimental.async_grpo.packing import TreeRow

    rows = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 7, 8], [9, 10]]
    tree = TreeRow()
    for ids in rows:
        tokens = np.array(ids)
        tree.add(
            {"input_ids": tokens, "completion_mask": np.ones_like(tokens), "old_log_probs": np.zeros(len(ids)),
             "advantage": 1.0, "group_id": 0}
        )  # fmt: skip
    packed = tree.pack()
    order = packed["input_ids"].tolist()
    torch.manual_seed(0)
    vectors = {name: torch.randn(heads, 11, 16, 8) for name, heads in (("query", 4), ("key", 2), ("value", 2))}

    def of(name: str, ids: list[int], positions: list[int]) -> Any:
        return torch.stack([vectors[name][:, token, place] for token, place in zip(ids, positions, strict=True)], 1)[
            None
        ]

    positions = packed["position_ids"].tolist()
    query, key, value = (of(name, order, positions) for name in ("query", "key", "value"))
    found, _ = plain_attention(
        None, query, key, value, None, scaling=0.3,
        sliding_window=window, **{k: packed[k] for k in ("tree_kv_index", "tree_cu_seqlens_q", "tree_cu_seqlens_k")},
    )  # fmt: skip

    for number, ids in enumerate(rows):
        length = len(ids)
        query, key, value = (of(name, ids, list(range(length))) for name in ("query", "key", "value"))
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        if window:
            seen &= ~torch.ones_like(seen).tril(-window)
        alone = torch.nn.functional.scaled_dot_product_attention(
            query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), attn_mask=seen, scale=0.3
        )
        for position, node in enumerate(tree.sample_nodes[number]):
            place = _place(packed, tree, node)
            torch.testing.assert_close(found[0, place], alone[0, :, position])


def _place(packed: dict[str, Any], tree: Any, node: int) -> int:
    """Where a node of the tree lies in the packed row: nodes and positions hold the same pairs in another order."""
    depth = {node: position for nodes in tree.sample_nodes for position, node in enumerate(nodes)}
    before = [
        other
        for other in range(len(tree.tokens))
        if (tree.tokens[other], depth[other]) == (tree.tokens[node], depth[node])
    ]
    pairs = list(zip(packed["input_ids"].tolist(), packed["position_ids"].tolist(), strict=True))
    places = [place for place, pair in enumerate(pairs) if pair == (tree.tokens[node], depth[node])]
    return places[before.index(node)]
