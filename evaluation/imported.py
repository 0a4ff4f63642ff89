"""Writes episodes that another framework recorded into a run directory."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..envs.data.jsonl import as_record
from ..envs.question import Profile, Question
from ..envs.text import well_formed
from ..envs.trajectory import Trajectory
from .run import RunDirectory

QUESTIONS, BAD = "questions.jsonl", "bad_records.jsonl"


class Imported(NamedTuple):
    """An episode of another framework, and its question with the documents that it saw."""

    question: Question
    trajectory: Trajectory


class Unreadable(NamedTuple):
    """A record that is not what it should be: its file, its place there, what is wrong, and its text."""

    file: str
    place: str
    problem: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.problem}"


class _Taken(NamedTuple):
    """An episode to write: its id, and its line."""

    id: str
    line: str


@dataclass
class Imports:
    """What an import found: the ids of its episodes, their questions, and the records that could not be imported."""

    ids: set[str] = field(default_factory=set)
    questions: dict[str, Question] = field(default_factory=dict)
    bad: list[Unreadable] = field(default_factory=list)

    def add(self, question: Question) -> None:
        """Several episodes of a question may have seen different documents: its profile has them all."""
        known = self.questions.get(question.id)
        if known is not None:
            documents = {document.id: document for document in (*known.profile.documents, *question.profile.documents)}
            question = replace(known, profile=Profile(known.user_id, tuple(documents.values())))
        self.questions[question.id] = question


def write_imports(records: Iterable[Imported | Unreadable], run: RunDirectory) -> Imports:
    """Episodes whose data set is not known are given one of their own, in the directory.

    Episodes that are there already are not written again, so an import that was interrupted goes on. What could not be
    imported is kept in `bad_records.jsonl`, such as a second record with the id of another.
    """
    found, there = Imports(), {trajectory.id for trajectory in run.trajectories()}
    with run.writer() as writer:
        for record in records:
            taken = _taken(record, found, data_of(run))
            if isinstance(taken, Unreadable):
                found.bad.append(taken)
            elif taken.id not in there:
                writer.append(taken.line)
    asked = (json.dumps(as_record(question), ensure_ascii=False) for question in found.questions.values())
    run.write_text(QUESTIONS, "".join(f"{well_formed(line)}\n" for line in asked))
    run.write_text(BAD, "".join(json.dumps(bad._asdict()) + "\n" for bad in found.bad))  # a text may have no UTF-8 form
    return found


def _taken(record: Imported | Unreadable, found: Imports, data: str) -> _Taken | Unreadable:
    """The episode to write, noted in `found`. `data`: of a question whose data set is not known."""
    if isinstance(record, Unreadable):
        return record
    question, trajectory = record
    if trajectory.id in found.ids:
        problem = f"an earlier record has the id {trajectory.id!r}, too: import its file into a directory of its own"
        return _refused(trajectory, problem)
    try:
        line = replace(trajectory, data=trajectory.data or data).to_json()
    except ValueError as error:
        return _refused(trajectory, f"it cannot be written as JSON: {error}")
    found.ids.add(trajectory.id)
    if trajectory.data is None:
        found.add(question)
    return _Taken(trajectory.id, line)


def _refused(trajectory: Trajectory, problem: str) -> Unreadable:
    """Names where the episode was recorded, if it tells, and keeps its transcript."""
    source = trajectory.source or {}
    places = (f"{name} {source[name]}" for name in ("line", "row", "sample") if name in source)
    text = "".join(segment.text for segment in trajectory.segments)
    return Unreadable(str(source.get("file", "a record")), next(places, f"episode {trajectory.id}"), problem, text)


def data_of(run: RunDirectory) -> str:
    """The spec of the questions that an import wrote."""
    return f"jsonl:{(run.path / QUESTIONS).resolve()}"
