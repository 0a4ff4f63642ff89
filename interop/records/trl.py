"""Reads the completions that TRL's trainers log: `completions_*.parquet`."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ...envs.reward import Reward
from ...errors import DataError, MissingExtra
from ...evaluation.imported import Imported, Unreadable
from .conversation import POLICY, Conversation, Message, imported
from .files import ODD, attempt, listed, problem_of
from .tagged import messages_in

_BATCH = 256  # rows in memory


def read(path: Path) -> Iterator[Imported | Unreadable]:
    """A file, or the folder of a run's completions. Every column of numbers but `step` and `advantage` is a reward."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtra("reading TRL's completions", "hub") from error
    for file in listed(path, "*.parquet"):
        seen: Counter[str] = Counter()
        try:
            rows = (row for batch in parquet.ParquetFile(file).iter_batches(_BATCH) for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield _read(path, file, number, row, seen)
        except (ArrowException, OSError) as error:
            yield Unreadable(str(file), "the file", f"not a Parquet file that can be read: {error}")


def _read(path: Path, file: Path, number: int, row: Mapping[str, Any], seen: Counter[str]) -> Imported | Unreadable:
    try:
        return imported(_conversation(path, file, number, row, seen))
    except ODD as error:
        return Unreadable(
            str(file), f"row {number}", problem_of(error), json.dumps(row, ensure_ascii=False, default=str)
        )


def _conversation(path: Path, file: Path, number: int, row: Mapping[str, Any], seen: Counter[str]) -> Conversation:
    prompt, completion, step = row.get("prompt"), row.get("completion"), row.get("step", file.stem)
    messages = [*_messages(prompt, "prompt"), *_messages(completion, "completion")]
    advantage: Any = row.get("advantage")
    key = json.dumps(prompt, default=str)
    seen[key] += 1
    others = {name: value for name, value in row.items() if name not in ("prompt", "completion", "step", "advantage")}
    rewards = {name: value for name, value in others.items() if _is_number(value)}
    rest = {name: value for name, value in others.items() if name not in rewards}
    return Conversation(
        messages=messages,
        agent="trl",
        attempt=attempt(path, file, f"{step}.{seen[key]}"),
        reward=_reward(rewards),
        advantage=advantage if _is_number(advantage) and isfinite(advantage) else None,
        source={"format": "trl", "file": file.name, "row": number, "step": row.get("step")}
        | ({"fields": json.loads(json.dumps(rest, default=str))} if rest else {}),
    )


def _messages(value: Any, column: str) -> list[Message]:
    """A text, or a list of messages. The assistant's messages in a prompt are examples, not the policy's turns."""
    if isinstance(value, str):
        return [Message("user", value)] if column == "prompt" else messages_in(value)
    if not isinstance(value, Sequence) or not all(isinstance(one, Mapping) and "role" in one for one in value):
        raise DataError(f"column {column}: found {str(value)[:60]!r}; expected a text or a list of messages")
    return [
        Message(
            POLICY if one["role"] == "assistant" and column == "completion" else "user",
            _text(one.get("content")),
            [_call(call) for call in one.get("tool_calls") or ()],
        )
        for one in value
    ]


def _text(content: Any) -> str:
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "\n".join(str(part.get("text") or part) if isinstance(part, Mapping) else str(part) for part in content)
    return "" if content is None else str(content)


def _call(call: Mapping[str, Any]) -> tuple[str, Any]:
    """Parquet has one type for the arguments of all calls: those that a call does not have are null."""
    function = call.get("function") or call
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = {name: value for name, value in arguments.items() if value is not None}
    return str(function.get("name")), arguments


def _reward(columns: Mapping[str, float]) -> Reward | None:
    """The sum of the columns. A column that is not finite is a reward that was not given."""
    parts = {name: float(value) for name, value in columns.items() if isfinite(value)}
    if parts:
        return Reward(sum(parts.values()), parts)
    return Reward(None, unscored=f"no reward was given in {', '.join(columns)}") if columns else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
