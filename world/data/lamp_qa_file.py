"""Writes questions as a LaMP-QA file, one at a time, so that the file may exceed the memory."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...envs.question import Question


def write_lamp_qa(questions: Iterable[Question], path: str | os.PathLike[str]) -> None:
    """Writes a JSON list in the published schema, plus known document dates."""
    with Path(path).open("w", encoding="utf-8") as file:
        file.write("[")
        for number, question in enumerate(questions):
            file.write(("," if number else "") + "\n" + json.dumps(_record(question), ensure_ascii=False))
        file.write("\n]\n")


def _record(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "question": question.text,
        "narrative": question.rubric.narrative,
        "profile": [
            {"id": d.id, "text": d.text} | ({"date": d.date} if d.date is not None else {})
            for d in question.profile.documents
        ],
        "rubric_aspects": [
            {"aspect": aspect.title, "reason": aspect.reason, "evidence": aspect.evidence}
            for aspect in question.rubric.aspects
        ],
    }
