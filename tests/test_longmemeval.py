import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Document, load_questions
from profilegym.errors import DataError, OptionError


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


def record(question_id: str = "q1", **changes: Any) -> dict[str, Any]:
    whole = {
        "question_id": question_id,
        "question_type": "multi-session",
        "question": "How many boats do I own?",
        "answer": 2,
        "question_date": "2023/05/30 (Tue) 08:08",
        "haystack_session_ids": ["answer_7_1", "noise_1", "answer_7_2"],
        "haystack_dates": ["2023/05/01 (Mon) 10:00", "2023/05/02 (Tue) 11:00", "2023/05/03 (Wed) 12:00"],
        "haystack_sessions": [
            [said("user", "I bought a boat.", has_answer=True), said("assistant", "Good.", has_answer=False)],
            [said("user", "Is tea hot?")],
            [said("user", "I bought another boat.", has_answer=True)],
        ],
        "answer_session_ids": ["answer_7_2", "answer_7_1"],
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes records to a file and gives its spec."""

    def write(*records: Any) -> str:
        (tmp_path / "lme.json").write_text(json.dumps(records), "utf-8")
        return f"longmemeval:{tmp_path}/lme.json"

    return write


def test_a_haystack_becomes_a_profile_of_turns(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record()))

    assert (question.id, question.user_id, question.category) == ("q1", "q1", "multi-session")
    assert question.date == "2023-05-30"
    assert question.profile.documents == (
        Document("1:1", "I bought a boat.", "2023-05-01T10:00", speaker="user", session="1"),
        Document("1:2", "Good.", "2023-05-01T10:00", speaker="assistant", session="1"),
        Document("2:1", "Is tea hot?", "2023-05-02T11:00", speaker="user", session="2"),
        Document("3:1", "I bought another boat.", "2023-05-03T12:00", speaker="user", session="3"),
    )


def test_the_question_says_when_it_is_asked_and_is_searched_without_that(write: Callable[..., str]) -> None:
    dated, undated = load_questions(write(record(), record("q2", question_date=...)))

    assert dated.text == "How many boats do I own? (asked on 2023/05/30 (Tue) 08:08)"
    assert undated.text == dated.search_text == "How many boats do I own?"


def test_evidence_is_known_by_turn_and_by_session(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record()))

    (aspect,) = question.rubric.aspects
    assert (aspect.documents, aspect.sessions, aspect.unresolved) == (("1:1", "3:1"), ("1", "3"), ())
    assert (question.rubric.reference, question.rubric.history) == ("2", "needed")


def test_nothing_that_a_policy_sees_tells_which_sessions_hold_the_answer(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record()))

    assert "answer" not in repr(question) + repr(question.profile)


def test_sessions_can_be_the_documents(write: Callable[..., str]) -> None:
    (question,) = load_questions(f"{write(record())},documents=sessions")

    first = question.profile.documents[0]
    assert first == Document("1", "user: I bought a boat.\nassistant: Good.", "2023-05-01T10:00", session="1")
    assert question.rubric.aspects[0].documents == ("1", "3")


def test_an_abstention_question_says_that_it_cannot_be_answered(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record("q1_abs", answer="You never spoke of a boat.")))

    assert (question.rubric.history, question.category) == ("unanswerable", "multi-session")
    assert question.rubric.reference == "You never spoke of a boat."


def test_only_what_was_said_before_the_question_can_be_searched(write: Callable[..., str]) -> None:
    spec = write(record(question_date="2023/05/02 (Tue) 20:00"))

    (question,) = load_questions(spec)

    assert [document.id for document in question.profile.documents] == ["1:1", "1:2", "2:1"]
    assert question.profile.left_out == {"later than the question (evidence)": 1}
    assert len(load_questions(f"{spec},leaks=none")[0].profile) == 4


def test_sessions_of_the_questions_day_are_seen_whatever_their_time(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record(question_date="2023/05/03 (Wed) 01:00")))

    assert question.profile.documents[-1].date == "2023-05-03T12:00"


def test_a_session_that_the_haystack_lacks_is_kept_apart(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record(answer_session_ids=["answer_7_1", "answer_9"])))

    assert question.rubric.aspects[0].unresolved == ("answer_9",)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"question_date": "30 May"}, ["question_date", "'30 May'"]),
        ({"question_date": "2023/13/30 (Tue) 08:08"}, ["question_date", "2023/13/30 (Tue) 08:08"]),
        ({"haystack_dates": ["2023/05/01 (Mon) 10:00"]}, ["haystack_dates", 3]),
        ({"haystack_session_ids": ...}, ["haystack_session_ids", 3]),
        ({"haystack_sessions": None}, ["haystack_sessions", "None"]),
        ({"haystack_sessions": [[], [], "x"]}, ["haystack_sessions[2]", "'x'"]),
        ({"haystack_sessions": [[], [{"role": "user"}], []]}, ["haystack_sessions[1][0].content"]),
        ({"haystack_dates": ["", "2023/05/02", "2023/05/03"]}, ["haystack_dates[0]", "''"]),
        ({"question_type": ""}, ["question_type", "''"]),
        ({"answer": ...}, ["answer"]),
    ],
)
def test_a_malformed_record_is_named_with_its_field(
    write: Callable[..., str], changes: dict[str, Any], named: list[object]
) -> None:
    with pytest.raises(DataError, match=naming("lme.json", 2, "'q2'", *named)):
        load_questions(write(record(), record("q2", **changes)))


def test_a_wrong_option_is_refused(write: Callable[..., str]) -> None:
    with pytest.raises(OptionError, match=naming("documents", "words", "turns", "sessions")):
        load_questions(f"{write(record())},documents=words")
    with pytest.raises(DataError, match=naming("longmemeval:PATH.json")):
        load_questions("longmemeval:")


WORDS = ("boat", "tea", "harbour", "walnut", "painting", "sister", "station", "garden", "evening", "letter")


def large_record(number: int) -> dict[str, Any]:
    """50 sessions of ten turns with 230 words each: 115,000 words."""
    words = [WORDS[(number + place * place) % len(WORDS)] for place in range(200)]
    sessions = [
        [said("user", " ".join([f"matter{session}x{turn}", *words, *words[:29]])) for turn in range(10)]
        for session in range(50)
    ]
    sessions[number % 50][3]["has_answer"] = True
    return record(
        f"q{number}",
        question=f"What was matter{number % 50}x3?",
        haystack_session_ids=[f"s{session}" for session in range(50)],
        haystack_dates=["2023/05/01 (Mon) 10:00"] * 50,
        haystack_sessions=sessions,
        answer_session_ids=[f"s{number % 50}"],
    )


@pytest.mark.slow
def test_500_histories_of_115_000_words_stream_in_less_than_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("w", encoding="utf-8") as file:
        for number in range(500):
            file.write(("," if number else "[") + json.dumps(large_record(number)))
        file.write("]")
    program = (
        "from profilegym import load_questions, make_retriever\n"
        "retriever, found = make_retriever('bm25'), 0\n"
        f"for number, q in enumerate(load_questions('longmemeval:{path}')):\n"
        "    if number % 5 == 0:\n"  # all of them take minutes
        "        (hit,) = retriever.search(q.profile, q.search_text, 1)\n"
        "        found += hit.document.id in q.rubric.aspects[0].documents\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"  # its own, no parent's
        "print(number + 1, found, int(peak.split()[1]) // 1024)"
    )

    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    questions, found, mebibytes = map(int, run.stdout.split())
    assert path.stat().st_size > 350_000_000
    assert (questions, found) == (500, 100)
    assert mebibytes < 950
