"""What a policy answers without the profile, and what judges said of it: found out once, then kept."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Self

from ..envs.question import Question
from ..envs.reward import AspectMatch, Verdict
from ..errors import OptionError, RewardError
from .judge import Judge

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    question TEXT, policy TEXT, version TEXT, attempt INTEGER, answer TEXT,
    PRIMARY KEY (question, policy, version, attempt)
);
CREATE TABLE IF NOT EXISTS verdicts (
    question TEXT, policy TEXT, version TEXT, attempt INTEGER, judge TEXT, verdict TEXT,
    PRIMARY KEY (question, policy, version, attempt, judge)
);
"""


class Policy(NamedTuple):
    """Who answered; another version is another policy, whose baselines are not this one's."""

    name: str
    version: str

    @classmethod
    def named(cls, text: str) -> Self:
        name, _, version = text.rpartition("@")
        if not name or not version:
            raise OptionError(f"policy {text!r}: give its name and its version as NAME@VERSION")
        return cls(name, version)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class BaselineStore:
    """Answers without the profile by question and policy, in one SQLite file that several processes may share."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        with self._open() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_TABLES)

    def add(self, question: Question, policy: Policy, answers: Sequence[str]) -> None:
        """Written once: whoever comes second changes nothing."""
        place = (_key(question), *policy)
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            found = database.execute("SELECT 1 FROM answers WHERE (question, policy, version) = (?, ?, ?)", place)
            if not found.fetchone():
                rows = [(*place, attempt, answer) for attempt, answer in enumerate(answers)]
                database.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def answers(self, question: Question, policy: Policy) -> list[str]:
        """Raises `RewardError` that says what is missing where there is none."""
        query = "SELECT answer FROM answers WHERE (question, policy, version) = (?, ?, ?) ORDER BY attempt"
        rows = self._rows(query, _key(question), *policy)
        if not rows:
            raise self._missing(question, policy)
        return [answer for (answer,) in rows]

    async def verdicts(self, question: Question, policy: Policy, judge: Judge) -> list[Verdict]:
        """What the judge says of each answer; it is asked only what it never said before."""
        answers = self.answers(question, policy)
        known = self._known(question, policy, judge.name)
        asked = [attempt for attempt in range(len(answers)) if attempt not in known]
        if asked:
            fresh = await judge.score_many([(question, answers[attempt]) for attempt in asked])
            known |= self._keep(question, policy, judge.name, dict(zip(asked, fresh, strict=True)))
        return [known[attempt] for attempt in range(len(answers))]

    def _known(self, question: Question, policy: Policy, judge: str) -> dict[int, Verdict]:
        query = "SELECT attempt, verdict FROM verdicts WHERE (question, policy, version, judge) = (?, ?, ?, ?)"
        return {attempt: _verdict(text) for attempt, text in self._rows(query, _key(question), *policy, judge)}

    def _keep(
        self, question: Question, policy: Policy, judge: str, fresh: dict[int, Verdict | RewardError]
    ) -> dict[int, Verdict]:
        """A failure is not kept: the next one who asks may be luckier."""
        good = {attempt: verdict for attempt, verdict in fresh.items() if isinstance(verdict, Verdict)}
        rows = [(_key(question), *policy, n, judge, json.dumps(asdict(verdict))) for n, verdict in good.items()]
        with self._open() as database:
            database.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?)", rows)
        for verdict in fresh.values():
            if isinstance(verdict, RewardError):
                raise RewardError(f"the baseline of question {question.id!r} could not be judged: {verdict}")
        return good

    def _missing(self, question: Question, policy: Policy) -> RewardError:
        query = "SELECT DISTINCT version FROM answers WHERE (question, policy) = (?, ?)"
        rows = self._rows(query, _key(question), policy.name)
        others = f"; there is one of version {', '.join(version for (version,) in rows)}" if rows else ""
        return RewardError(f"no baseline of question {question.id!r} by policy {policy} in {self._path}{others}")

    def _rows(self, query: str, *values: str) -> list[Any]:
        with self._open() as database:
            return database.execute(query, values).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for each use, as threads cannot share one."""
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
                yield database
        except sqlite3.DatabaseError as error:
            raise RewardError(f"the baseline store {self._path} cannot be used: {error}") from error


def _key(question: Question) -> str:
    """Id and content: a question that reads otherwise, or is judged by another rubric, is another question."""
    content = repr((question.user_id, question.text, question.rubric))
    return f"{question.id}:{blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _verdict(text: str) -> Verdict:
    record = json.loads(text)
    return Verdict(record["judge"], record["score"], tuple(AspectMatch(**aspect) for aspect in record["aspects"]))
