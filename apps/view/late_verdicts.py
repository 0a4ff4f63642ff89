"""Adds verdicts given after a run to the index of its trajectories."""

import sqlite3
from pathlib import Path

from ...evaluation.late_verdicts import BROKEN, LateVerdict

_SET_SCORE = """
UPDATE lines SET score = :score, judge = :judge, gain = :score - baseline, late = 1
WHERE id = :id AND judged = :judged AND (score IS NULL OR late)
"""
_SET_GAIN = """
UPDATE lines SET baseline = own.score, gain = lines.score - own.score FROM lines AS own
WHERE own.id = :id AND own.late AND own.kind = 'baseline' AND lines.kind = 'personalised'
  AND lines.question_id = own.question_id AND lines.attempt = own.attempt
"""


def apply_late_verdicts(tables: sqlite3.Connection, verdicts: Path) -> None:
    """Fill missing scores, and the gains they allow, from the newest verdicts of the run's own judge."""
    tables.execute("BEGIN IMMEDIATE")
    done = tables.execute("SELECT bytes FROM healed").fetchone()["bytes"]
    with verdicts.open("rb") as file:
        file.seek(done)
        for line in file:
            if not line.endswith(b"\n"):
                break
            done += len(line)
            late = _late(line)
            if late and late.own and late.verdict:
                score, judge = late.verdict.score, late.verdict.judge
                values = {"id": late.id, "judged": late.answer, "score": score, "judge": judge}
                if tables.execute(_SET_SCORE, values).rowcount:
                    tables.execute(_SET_GAIN, values)
    tables.execute("UPDATE healed SET bytes = ?", (done,))
    tables.execute("COMMIT")


def _late(line: bytes) -> LateVerdict | None:
    try:
        return LateVerdict.from_json(line.decode())
    except BROKEN:  # such as half a line, which a kill left
        return None
