"""The world's rules see nothing but prompts, and tell what the posts shown tell."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import load_questions
from profilegym.agents.models.model import make_model
from profilegym.agents.models.scripted import make
from profilegym.envs.trajectory import Segment
from profilegym.errors import OptionError, UnknownName
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory
from profilegym.training.tagging import Tagging, tag
from profilegym.world.data.tables import task_tables
from profilegym.world.players.question_rules import parse_question


def played(spec: str, data: str, folder: Path, model: str = "scripted:world", limit: int = 48) -> dict[str, Any]:
    if data.startswith("world-lamp-5"):
        pytest.importorskip("rouge_score")
    return asyncio.run(evaluate(Settings(spec, model, data, limit=limit), RunDirectory(folder)))


def said(folder: Path) -> dict[str, list[Segment]]:
    """By question, with the history."""
    played = RunDirectory(folder).trajectories()
    return {one.question_id: one.segments for one in played if one.kind == "personalised"}


def mean(spec: str, data: str, folder: Path, measure: str = "score") -> float:
    return float(played(spec, data, folder)[measure]["mean"])


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
    (asked,) = filter(None, [parse_question("What goes into my cup?")])
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
    asked = parse_question("My sister comes on Monday: which flowers should I bring, and is there general advice?")
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

    assert [question.text for question in questions if parse_question(question.text) is None] == []


LAMP = ["world-lamp-2:seed=7/test", "world-lamp-3:seed=7/test", "world-lamp-5:seed=7/test"]


@pytest.mark.parametrize("data", LAMP)
def test_the_history_is_worth_something_on_lamps_tasks(data: str, tmp_path: Path) -> None:
    summary = played("prlm", data, tmp_path)

    assert summary["gain"]["low"] > 0


@pytest.mark.parametrize("data", LAMP[1:])
def test_what_decides_is_quoted_from_a_post_and_the_answer_follows_from_it(data: str, tmp_path: Path) -> None:
    played("prlm", data, tmp_path, limit=12)

    for trajectory in RunDirectory(tmp_path).trajectories():
        shown, thought = (segment.text for segment in trajectory.segments)
        for number, quote in re.findall(r"A post says: (\d+\.) (.+?)\. (?=A post says|So it is)", thought):
            (post,) = (line for line in shown.splitlines() if line.startswith(number))
            assert all(part in post for part in re.split(r"(?<=\.) ", quote))
        assert f"So it is {trajectory.answer}." in thought


def test_of_every_post_it_is_said_what_its_tag_is_for_and_the_answer_is_for_what_is_asked(
    tmp_path: Path,
) -> None:
    played("prlm", LAMP[0], tmp_path, limit=12)

    for trajectory in RunDirectory(tmp_path).trajectories():
        shown, thought = (segment.text for segment in trajectory.segments)
        posts = [line for line in shown.splitlines() if re.match(r"\d+\. \[", line)]
        told = re.findall(r"\n(\d+\.) ([a-z ]+): (.+?)\.", thought)
        assert [number for number, _, _ in told] == [post.partition(" ")[0] for post in posts]
        assert all(post.endswith(f"Tag: {label}") for post, (_, _, label) in zip(posts, told, strict=True))
        for post, (_, names, label) in zip(posts, told, strict=True):
            found = {subject.name: label in subject.likely for subject in task_tables("tag").found_in(post)}
            behind, _, over = names.partition(" over ")
            assert behind.split(" and ") == [name for name, likely in found.items() if likely]
            assert over == " and ".join(name for name, likely in found.items() if not likely)
        asked, _, rest = thought.partition("I am asked about: ")[2].partition(". ")
        (concluded,) = re.findall(rf"So it is ([a-z ]+): {trajectory.answer}\.", rest)
        assert all(f": {subject}" in asked for subject in concluded.split(" and "))


@pytest.mark.slow
@pytest.mark.parametrize("data", LAMP)
def test_the_steps_asked_for_are_those_that_a_labeller_would_find(data: str, tmp_path: Path) -> None:
    played("rag", data, tmp_path / "rag", limit=12)
    played("tagpr", data, tmp_path / "tagpr", limit=12)

    tag(Tagging(str(tmp_path / "rag"), "scripted:steps", least=-4), tmp_path / "tagged")

    own, found = (said(tmp_path / name) for name in ("tagpr", "tagged"))
    assert found == own
    assert len(found) == 12


@pytest.mark.slow
def test_flaws_are_a_share_of_the_episodes_and_the_same_each_time(tmp_path: Path) -> None:
    flawed = "scripted:world,flaws=0.5"
    first, again = (played("prlm", LAMP[2], tmp_path / name, flawed, 100) for name in ("first", "again"))
    sound = played("prlm", LAMP[2], tmp_path / "sound", limit=100)

    assert first["score"] == again["score"]
    assert 0.3 < first["unchanged"]["mean"] < 0.7
    assert sound["unchanged"]["mean"] < 0.05


@pytest.mark.parametrize("spec", ["world,flaws=2", "world,flaws=-1", "world,flaws=much", "oracle,flaws=0.5"])
def test_a_share_that_is_none_is_refused_and_a_script_that_has_no_flaws(spec: str) -> None:
    with pytest.raises(OptionError, match=naming(f"scripted:{spec}")):
        make_model(f"scripted:{spec}")


def test_a_script_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match=naming("'hamlet'", "oracle", "world")):
        make("hamlet")
