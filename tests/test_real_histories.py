"""Evaluation on people's own histories: figures by category, evidence, and restraint. The file is made up here."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from talks import asked, conversation
from typer.testing import CliRunner

from profilegym import Question
from profilegym.agents.models.model import register_model
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.agents.turn_format import answer_with
from profilegym.apps.cli import app
from profilegym.apps.compare import markdown
from profilegym.apps.eval import table
from profilegym.envs.question import Aspect, Document, Profile, Rubric
from profilegym.envs.trajectory import Segment, Trajectory
from profilegym.evaluation.compare import compare
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.intervals import LEAST
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.report import write_report
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.summary import restraint

QUESTIONS = (
    asked(1, "What was done with the boat?", answer="painted, sold", evidence=["D2:1", "D10:1"]),
    asked(2, "When was the boat painted?", answer="9 May 2023", evidence=["D2:1"]),
    asked(3, "Would Tom like a boat?", answer="Likely; he wants to see one", evidence=["D1:2"]),
    asked(4, "Where does the boat of Ines lie?", answer="in Ghent"),
    asked(5, "Where does the boat of Tom lie?", adversarial_answer="Ghent", evidence=["D1:1"]),
    asked(4, "Who painted the boat?", answer="Ines", evidence=["D2:1"]),
)


def keen(question: Question, said: Sequence[Segment]) -> str:
    """Answers rightly with a history, but takes the bait; without one it says that it does not know."""
    rubric = question.rubric
    if "</information>" not in "".join(segment.text for segment in said):
        return answer_with("It is not mentioned.", "")
    return answer_with(
        rubric.aspects[0].rejected[0] if rubric.history == "unanswerable" else rubric.reference or "", ""
    )


def cautious(question: Question, said: Sequence[Segment]) -> str:
    return answer_with("It is not mentioned.", "")


for name, play in (("keen", keen), ("cautious", cautious)):
    register_model(name, lambda name=name, play=play: ScriptedModel(name, play))


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("talks") / "talks.json"
    path.write_text(json.dumps([conversation(f"c{n}", *QUESTIONS) for n in range(LEAST)]), "utf-8")
    return f"locomo:{path}"


def played(settings: Settings, out: Path) -> dict[str, Any]:
    return asyncio.run(evaluate(settings, RunDirectory(out)))


@pytest.fixture(scope="module")
def runs(talks: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    out = tmp_path_factory.mktemp("runs")
    for model in ("keen", "cautious"):
        played(Settings(agent="rag", model=model, data=talks), out / model)
    return {model: RunDirectory(out / model) for model in ("keen", "cautious")}


def summary(run: RunDirectory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "summary.json").read_text("utf-8"))
    return found


def test_locomo_is_scored_by_f1_without_a_judge_category_by_category(runs: dict[str, RunDirectory]) -> None:
    found = summary(runs["keen"])

    by_category = {category: group["score"] for category, group in found["by_category"].items()}
    assert [figure["mean"] for figure in by_category.values()] == [1, 1, pytest.approx(2 / 7), 1, 0]
    assert {(figure["n"], figure["people"]) for figure in by_category.values()} == {(LEAST, LEAST), (2 * LEAST, LEAST)}
    assert found["unscored"]["n"] == 0


def test_categories_weigh_the_same_in_the_macro_mean_however_many_questions_they_have(
    runs: dict[str, RunDirectory],
) -> None:
    found = summary(runs["keen"])

    assert found["score"]["mean"] == pytest.approx((1 + 1 + 2 / 7 + 1 + 1 + 0) / 6)
    assert found["macro"]["score"]["mean"] == pytest.approx((1 + 1 + 2 / 7 + 1 + 0) / 5)
    assert (found["macro"]["score"]["n"], found["macro"]["score"]["people"]) == (6 * LEAST, LEAST)
    assert set(found["macro"]) == {"score", "baseline", "gain"}


def test_evidence_is_measured_by_turn_and_by_session_at_what_was_shown(runs: dict[str, RunDirectory]) -> None:
    found = summary(runs["keen"])

    # three of the four turns are shown for each question
    assert found["by_category"]["4 single-hop"]["evidence"]["mean"] == 1
    assert found["by_category"]["4 single-hop"]["evidence_precision"]["mean"] == pytest.approx(1 / 3)
    assert 0 < found["by_category"]["1 multi-hop"]["evidence_ndcg"]["mean"] <= 1
    assert found["session_evidence"]["mean"] >= found["evidence"]["mean"]


def test_restraint_is_measured_where_the_history_does_not_tell(runs: dict[str, RunDirectory]) -> None:
    keen, cautious = summary(runs["keen"]), summary(runs["cautious"])

    assert (keen["harm"]["mean"], keen["harm"]["n"]) == (1, LEAST)
    assert cautious["harm"]["mean"] == 0
    assert (keen["over_personalised"]["mean"], cautious["over_personalised"]["mean"]) == (1, 0)
    assert "needless" not in keen
    assert {"harm", "over_personalised"} & keen["by_category"]["4 single-hop"].keys() == set()


def test_a_search_is_needless_where_no_history_is_needed(tmp_path: Path) -> None:
    data = "world:seed=7,users=20/test"

    always = played(Settings(agent="rag", model="scripted:oracle", data=data, limit=12), tmp_path / "rag")
    never = played(Settings(agent="pr2", model="scripted:oracle", data=data, limit=12), tmp_path / "pr2")

    assert (always["needless"]["mean"], always["needless"]["n"]) == (1, 4)
    assert never["needless"]["mean"] == never["harm"]["mean"] == never["over_personalised"]["mean"] == 0


def test_a_wrong_fact_counts_as_over_personalised_only_if_a_shown_document_says_it() -> None:
    document = Document("d1", "My sister plays the bassoon.")
    rubric = Rubric("", (Aspect("a", rejected=("a bassoon", "an oboe")),), history="unneeded")
    question = Question("q", "u", "What do most people play?", Profile("u", (document,)), rubric)

    def told(answer: str | None, *shown: str) -> float:
        searches = (0, "music", tuple((name, 1.0) for name in shown)) if shown else ()
        episode = Trajectory(
            "q:0", "q", "u", "personalised", (), searches, answer, "answered", search_ms=[1.0] * bool(shown)
        )
        return dict(restraint(episode, question, None, None))["over_personalised"]

    assert told("The bassoon.", "d1") == 1
    assert told("The bassoon.") == told("An oboe.", "d1") == told("A drum.", "d1") == told(None, "d1") == 0


def test_comparing_tells_the_difference_by_category(runs: dict[str, RunDirectory]) -> None:
    found = compare({name: {0: RecordedRun(run)} for name, run in runs.items()})

    scores = {row.category: row.difference for row in found.by_category if row.metric == "score" and row.difference}
    assert len(scores) == 5
    assert scores["5 adversarial"] is not None
    assert scores["5 adversarial"].mean == 1
    harm = next(row.difference for row in found.rows if row.metric == "harm" and row.difference)
    assert (harm.mean, harm.people) == (-1, LEAST)
    assert "score, f1: 5 adversarial" in markdown(found)


def test_eval_and_compare_show_restraint_on_the_terminal(runs: dict[str, RunDirectory]) -> None:
    shown = Console(width=200)
    with shown.capture() as told:
        shown.print(table(summary(runs["keen"])))
    rows = {line.split("  ")[1]: line.split() for line in told.get().splitlines() if line.startswith("  ")}

    assert rows["harm"][1] == "1.000"
    assert rows["over-personal"][1] == "1.00"
    compared = CliRunner().invoke(app, ["compare", *(str(run.path) for run in runs.values())], env={"COLUMNS": "200"})
    assert compared.exit_code == 0, compared.output
    assert "harm" in compared.output
    assert "-1.000" in compared.output


def test_general_questions_and_another_persons_history_have_restraint_in_all_three_places(tmp_path: Path) -> None:
    data = "world:seed=7,users=20/test"
    for agent in ("rag", "rag-random"):
        found = played(Settings(agent=agent, model="scripted:oracle", data=data, limit=12), tmp_path / agent)
        assert {"needless", "harm", "over_personalised"} <= found.keys()
        write_report(RunDirectory(tmp_path / agent))
        assert "needless search" in (tmp_path / agent / "report.html").read_text("utf-8")

    runs = {name: {0: RecordedRun(RunDirectory(tmp_path / name))} for name in ("rag", "rag-random")}
    shown = {row.metric for row in compare(runs).rows if row.run == "rag-random"}
    assert {"needless", "harm", "over_personalised"} <= shown


def test_the_report_shows_categories_the_macro_mean_and_restraint(runs: dict[str, RunDirectory]) -> None:
    write_report(runs["keen"])

    page = (runs["keen"].path / "report.html").read_text("utf-8")
    for heading in ("By category", "Restraint", "over-personal", "5 adversarial", ">macro<", "In its conversation"):
        assert heading in page


def test_the_command_tells_f1_by_category(talks: str, tmp_path: Path) -> None:
    asked_for = ["eval", "--agent", "rag", "--model", "keen", "--data", talks, "--out", str(tmp_path)]

    result = CliRunner().invoke(app, asked_for, env={"COLUMNS": "140"})

    assert result.exit_code == 0, result.output
    for column in ("2 temporal", "5 adversarial", "macro"):
        assert column in result.output
