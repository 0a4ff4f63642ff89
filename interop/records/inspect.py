"""Reads logs of Inspect through its Python API, as their format is not frozen."""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ...envs.reward import Reward
from ...envs.trajectory import Ended, Trajectory
from ...errors import MissingExtra
from ...evaluation.imported import Imported, Unreadable
from .conversation import Conversation, Message, imported
from .files import attempt, listed

try:
    from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_sample, read_eval_log_sample_summaries
    from inspect_ai.scorer import Score, value_to_float
except ImportError as error:
    raise MissingExtra("a log of Inspect", "inspect") from error

OURS = "profilegym"  # the key of a trajectory in a sample's metadata
_as_number = value_to_float()


def read(path: Path) -> Iterator[Imported | Unreadable]:
    """A log, or a folder of them. Episodes of this package are read back as they were recorded."""
    for file in listed(path, "*.eval", "*.json"):
        try:
            model = read_eval_log(file, header_only=True).eval.model
            summaries = read_eval_log_sample_summaries(file)
        except Exception as error:  # whatever its readers of zip, JSON and fields raise
            yield Unreadable(str(file), "the header", f"not a log of Inspect: {type(error).__name__}: {error}")
            continue
        for summary in summaries:
            place = f"sample {summary.id} epoch {summary.epoch}"
            try:
                sample = read_eval_log_sample(file, summary.id, summary.epoch, resolve_attachments="full")
                yield _read(path, file, sample, model)
            except Exception as error:
                yield Unreadable(str(file), place, f"{type(error).__name__}: {error}", summary.model_dump_json())


def _read(path: Path, file: Path, sample: EvalSample, model: str) -> Imported:
    source = {"format": "inspect", "file": file.name, "sample": sample.id, "epoch": sample.epoch}
    error = sample.error.message if sample.error else None
    rest = {name: value for name, value in sample.metadata.items() if name != OURS}
    conversation = Conversation(
        messages=[_message(message) for message in sample.messages],
        agent="inspect",
        attempt=attempt(path, file, sample.epoch),
        question_id=str(sample.id),
        text=_asked(sample),
        reference="; ".join([sample.target] if isinstance(sample.target, str) else sample.target) or None,
        model=model,
        reward=_reward(sample.scores or {}),
        ended=_ended(sample, error),
        error=error,
        usage=_usage(sample),
        timing={"seconds": sample.total_time} if sample.total_time is not None else None,
        source=source | ({"fields": json.loads(json.dumps(rest, default=str))} if rest else {}),
    )
    found = imported(conversation)
    if OURS in sample.metadata:
        return Imported(found.question, Trajectory.from_json(json.dumps(sample.metadata[OURS])))
    return found


def _message(message: Any) -> Message:
    calls = [(call.function, call.arguments) for call in getattr(message, "tool_calls", None) or ()]
    thoughts = [part.reasoning for part in message.content_list if part.type == "reasoning"]
    text = "".join(f"<think>{thought}</think>\n" for thought in thoughts) + message.text
    if (error := getattr(message, "error", None)) is not None:
        text = f"{text}\n{error.message}".lstrip("\n")
    return Message(message.role, text, calls)


def _asked(sample: EvalSample) -> str | None:
    if isinstance(sample.input, str):
        return sample.input
    return next((message.text for message in reversed(sample.input) if message.role == "user"), None)


def _reward(scores: Mapping[str, Score]) -> Reward | None:
    """Every number that a scorer gave; the total is the first scorer's. A score without a value is unscored."""
    parts: dict[str, float] = {}
    for name, score in scores.items():
        value = score.value
        values = value.items() if isinstance(value, Mapping) else [("", value)]
        numbers = {key: _number(one) for key, one in values}
        parts |= {f"{name}.{key}" if key else name: one for key, one in numbers.items() if one is not None}
    if not scores:
        return None
    name, first = next(iter(scores.items()))
    if name in parts:
        return Reward(parts[name], parts)
    why = ": ".join(filter(None, (first.reason, first.explanation)))
    return Reward(None, parts, unscored=why or f"the scorer {name} gave no single number")


def _number(value: Any) -> float | None:
    if isinstance(value, list | tuple) or value is None:
        return None
    number = _as_number(value)
    return number if isfinite(number) else None


def _ended(sample: EvalSample, error: str | None) -> Ended | None:
    if error is not None:
        return "error"
    return "length" if sample.limit is not None else None


def _usage(sample: EvalSample) -> dict[str, Any] | None:
    used = list(sample.model_usage.values())
    if not used:
        return None
    read, wrote = sum(one.input_tokens for one in used), sum(one.output_tokens for one in used)
    return {"prompt_tokens": read, "completion_tokens": wrote}
