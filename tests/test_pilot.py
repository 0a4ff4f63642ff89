"""The pilot: the tokenizer and the lessons that make it, and what the one that comes with the package can do."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.chat import Sampling
from profilegym.envs.grammar import structure
from profilegym.errors import OptionError
from profilegym.training.settings import load_settings
from profilegym.training.sft import examples_of
from profilegym.world.data.names import SYLLABLES
from profilegym.world.pilot.demonstrations import Habits, demonstrate, lessons
from profilegym.world.pilot.model import FOLDER, load
from profilegym.world.pilot.train import RECIPE, PilotRecipe, make_pilot

transformers = pytest.importorskip("transformers")
pytest.importorskip("trl")
os.environ["HF_HUB_OFFLINE"] = "1"

TOKENIZER = transformers.AutoTokenizer.from_pretrained(FOLDER)
TEST = "world:seed=7/test"
ODD = [
    "<think>",
    "</answer>",
    "<|end|>",
    "\n</information>\n",
    " searches are left.\n\n",
    "Nolita",
    " ",
    "\n1. [2023-04-02]",
]


@pytest.fixture(scope="module")
def pilot() -> object:
    return load()


def play(model: object, agent: str, limit: int, temperature: float = 1.0) -> list[pg.Trajectory]:
    rollout = Rollout(
        model,  # type: ignore[arg-type]
        pg.make_retriever("bm25"),
        pg.make_reward("rubric"),
        Sampling(temperature=temperature, max_tokens=128),
    )

    async def all_of_them() -> list[pg.Trajectory]:
        jobs = [Job(question, make_agent(agent)) for question in pg.load_questions(TEST)[:limit]]
        return [trajectory async for trajectory in rollout.run(jobs)]

    return asyncio.run(all_of_them())


def mean(trajectories: list[pg.Trajectory]) -> float:
    totals = [one.reward.total for one in trajectories if one.reward]
    return sum(total or 0.0 for total in totals) / len(trajectories)


@given(st.lists(st.sampled_from(ODD) | st.text(max_size=12)).map("".join))
def test_any_text_can_be_encoded_and_decoded_again(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_a_name_is_its_syllables() -> None:
    for first, second, third in zip(SYLLABLES, SYLLABLES[7:], SYLLABLES[20:], strict=False):
        name = first.capitalize() + second + third
        pieces = [TOKENIZER.decode(token) for token in TOKENIZER.encode(f" {name}")]
        assert pieces == [f" {first.capitalize()}", second, third]


def test_the_policy_spells_a_name_as_the_posts_do() -> None:
    assert TOKENIZER.encode("eat bite Nolita")[-3:] == TOKENIZER.encode("[2023-04-02] Nolita")[-3:]


def test_the_loss_is_on_what_the_policy_wrote_and_on_nothing_else() -> None:
    questions = pg.load_questions("world:seed=3,users=20/train")
    played = demonstrate(questions, Habits(copies=0.3), {"pr2": 0.8, "plan": 0.2}, seed=1)
    transcripts = [transcript for trajectory in played for transcript in lessons(trajectory, questions)]

    examples = examples_of(transcripts, TOKENIZER, [TOKENIZER.eos_token_id])

    for transcript, one in zip(transcripts, examples, strict=True):
        learned = [token for token in one.labels if token >= 0]
        said = "".join(segment.text for segment in transcript)
        written = "".join(segment.text for segment in transcript if segment.author == "policy")

        assert TOKENIZER.decode(one.input_ids) == said + TOKENIZER.eos_token
        assert TOKENIZER.decode(learned) == written + TOKENIZER.eos_token
        assert all(label in (-100, token) for token, label in zip(one.input_ids, one.labels, strict=True))


@pytest.mark.slow
def test_two_steps_of_making_a_pilot(tmp_path: Path) -> None:
    data = ["data=world:seed=3,users=20/train", "last.data=world:seed=3,users=5/train"]
    small = ["shape.width=32", "shape.heads=2", "shape.neighbours=1"]
    short = ["optimiser.batch=4", "short.copying=1", "short.steps=1", "optimiser.precision=float32"]
    recipe = load_settings(PilotRecipe, RECIPE, [*data, *small, *short])

    made = make_pilot(recipe, tmp_path, steps=2)

    assert made.lessons >= 90
    assert made.model.num_parameters() < 200_000
    assert made.tokenizer.decode(made.tokenizer.encode("Nolita, then.")) == "Nolita, then."


def test_a_shape_without_a_head_that_finds_lines_is_refused() -> None:
    with pytest.raises(OptionError, match=naming("heads=2", "neighbours=2")):
        load_settings(PilotRecipe, RECIPE, ["shape.heads=2"])


def test_the_pilot_is_small() -> None:
    files = list(FOLDER.iterdir())

    assert {file.name for file in files} >= {"model.safetensors", "config.json", "tokenizer.json", "README.md"}
    assert sum(file.stat().st_size for file in files) < 4_000_000


def test_the_pilot_speaks_the_protocol_and_has_much_to_learn(pilot: object) -> None:
    trajectories = play(pilot, "pr2", 90)

    assert sum(structure(one.segments).ok for one in trajectories) / 90 >= 0.95
    assert 0.4 < mean(trajectories) < 0.75  # of the oracle's 0.99


def test_the_pilot_reads_what_one_search_found(pilot: object) -> None:
    personal = [question.id for question in pg.load_questions(TEST)[:150] if question.rubric.hops]

    without, with_posts = (
        [one for one in play(pilot, agent, 150, temperature=0) if one.question_id in personal]
        for agent in ("none", "rag")
    )

    assert mean(with_posts) > mean(without)


@pytest.mark.slow
def test_the_pilot_plans(pilot: object) -> None:
    trajectories = play(pilot, "plan", 30)

    assert sum(one.ended == "answered" for one in trajectories) >= 25
    assert all("A good answer covers:" in one.segments[1].text for one in trajectories)


def test_plain_transformers_generates_with_the_pilots_cache() -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER)

    assert model.config.use_cache
    assert model.generation_config.use_cache
