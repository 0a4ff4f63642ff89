import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import names

from profilegym import Aspect, Document, Profile, Question, Rubric
from profilegym.apps.data import show, validate
from profilegym.apps.data_summary import Spread
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.question import HistoryUse
from profilegym.errors import UnknownName


def question(number: int, *texts: str, **changes: Any) -> Question:
    documents = tuple(Document(f"d{n}", text, "2024-01-01", "A [red]title[/red]") for n, text in enumerate(texts))
    rubric = Rubric("The hidden story.", (Aspect("Names rooibos", "The reason."),), "Rooibos.", hops=1)
    profile = Profile(f"u{number}", documents)
    asked = Question(f"q{number}", profile.user_id, f"Which tea, [bold]number {number}?", profile, rubric, "food")
    return replace(asked, **changes)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes questions to a file and gives its spec, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def write(*questions: Question) -> str:
        write_jsonl(questions, tmp_path / "mine.jsonl")
        return f"jsonl:{tmp_path}/mine.jsonl"

    return write


def test_show_prints_sizes_and_an_example(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    spec = write(
        question(1, "I like tea.", "So do I.", "No.", "Yes.", "Which tea, number 1"), question(2, "Never tea!")
    )

    show(spec)

    shown = capsys.readouterr().out
    for part in (
        "questions          2",
        "documents          6",
        "food: 2",
        "A [red]title[/red]: I like",
        "[bold]number 1",
    ):
        assert part in shown
    assert "… and 2 more documents" in shown
    assert max(map(len, shown.splitlines())) <= max(80, len(spec))


def test_show_marks_what_policies_never_see(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    show(write(question(1, "I like tea.")))

    before, _, after = capsys.readouterr().out.partition("hidden from policies")
    for hidden in ("The hidden story.", "Names rooibos", "The reason.", "Rooibos."):
        assert hidden not in before
        assert hidden in after


def test_show_counts_leaks(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    spec = write(question(1, "which tea bold number 1", "I like tea.", date="2023-05-01"))

    show(spec, as_json=True)

    assert json.loads(capsys.readouterr().out)["left_out"] == {"later than the question": 2}


def test_show_speaks_json(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    show(write(question(1, "I like tea.", "So do I."), question(2, "Never!")), as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert (told["questions"], told["users"], told["documents"]) == (2, 2, 3)
    assert told["hops"] == {"1": 2}
    assert told["spreads"]["words in a document"] == {"min": 1, "median": 3, "p90": 3, "max": 3}


def test_sound_data_is_valid(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(write(question(1, "I like tea."))) == 0

    assert names(capsys.readouterr().out, 1)


def test_doubts_are_warnings_with_examples(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    spec = write(question(1), question(2, "", "x", "x"), question(3, "y", rubric=Rubric()), question(4))

    assert validate(spec, as_json=True) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["sound"]
    assert {(problem["what"], *problem["examples"]) for problem in told["problems"]} == {
        ("questions with an empty profile", "q1", "q4"),
        ("profiles with a document without text", "q2"),
        ("profiles that hold one text twice", "q2"),
        ("questions with nothing to score with", "q3"),
    }


def test_evidence_that_is_left_out_or_was_never_there_is_a_warning_that_names_it(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    aspects = (Aspect("Names rooibos", documents=("d0", "d1")), Aspect("Is brief", documents=("d1", "d9")))
    answer = "It was the red tea from the shop by the sea."
    named = question(1, f"I know! {answer}", "Tea.", rubric=Rubric(aspects=aspects, reference=answer))
    usual = write(named, question(2, "Tea."))

    def warned(spec: str) -> list[tuple[str, list[str]]]:
        assert validate(spec, as_json=True) == 0
        return [(problem["what"], problem["examples"]) for problem in json.loads(capsys.readouterr().out)["problems"]]

    left_out = "questions with evidence left out as a leak (near duplicate)"
    never = "questions with an aspect that names a document which the profile never had"
    assert warned(usual) == [(never, ["q1: d9"])]
    assert warned(f"{usual},leaks=strict") == [(left_out, ["q1: d0, d9"]), (never, ["q1: d0, d9"])]


def test_a_broken_file_is_an_error_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.jsonl").write_text('{"id": 1}\n', "utf-8")

    assert validate(f"jsonl:{tmp_path}/mine.jsonl", as_json=True) == 1

    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["kind"] == "error"
    assert names(problem["what"], "mine.jsonl", 1, "user_id")


def test_the_verdict_on_a_broken_file_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.jsonl").write_text("[bold]\n", "utf-8")

    assert validate(f"jsonl:{tmp_path}/mine.jsonl") == 1

    assert "cannot be used" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_data_set_is_for_the_command_line_to_report() -> None:
    with pytest.raises(UnknownName, match="'wrold'"):
        validate("wrold")


def test_a_spread_knows_its_quantiles_and_draws_them() -> None:
    spread = Spread()
    for value in (*range(1, 100), 10_000):
        spread.add(value)

    assert spread.as_dict() == {"min": 1, "median": 50, "p90": 90, "max": 10_000}
    assert len(spread.bars()) == 24
    assert spread.bars()[-1] == "█"


def test_a_hostile_text_cannot_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x1b]0;title\x07\u202e [red]x[/red]"
    profile = [{"id": "d1", "text": evil, "title": evil}]
    rubric = {"narrative": evil, "aspects": [{"title": evil, "reason": evil}], "reference": evil}
    line = {
        "id": "q1" + evil,
        "user_id": "u" + evil,
        "text": evil,
        "category": evil,
        "profile": profile,
        "rubric": rubric,
    }
    path = tmp_path / "evil.jsonl"
    path.write_text(json.dumps(line) + "\n", "utf-8")

    show(f"jsonl:{path}")
    validate(f"jsonl:{path}")

    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "[red]x[/red]" in shown


def test_evidence_that_the_data_set_names_and_never_had_is_a_warning(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    rubric = Rubric(aspects=(Aspect("Names rooibos", documents=("d0",), unresolved=("D9:36",)),))

    assert validate(write(question(1, "Tea.", rubric=rubric)), as_json=True) == 0

    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["examples"] == ["q1: D9:36"]


def test_a_profile_that_many_questions_share_is_doubted_once(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = question(1, "x", "x")

    assert validate(write(first, replace(first, id="q2", text="And which cake?")), as_json=True) == 0

    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["count"], problem["examples"]) == (1, ["q1"])


def test_show_says_where_the_history_is_of_use(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    uses: tuple[HistoryUse, ...] = ("needed", "unanswerable", "needed")
    asked = [question(n, "Tea.", rubric=Rubric(reference="Tea.", history=use)) for n, use in enumerate(uses)]

    show(write(*asked), as_json=True)

    assert json.loads(capsys.readouterr().out)["history"] == {"needed": 2, "unanswerable": 1}
