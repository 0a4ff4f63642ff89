"""A policy that knows nothing, and rewards that vary all the same: what is tested is how it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from profilegym import Reward
from profilegym.envs.episode import Episode
from profilegym.testing import VLLMServer
from profilegym.training.recipe import Recipe
from profilegym.training.settings import check_settings

DATA = "world:seed=1,users=12/train"


def by_chance(every: int = 0) -> Any:
    """A reward that hangs on the transcript alone; every so many-th episode can't be scored."""

    def reward(episodes: list[Episode]) -> list[Reward]:
        return [_reward(episode, every) for episode in episodes]

    return reward


def _reward(episode: Episode, every: int) -> Reward:
    text = "".join(segment.text for segment in episode.segments)
    number = int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
    if every and number % every == 0:
        return Reward(None, unscored="the judge is tired")
    return Reward(number % 5 / 4)


@cache
def make_tiny_policy(folder: Path) -> Path:
    """A two-layer model with random weights and the pilot's kind of tokenizer."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    import profilegym
    from profilegym.world.pilot.tokenizer import make_tokenizer

    questions = profilegym.load_questions("world:seed=1,users=10/train")
    tokenizer = make_tokenizer(document.text for document in questions[0].profile.documents)
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def served(policy: Path) -> Iterator[dict[str, Any]]:
    """The settings of `generation` for a fake vLLM server with the policy's tokenizer; its answers are numbers."""
    transformers = pytest.importorskip("transformers")
    numbers, tokenizer = count(), transformers.AutoTokenizer.from_pretrained(policy)
    with VLLMServer(lambda *_: f"<answer>{next(numbers)}</answer>", tokenizer=tokenizer, context=2048) as server:
        yield {"engine": "vllm-server", "vllm_server": server.base, "turn_tokens": 40, "max_tokens": 80}


def recipe(policy: Path, **changes: Any) -> Recipe:
    """A small one; `changes` replace whole settings."""
    content = {
        "about": "a test",
        "model": f"hf:{policy}",
        "reward": f"{Path(__file__)}:by_chance",
        "judge": "rubric",
        "data": {"train": DATA},
        "group": {"personalised": 3, "baseline": 1},
        "generation": {"turn_tokens": 12, "max_tokens": 30},
        "optimiser": {"steps": 3, "questions": 3, "learning_rate": 1e-3},
        "watch": {"evaluate": 0, "save": 1},
    }
    return check_settings(Recipe, content | changes, "test")
