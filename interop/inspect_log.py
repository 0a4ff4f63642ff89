"""Writes episodes as a log of Inspect, through its Python API: what Inspect's own viewer and tools read."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..agents.models.openai_formats import messages_of
from ..envs.question import Question
from ..envs.trajectory import Trajectory
from ..errors import MissingExtra
from ..evaluation.summary import score_of
from .records.inspect import OURS

try:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
    from inspect_ai.scorer import Score
except ImportError as error:
    raise MissingExtra("a log of Inspect", "inspect") from error


def write_log(trajectories: Iterable[Trajectory], find: Callable[[str], Question], path: Path, task: str) -> None:
    """Write the episodes of a run as one log: a sample for each question, an epoch for each attempt.

    Episodes without the profile have names of their own, `QUESTION (baseline)`. `read` gives the same episodes back.
    """
    epochs: defaultdict[str, int] = defaultdict(int)
    samples, models = [], dict[str, None]()
    for trajectory in trajectories:
        name = trajectory.question_id + (" (baseline)" if trajectory.kind == "baseline" else "")
        epochs[name] += 1
        samples.append(_sample(trajectory, find(trajectory.question_id), name, epochs[name]))
        models[trajectory.model or "unknown"] = None
    names: list[Any] = list(epochs)
    spec = EvalSpec(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task,
        dataset=EvalDataset(name=task, samples=len(names), sample_ids=names),
        model=" ".join(models),
        config=EvalConfig(epochs=max(epochs.values(), default=1)),
    )
    write_eval_log(EvalLog(eval=spec, status="success", samples=samples), path)


def scored(trajectory: Trajectory) -> Score:
    """The score of an episode. One that our own failure left without a score is unscored, which no metric counts."""
    reward = trajectory.reward
    if reward is None or reward.total is None:
        why = trajectory.error or (reward.unscored if reward else None) or "it was not scored"
        return Score.unscored(reason="grader_failed", answer=trajectory.answer, explanation=why)
    aspects = trajectory.verdict.aspects if trajectory.verdict else ()
    told = "\n".join(f"{aspect.title}: {aspect.match} of 2. {aspect.reason}".rstrip() for aspect in aspects)
    metadata = {"score": score_of(trajectory), **reward.parts}
    return Score(value=reward.total, answer=trajectory.answer, explanation=told or None, metadata=metadata)


def _sample(trajectory: Trajectory, question: Question, name: str, epoch: int) -> EvalSample:
    messages = [
        (ChatMessageAssistant if message["role"] == "assistant" else ChatMessageUser)(content=message["content"])
        for message in messages_of(trajectory.segments)
    ]
    return EvalSample(
        id=name,
        epoch=epoch,
        input=question.text,
        target=question.rubric.reference or "",
        messages=list(messages),
        scores={OURS: scored(trajectory)},
        metadata={OURS: json.loads(trajectory.to_json())},
    )
