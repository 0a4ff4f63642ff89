"""From an episode to what a trainer learns from: the tokens as they were read and written, and who wrote each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from ...envs.trajectory import Segment, Trajectory
from ...errors import EpisodeError

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """`mask` is 1 for the tokens of the completion that the policy sampled, 0 for the environment's.

    `logprobs` are those with which the completion's tokens were sampled, None where that is not known or none was.
    That of a token which is said to have the probability 0 counts as not known: no ratio to it is finite.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float | None]


def sequence_of(trajectory: Trajectory, encode: Encode) -> TokenSequence:
    """The prompt is what was said before the policy's first turn.

    What a script or an agent wrote in the policy's name has no sampled tokens: it is read, and never learned from.
    Raises `EpisodeError` where a turn was sampled after a text of the environment whose tokens are not known: it would
    be trained in another context than it was sampled in.
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
        raise EpisodeError(f"episode {trajectory.id} has nothing that a policy wrote")
    return TokenSequence(prompt, completion, mask, logprobs)


def _check(sampled: Segment, context_known: bool, episode: str) -> None:
    if not context_known:
        raise EpisodeError(
            f"episode {episode}: {sampled.text[:60]!r} was sampled after a text of the environment whose tokens are "
            "not known; the model's turns must give `segment_tokens`, the tokens in which it read each segment"
        )
    tokens, logprobs = sampled.tokens or (), sampled.logprobs
    if logprobs is not None and len(logprobs) != len(tokens):
        raise EpisodeError(
            f"episode {episode}: {sampled.text[:60]!r} has {len(tokens)} tokens and {len(logprobs)} log-probabilities"
        )
