"""Two runs on the questions that both played, by the size of the difference."""

import sqlite3
from dataclasses import dataclass

from ...evaluation.intervals import Interval
from .figures import interval, kind_by, outside
from .index import Index

ROWS = 50

_MEANS = """
WITH first AS (SELECT question_id, user_id, avg(score) AS score, avg(searches) AS searches, min(row) AS row
               FROM main.lines WHERE kind = :kind AND score IS NOT NULL GROUP BY question_id),
     second AS (SELECT question_id, avg(score) AS score, avg(searches) AS searches, min(row) AS row
                FROM other.lines WHERE kind = :kind AND score IS NOT NULL GROUP BY question_id),
     both AS (SELECT first.question_id, first.user_id, first.score AS one, second.score AS two,
                     first.searches AS searches_one, second.searches AS searches_two,
                     second.score - first.score AS difference, first.row AS row_one, second.row AS row_two
              FROM first JOIN second USING (question_id))
"""
_SUMS = f"""{_MEANS} SELECT count(*) AS n, sum(one) AS one, sum(two) AS two, sum(difference) AS difference,
                            sum(difference > 1e-9) AS better, sum(difference < -1e-9) AS worse,
                            {outside("one")}, {outside("two")}
                     FROM both GROUP BY user_id ORDER BY user_id"""  # noqa: S608
_COUNTS = f"{_MEANS} SELECT (SELECT count(*) FROM first) AS one, (SELECT count(*) FROM second) AS two"  # noqa: S608
_ROWS = f"""{_MEANS}, page AS (SELECT * FROM both ORDER BY abs(difference) DESC, question_id LIMIT {ROWS} OFFSET :at)
SELECT page.*, q.question AS question, substr(q.answer, 1, 300) AS answer_one, substr(w.answer, 1, 300) AS answer_two
FROM page LEFT JOIN main.words q ON q.rowid = row_one LEFT JOIN other.words w ON w.rowid = row_two
ORDER BY abs(difference) DESC, page.question_id"""  # noqa: S608 (no outside text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means over the attempts at each question, with intervals over users."""

    kind: str
    one: Interval
    two: Interval
    difference: Interval
    better: int
    worse: int
    only_one: int
    only_two: int
    judges: tuple[str, str]
    rows: list[sqlite3.Row]
    page: int

    @property
    def common(self) -> int:
        return self.difference.n

    @property
    def pages(self) -> int:
        return max(1, -(-self.common // ROWS))


def compare_runs(first: Index, second: Index, page: int) -> Comparison:
    kind = "personalised" if _has(first, "personalised") and _has(second, "personalised") else "baseline"
    sums, (counts,) = first.ask(_SUMS, {"kind": kind}, second), first.ask(_COUNTS, {"kind": kind}, second)
    common = sum(row["n"] for row in sums)
    better, worse = (sum(row[name] for row in sums) for name in ("better", "worse"))
    one, two = (interval([(row[name], row["n"]) for row in sums], kind_by(sums, name)) for name in ("one", "two"))
    difference = interval([(row["difference"], row["n"]) for row in sums])
    left, judges = (counts["one"] - common, counts["two"] - common), (_judges(first), _judges(second))
    rows = first.ask(_ROWS, {"kind": kind, "at": ROWS * (page - 1)}, second)
    return Comparison(kind, one, two, difference, better, worse, *left, judges, rows, page)


def _has(index: Index, kind: str) -> bool:
    return bool(index.ask("SELECT 1 FROM lines WHERE kind = ? LIMIT 1", (kind,)))


def _judges(index: Index) -> str:
    found = index.ask("SELECT DISTINCT judge FROM lines WHERE judge IS NOT NULL ORDER BY 1")
    return ", ".join(row["judge"] for row in found) or "no judge"
