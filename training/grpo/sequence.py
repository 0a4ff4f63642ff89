"""Converts an episode into the tokens to train on, with the mask of those that the policy sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from ...envs.trajectory import Segment, Trajectory
from ...errors import EpisodeError

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """`mask` is 1 for the tokens of the completion that the policy sampled, 0 for the environment's.

    `logprobs` are the log-probabilities with which the completion's tokens were sampled; None if unknown, or if not
    sampled. -inf counts as unknown, since no importance ratio to it is finite.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float | None]


def sequence_of(trajectory: Trajectory, encode: Encode) -> TokenSequence:
    """The prompt is all text before the policy's first turn.

    Text of the policy without tokens, as written by a script or an agent, is part of the context and not of the loss.
    Raises `EpisodeError` if a turn was sampled after a text of the environment whose tokens are unknown: training would
    use another context than sampling.
    """
    prompt: list[int] = []
    completion: list[int] = []
    mask: list[int] = []
    logprobs: list[float | None] = []
    context_known = True
    for segment in trajectory.segments:
        tokens = list(segment.tokens if segment.tokens is not None else encode(segment.text))
        if segment.author == "environment":
            context_known &= segment.tokens is not None
            if not completion:
                prompt += tokens
                continue
        sampled = segment.author == "policy" and segment.tokens is not None
        if sampled:
            _check(segment, context_known, trajectory.id)
        completion += tokens
        mask += [int(sampled)] * len(tokens)
        known = segment.logprobs if sampled and segment.logprobs is not None else [None] * len(tokens)
        logprobs += [None if value == -inf else value for value in known]
    if not completion:
        raise EpisodeError(f"episode {trajectory.id} has no text by the policy")
    return TokenSequence(prompt, completion, mask, logprobs)


def _check(sampled: Segment, context_known: bool, episode: str) -> None:
    if not context_known:
        raise EpisodeError(
            f"episode {episode}: {sampled.text[:60]!r} was sampled after a text of the environment whose tokens are "
            "unknown; the model must return `segment_tokens`, the tokens of each segment that it read"
        )
    tokens, logprobs = sampled.tokens or (), sampled.logprobs
    if logprobs is not None and len(logprobs) != len(tokens):
        raise EpisodeError(
            f"episode {episode}: {sampled.text[:60]!r} has {len(tokens)} tokens and {len(logprobs)} log-probabilities"
        )
