"""Reads `traces.jsonl` of verifiers 0.4, without verifiers: an episode a line, with a trace for each seat."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from ...agents.models.model import STOPS
from ...agents.models.openai_formats import closing_tag
from ...envs.reward import Reward
from ...envs.trajectory import Ended
from ...evaluation.imported import Imported, Unreadable
from .conversation import POLICY, Conversation, Message, imported
from .files import ODD, json_lines, listed

CONTROLS = ("control", "baseline")  # seats that play without the profile
OURS = "profilegym"  # the key of what an attempt of this package adds to a trace's `info`
_CUT = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "compaction_failed")
_READ = ("task", "agent", "nodes", "calls", "rewards", "ok", "errors")  # other fields are kept as they are


def read(path: Path) -> Iterator[Imported | Unreadable]:
    """A file, or a run's folder. Each branch of a trace is an episode of its own."""
    for file in listed(path, "traces.jsonl"):
        for number, record in json_lines(file):
            if isinstance(record, Unreadable):
                yield record
                continue
            try:
                yield from [_with_ours(imported(one)) for one in _conversations(file, number, record)]
            except ODD as error:
                problem = f"not an episode of verifiers 0.4: {type(error).__name__}: {error}"
                yield Unreadable(str(file), f"line {number}", problem, json.dumps(record, ensure_ascii=False))


def _conversations(file: Path, number: int, episode: Mapping[str, Any]) -> Iterator[Conversation]:
    traces = episode.get("traces", [episode])  # older files have a trace a line
    if not traces:
        raise ValueError(f"no trace: {_problem(episode.get('errors')) or 'no reason was recorded'}")
    for place, trace in enumerate(traces):
        branches = _branches(trace["nodes"])
        for branch, messages in enumerate(branches):
            attempt = str(episode.get("id", number))
            seat = trace["agent"].get("name", "agent")
            repeated = any(other["agent"].get("name", "agent") == seat for other in traces[:place])
            if repeated or branch:
                attempt += f".{place}.{branch}"
            yield _conversation(file, number, episode, trace, messages, attempt)


def _conversation(
    file: Path,
    number: int,
    episode: Mapping[str, Any],
    trace: Mapping[str, Any],
    messages: Sequence[Message],
    attempt: str,
) -> Conversation:
    task, agent = trace["task"], trace["agent"]
    data, seat = task["data"], agent.get("name", "agent")
    ours = (trace.get("info") or {}).get(OURS) or {}
    error = _problem(trace.get("errors")) or _problem(episode.get("errors"))
    rest = {name: value for name, value in trace.items() if name not in _READ and value not in (None, [], {})}
    if ours:  # endpoints leave out the tag that stopped the model
        stops = STOPS["tags"]
        messages = [m._replace(text=m.text + closing_tag(m.text, stops)) if m.role == POLICY else m for m in messages]
    return Conversation(
        messages=messages,
        agent=seat,
        attempt=attempt,
        question_id=str(data.get("id") or task.get("key") or task.get("hash")),
        user_id=ours.get("user_id"),
        data=ours.get("data"),
        reference=data["answer"] if isinstance(data.get("answer"), str) else None,
        kind="baseline" if seat in CONTROLS else "personalised",
        model=(agent.get("config") or {}).get("model"),
        reward=_reward(trace, error),
        ended=_ended(trace, error),
        error=error,
        usage=_usage(trace.get("calls") or ()),
        source={"format": "verifiers", "file": file.name, "line": number, "task": task, "fields": rest},
    )


def _with_ours(found: Imported) -> Imported:
    """Attempts of this package tell more: which documents their searches showed, and how they ended."""
    ours = (found.trajectory.source or {})["fields"].get("info", {}).get(OURS)
    if not ours:
        return found
    searches = [(turn, query, tuple(map(tuple, hits))) for turn, query, hits in ours["searches"]]
    told = {name: ours[name] for name in ("answer", "ended", "malformed", "prompt")}
    fields = tuple(value for search in searches for value in search)
    return found._replace(
        trajectory=replace(found.trajectory, search_fields=fields, search_ms=(None,) * len(searches), calls=(), **told)
    )


def _branches(nodes: Sequence[Mapping[str, Any]]) -> list[list[Message]]:
    """The messages from the root to each leaf."""
    parents = {node.get("parent") for node in nodes}
    found = []
    for leaf in (place for place in range(len(nodes)) if place not in parents):
        path = list[Message]()
        at: int | None = leaf
        while at is not None:
            path.append(_message(nodes[at]))
            at = nodes[at].get("parent")
        found.append(path[::-1])
    return found or [[]]


def _message(node: Mapping[str, Any]) -> Message:
    """A message that no model call produced is part of the prompt, whatever its role."""
    message, sampled = node["message"], node.get("sampled", False)
    content = message.get("content")
    text = content if isinstance(content, str) else "\n".join(part.get("text", str(part)) for part in content or ())
    if thought := message.get("reasoning_content"):
        text = f"<think>{thought}</think>\n{text}"
    calls = [(call["name"], _loaded(call["arguments"])) for call in message.get("tool_calls") or ()]
    mask, ids = node.get("mask") or (), node.get("token_ids") or ()
    tokens = [token for token, own in zip(ids, mask, strict=False) if own] or None
    return Message(
        POLICY if sampled else "user", text, calls, tokens if sampled else None, node.get("logprobs") or None
    )


def _reward(trace: Mapping[str, Any], error: str | None) -> Reward | None:
    """The weighted sum, as verifiers has it. Where scoring did not run, or the episode failed, there is none."""
    rewards = {name: one for name, one in (trace.get("rewards") or {}).items() if one is not None}
    parts = {name: float(one["score"]) * float(one.get("weight", 1.0)) for name, one in rewards.items()}
    metrics = {name: float(value) for name, value in (trace.get("metrics") or {}).items() if value is not None}
    metrics = {name: value for name, value in metrics.items() if isfinite(value)}
    total = sum(parts.values())
    if error is not None or not parts:
        return Reward(None, metrics, unscored=error or "the trace has no reward")
    if not isfinite(total):
        return Reward(None, metrics, unscored=f"the trace's reward is {total}")
    return Reward(total, metrics | parts)


def _ended(trace: Mapping[str, Any], error: str | None) -> Ended | None:
    if error is not None:
        return "error"
    return "length" if trace.get("stop_condition") in _CUT or trace.get("is_timeout") else None


def _problem(errors: Any) -> str | None:
    return f"{errors[-1]['type']}: {errors[-1]['message']}" if errors else None


def _usage(calls: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Tokens of all calls of the model."""
    known = [call["usage"] for call in calls if call.get("usage")]
    names = ("prompt_tokens", "completion_tokens")
    return {name: sum(one.get(name) or 0 for one in known) for name in names} if known else None


def _loaded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
