"""LongMemEval: what a user asks an assistant about their earlier chats with it.

`longmemeval:PATH` reads the published JSON (`longmemeval_s.json`, `longmemeval_m.json`, `longmemeval_oracle.json`).
Each question has a haystack of its own: a profile of turns, or of whole sessions with `,documents=sessions`.
"""

import re
from dataclasses import dataclass
from functools import partial

from ...errors import DataError, OptionError
from ..question import Document, Question, Rubric
from .fields import Fields, iso_date
from .record_set import RecordSet, profile_of
from .records import JsonFile
from .reference import reference_rubric
from .trailing import split_trailing

ABSTENTION = "_abs"  # the end of the id of a question that cannot be answered
UNITS = ("turns", "sessions")
_DATE = re.compile(r"(\d{4})/(\d\d)/(\d\d)(?: \([A-Za-z]+\))?(?: (\d\d:\d\d))?")


def load(name: str, rest: str) -> RecordSet:
    """Read `PATH`; `,documents=sessions` makes a document of each session rather than of each turn."""
    path, options = split_trailing(rest, ("documents",))
    if not path:
        raise DataError(f"{name} names no file; write {name}:PATH.json")
    unit = options.get("documents", "turns")
    if unit not in UNITS:
        raise OptionError(f"documents={unit}: give {' or '.join(UNITS)}")
    return RecordSet(f"{name}:{rest}", JsonFile(path), partial(_question, unit == "sessions"), leaks="later")


def _question(whole: bool, record: Fields, number: int) -> Question:
    question_id, asked = record.identifier("question_id"), record.filled("question")
    sessions = _sessions(record)
    documents, evidence = _by_session(sessions) if whole else _by_turn(sessions)
    day = _date(
        record, "question_date"
    )  # without its time: sessions of that day belong to the history, also later ones
    return Question(
        id=question_id,
        user_id=question_id,
        text=f"{asked} (asked on {record.text('question_date')})" if record.has("question_date") else asked,
        profile=profile_of(question_id, documents),
        rubric=_rubric(record, question_id, evidence, sessions),
        category=record.filled("question_type"),
        date=day[: len("2023-05-30")] if day else None,
        query=asked,
    )


@dataclass(frozen=True, slots=True)
class _Session:
    """One chat. Its id is its place: the published ids of the sessions that hold the answer say so."""

    id: str
    date: str | None
    turns: list[Fields]
    evidence: bool


def _sessions(record: Fields) -> list[_Session]:
    chats = record.values.get("haystack_sessions")
    if not isinstance(chats, list):
        raise record.wrong("haystack_sessions", "a list of sessions")
    ids, dates = record.texts("haystack_session_ids"), record.texts("haystack_dates")
    for name, values in (("haystack_session_ids", ids), ("haystack_dates", dates)):
        if len(values) != len(chats):
            raise record.wrong(name, f"{len(chats)} strings, one for each of haystack_sessions")
    answering = record.texts("answer_session_ids")
    sessions = []
    for place, (chat, published) in enumerate(zip(chats, ids, strict=True)):
        turns = list(Fields({(name := f"haystack_sessions[{place}]"): chat}, record.place).objects(name))
        date = _date(Fields({(name := f"haystack_dates[{place}]"): dates[place]}, record.place), name)
        evidence = published in answering or any(map(_holds_answer, turns))
        sessions.append(_Session(str(place + 1), date, turns, evidence))
    return sessions


def _by_turn(sessions: list[_Session]) -> tuple[list[Document], list[str]]:
    """A document a turn, and the ids of those that hold the answer."""
    documents, evidence = [], []
    for session in sessions:
        for number, turn in enumerate(session.turns, 1):
            turn_id = f"{session.id}:{number}"
            text, speaker = turn.text("content"), turn.filled("role")
            documents.append(Document(turn_id, text, session.date, speaker=speaker, session=session.id))
            if _holds_answer(turn):
                evidence.append(turn_id)
    return documents, evidence


def _by_session(sessions: list[_Session]) -> tuple[list[Document], list[str]]:
    """A document a session, and the ids of those that hold the answer."""
    documents = []
    for session in sessions:
        text = "\n".join(f"{turn.filled('role')}: {turn.text('content')}" for turn in session.turns)
        documents.append(Document(session.id, text, session.date, session=session.id))
    return documents, [session.id for session in sessions if session.evidence]


def _holds_answer(turn: Fields) -> bool:
    return turn.values.get("has_answer") is True


def _rubric(record: Fields, question_id: str, evidence: list[str], sessions: list[_Session]) -> Rubric:
    present = record.texts("haystack_session_ids")
    return reference_rubric(
        record.scalar("answer"),
        "unanswerable" if question_id.endswith(ABSTENTION) else "needed",
        tuple(evidence),
        tuple(session.id for session in sessions if session.evidence),
        unresolved=tuple(name for name in record.texts("answer_session_ids") if name not in present),
    )


def _date(record: Fields, name: str) -> str | None:
    """`2023/05/30 (Tue) 08:08` -> `2023-05-30T08:08`."""
    if not record.has(name):
        return None
    found = _DATE.fullmatch(record.text(name).strip())
    date = iso_date("-".join(found.groups()[:3]) + (f"T{found[4]}" if found[4] else "")) if found else None
    if date is None:
        raise record.wrong(name, "a time such as '2023/05/30 (Tue) 08:08'")
    return date
