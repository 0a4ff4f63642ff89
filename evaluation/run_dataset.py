"""A run's episodes as rows for TRL's SFT and DPO trainers."""

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from ..agents.models.openai_formats import messages_of, tool_messages_of
from ..envs.trajectory import Trajectory
from ..errors import DataError, MissingExtra, OptionError
from .late_verdicts import with_late_verdicts
from .run import Form
from .summary import place_of, score_of

if TYPE_CHECKING:
    from .run import RunDirectory


def dataset_of(run: "RunDirectory", form: Form, min_score: float | None) -> Any:
    """Episodes without a score are in no pair, and in no conversation where a score is asked for."""
    if form not in get_args(Form):
        raise OptionError(f"form={form!r}: give one of {', '.join(map(repr, get_args(Form)))}")
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtra("a Dataset of episodes", "hub") from error
    rows = list(_conversations(run, min_score) if form == "sft" else _pairs(run, min_score))
    if not rows:
        raise DataError(f"{run.path} has no episode for form={form!r} and min_score={min_score}")
    return library.Dataset.from_list(rows)


def _conversations(run: "RunDirectory", min_score: float | None) -> Iterator[dict[str, Any]]:
    """Train them with `assistant_only_loss`, so that the documents are not in the loss."""
    for trajectory in _scored(run):
        score = score_of(trajectory)
        if trajectory.kind == "personalised" and trajectory.ended == "answered" and _reaches(score, min_score):
            yield {"messages": _messages(trajectory), **_about(trajectory), "score": score}


def _pairs(run: "RunDirectory", min_score: float | None) -> Iterator[dict[str, Any]]:
    """The prompt is all that the policy read before it answered with the profile."""
    baselines = {place_of(trajectory): trajectory for trajectory in _scored(run) if trajectory.kind == "baseline"}
    for trajectory in _scored(run):
        baseline = baselines.get(place_of(trajectory))
        if baseline is None or trajectory.kind == "baseline":
            continue
        own, other = score_of(trajectory), score_of(baseline)
        if own is None or other is None or own == other or not _reaches(max(own, other), min_score):
            continue
        *prompt, with_profile = _messages(trajectory)
        without = _messages(baseline)[-1]
        if with_profile["role"] != "assistant" or without["role"] != "assistant":
            continue
        chosen, rejected = (with_profile, without) if own > other else (without, with_profile)
        scores = {"score_chosen": max(own, other), "score_rejected": min(own, other)}
        yield {"prompt": prompt, "chosen": [chosen], "rejected": [rejected], **_about(trajectory), **scores}


def _scored(run: "RunDirectory") -> Iterator[Trajectory]:
    return with_late_verdicts(run, run.trajectories())


def _reaches(score: float | None, least: float | None) -> bool:
    return least is None or (score is not None and score >= least)


def _messages(trajectory: Trajectory) -> list[dict[str, Any]]:
    in_calls = trajectory.prompt is not None and trajectory.prompt.startswith("tools")
    return (tool_messages_of if in_calls else messages_of)(trajectory.segments)


def _about(trajectory: Trajectory) -> dict[str, Any]:
    return {"id": trajectory.id, "question_id": trajectory.question_id}
