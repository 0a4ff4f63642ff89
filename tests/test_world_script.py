"""The world's rules see nothing but prompts, and tell what the posts shown tell."""

import asyncio
from pathlib import Path

import pytest

from profilegym import load_questions
from profilegym.agents.models.scripted import make
from profilegym.agents.models.world_questions import read_question
from profilegym.envs.errors import UnknownName
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory


def mean(spec: str, data: str, folder: Path, measure: str = "score", limit: int = 48) -> float:
    settings = Settings(spec, "scripted:world", data, limit=limit)
    summary = asyncio.run(evaluate(settings, RunDirectory(folder)))
    return float(summary[measure]["mean"])


@pytest.mark.parametrize("split", ["test", "test_unseen"])
def test_they_search_for_what_a_question_needs_and_answer_by_the_posts(split: str, tmp_path: Path) -> None:
    score = mean("pr2", f"world:seed=7/{split}", tmp_path)

    assert score > 0.95


def test_without_the_posts_they_know_what_everybody_knows(tmp_path: Path) -> None:
    alone, shown = (
        mean("none", "world:seed=7/test", tmp_path / "none"),
        mean("rag", "world:seed=7/test", tmp_path / "rag"),
    )

    assert 0.4 < alone < shown < 0.95


def test_they_plan_and_keep_to_the_template_that_is_begun(tmp_path: Path) -> None:
    planned = mean("plan", "world:seed=7/test", tmp_path / "plan")
    levels = mean("r2p", "world:seed=7/test", tmp_path / "r2p", "compliance")

    assert planned > 0.9
    assert levels == 1.0


@pytest.mark.parametrize("protocol", ["tags", "tools"])
def test_they_speak_both_protocols(protocol: str, tmp_path: Path) -> None:
    settings = Settings("pr2", "scripted:world", "world:seed=7/test", limit=12, protocol=protocol)

    summary = asyncio.run(evaluate(settings, RunDirectory(tmp_path)))

    assert summary["score"]["mean"] > 0.9


def test_the_latest_post_decides_and_a_strangers_does_not() -> None:
    (asked,) = filter(None, [read_question("What goes into my cup?")])
    posts = [
        "[2020-05-01] I gave up chai; what I drink from my cup now is cocoa.",
        "[2019-01-01] I only drink rooibos, and my cup knows it.",
        "[2021-01-01] Nolita will drink oolong from any cup you can find.",
    ]

    assert asked.queries(posts) == ["my cup drink pour"]
    assert asked.answer(posts) == "cocoa"
    assert asked.answer(posts[1:]) == "rooibos"
    assert asked.answer([]) == ""


def test_who_is_asked_about_is_looked_up_by_name() -> None:
    asked = read_question("My sister comes on Monday: which flowers should I bring, and is there general advice?")
    assert asked is not None
    post = "[2020-05-01] My sister is called Nolita, a name that suits very well."

    assert asked.queries([]) == ["my sister", "sister flowers vase"]
    assert asked.queries([post]) == ["my sister", "Nolita flowers vase"]
    assert asked.answer([post, "[2020-06-01] No flowers make Nolita as happy as tulips do."]).startswith(
        "Nolita, tulips, "
    )
    assert "tulips" not in asked.answer(["[2020-06-01] No flowers make Nolita as happy as tulips do."])


def test_every_question_of_the_world_is_understood() -> None:
    questions = load_questions("world:seed=11,users=40")

    assert [question.text for question in questions if read_question(question.text) is None] == []


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match=r"no script 'hamlet'; known: oracle.*world"):
        make("hamlet")
