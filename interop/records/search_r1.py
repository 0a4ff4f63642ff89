"""Reads transcripts in Search-R1's tags: text files of one transcript each, or JSON lines."""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ...envs.reward import Reward
from ...errors import DataError
from ...evaluation.imported import Imported, Unreadable
from .conversation import Conversation, Message, imported
from .files import ODD, attempt, json_lines, listed, problem_of
from .tagged import messages_in, prompt_and_messages

_WHOLE = ("sequence", "sequences_str", "transcript", "text")  # prompt and response in one
_WRITTEN = ("response", "completion", "output", "generated_text")
_ASKED = ("prompt", "question", "input")
_WANTED = ("golden_answers", "target", "answer", "ground_truth", "reference")
_SCORED = ("reward", "score", "em")
_NAMED = ("id", "question_id", "uid", "index")


def read(path: Path) -> Iterator[Imported | Unreadable]:
    """A `.txt` file is one transcript. A line of a `.jsonl` file has the whole text, or prompt and response."""
    for file in listed(path, "*.txt", "*.jsonl"):
        if file.suffix == ".jsonl":
            for number, record in json_lines(file):
                yield record if isinstance(record, Unreadable) else _read(path, file, number, record)
        else:
            text = file.read_text("utf-8", errors="replace")
            source = {"format": "search-r1", "file": file.name}
            messages = prompt_and_messages(text)
            yield imported(Conversation(messages=messages, agent="search-r1", attempt=file.stem, source=source))


def _read(path: Path, file: Path, number: int, record: Mapping[str, Any]) -> Imported | Unreadable:
    try:
        return imported(_conversation(path, file, number, record))
    except ODD as error:
        return Unreadable(str(file), f"line {number}", problem_of(error), json.dumps(record, ensure_ascii=False))


def _conversation(path: Path, file: Path, number: int, record: Mapping[str, Any]) -> Conversation:
    used: dict[str, Any] = {}

    def first(names: tuple[str, ...]) -> Any:
        name = next((name for name in names if record.get(name) is not None), None)
        if name is not None:
            used[name] = record[name]
        return None if name is None else record[name]

    whole, written, asked = first(_WHOLE), first(_WRITTEN), first(_ASKED)
    text = whole if whole is not None else written
    if not isinstance(text, str):
        raise DataError(
            f"found the fields {', '.join(record) or 'none'}; expected a text in {' or '.join(_WHOLE + _WRITTEN)}"
        )
    wanted, scored, named = first(_WANTED), first(_SCORED), first(_NAMED)
    messages = (
        prompt_and_messages(text) if whole is not None else [Message("user", str(asked or "")), *messages_in(text)]
    )
    rest = {name: value for name, value in record.items() if name not in used}
    return Conversation(
        messages=messages,
        agent="search-r1",
        attempt=attempt(path, file, number),
        question_id=None if named is None else str(named),
        text=record["question"] if isinstance(record.get("question"), str) else None,
        reference=_reference(wanted),
        reward=_reward(scored),
        source={"format": "search-r1", "file": file.name, "line": number, **({"fields": rest} if rest else {})},
    )


def _reward(scored: Any) -> Reward | None:
    if not isinstance(scored, int | float) or isinstance(scored, bool):
        return None
    if not isfinite(scored):
        return Reward(None, unscored=f"the record's reward is {scored}")
    return Reward(float(scored), {"reward": float(scored)})


def _reference(wanted: Any) -> str | None:
    """Search-R1 has one answer, a list of them, or a mapping with the list as `target`."""
    if isinstance(wanted, Mapping):
        wanted = wanted.get("target")
    if isinstance(wanted, list):
        return "; ".join(map(str, wanted)) or None
    return None if wanted is None else str(wanted)
