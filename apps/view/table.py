"""The table of trajectories: filters, order and pages, as queries to the index."""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

from .index import Index

ROWS = 50  # to a page
SORTS = {
    "row": "row",
    "score": "score",
    "baseline": "baseline",
    "gain": "gain",
    "reward": "reward",
    "advantage": "advantage",
    "hops": "hops",
    "searches": "searches",
    "malformed": "malformed",
    "ended": "ended",
    "marks": "(SELECT count(*) FROM marks WHERE marks.row = lines.row)",
}
_BOUNDS = {"score_from": "score >= ?", "score_to": "score <= ?", "gain_from": "gain >= ?", "gain_to": "gain <= ?"}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class View:
    """Filters and order of the rows, from a URL. Values that are not valid are ignored."""

    sort: str = "row"
    down: bool = False
    page: int = 1
    kind: str = ""
    ended: str = ""
    hops: str = ""
    searches: str = ""
    judged: str = ""
    score_from: str = ""
    score_to: str = ""
    gain_from: str = ""
    gain_to: str = ""
    mark: str = ""
    question: str = ""
    words: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Self:
        known = {field.name: asked[field.name] for field in fields(cls) if asked.get(field.name)}
        page = known.pop("page", "1")
        down = known.pop("down", "") == "1"
        if known.get("sort") not in SORTS:
            known.pop("sort", None)
        for name in _BOUNDS:
            if not _is_number(known.get(name, "")):
                known.pop(name, None)
        return cls(**known, down=down, page=max(1, int(page)) if page.isdecimal() and len(page) < 9 else 1)

    def address(self, **changes: Any) -> dict[str, str]:
        """As URL parameters, with changes; defaults are left out."""
        wanted = asdict(self) | changes
        plain = asdict(View())
        return {name: str(int(v) if isinstance(v, bool) else v) for name, v in wanted.items() if v != plain[name]}

    @property
    def narrowed(self) -> bool:
        return bool(self.address(sort="row", down=False, page=1))


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[sqlite3.Row]
    total: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // ROWS))


def page_of(index: Index, view: View) -> Page:
    where, values = _where(view)
    total = index.ask(f"SELECT count(*) AS n FROM lines {where}", values)[0]["n"]  # noqa: S608 (no outside text)
    column, direction = SORTS[view.sort], "DESC" if view.down else "ASC"
    last = max(0, -(-total // ROWS) - 1)
    at = ROWS * min(view.page - 1, last)
    chosen = f"SELECT row FROM lines {where} ORDER BY {column} {direction} NULLS LAST, row LIMIT {ROWS} OFFSET {at}"  # noqa: S608
    rows = index.ask(
        "SELECT lines.*, substr(question, 1, 200) AS question, substr(answer, 1, 200) AS answer, "  # noqa: S608
        "(SELECT group_concat(mark, ', ') FROM marks WHERE marks.row = lines.row) AS marks "
        f"FROM ({chosen}) AS chosen JOIN lines USING (row) LEFT JOIN words ON words.rowid = lines.row "
        f"ORDER BY {column} {direction} NULLS LAST, lines.row",
        values,
    )
    return Page(rows, total)


def choices(index: Index) -> dict[str, list[tuple[str, int]]]:
    """The values of each filter and how often they occur."""
    names = ("kind", "ended", "hops", "searches")
    found: dict[str, Counter[Any]] = {name: Counter() for name in names}
    for row in index.ask("SELECT kind, ended, hops, searches, count(*) AS n FROM lines GROUP BY 1, 2, 3, 4"):
        for name in names:
            found[name][row[name]] += row["n"]
    chosen = {name: [(str(v), counts[v]) for v in sorted(counts.keys() - {None})] for name, counts in found.items()}
    marks = index.ask(
        "SELECT mark, count(DISTINCT row) AS n FROM marks JOIN lines USING (row) GROUP BY mark ORDER BY n DESC"
    )
    return chosen | {"mark": [(row["mark"], row["n"]) for row in marks]}


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _where(view: View) -> tuple[str, list[str | float]]:
    conditions, values = list[str](), list[str | float]()
    for name in ("kind", "ended", "hops", "searches"):
        if getattr(view, name):
            conditions.append(f"{name} = ?" if name in ("kind", "ended") else f"{name} = CAST(? AS INTEGER)")
            values.append(getattr(view, name))
    if view.judged in ("scored", "unscored"):
        conditions.append(f"score IS {'NOT ' if view.judged == 'scored' else ''}NULL")
    for name, condition in _BOUNDS.items():
        if getattr(view, name):
            conditions.append(condition)
            values.append(float(getattr(view, name)))
    if view.question:
        conditions.append("question_id = ?")
        values.append(view.question)
    if view.mark:
        conditions.append("row IN (SELECT row FROM marks WHERE mark = ?)")
        values.append(view.mark)
    if words := _WORD.findall(view.words):
        conditions.append("row IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(f'"{word}"*' for word in words))
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", values
