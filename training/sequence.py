"""From an episode to what a trainer learns from: the tokens as they were read and written, and who wrote each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..envs.errors import EpisodeError
from ..envs.trajectory import Trajectory

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """`mask` is 1 for the tokens of the completion that the policy sampled, 0 for the environment's.

    `logprobs` are those with which the completion's tokens were sampled, None where that is not known or none was.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float | None]


def sequence_of(trajectory: Trajectory, encode: Encode) -> TokenSequence:
    """The prompt is what was said before the policy's first turn.

    What a script or an agent wrote in the policy's name has no sampled tokens: it is read, and never learned from.
    """
    prompt: list[int] = []
    completion: list[int] = []
    mask: list[int] = []
    logprobs: list[float | None] = []
    for segment in trajectory.segments:
        tokens = list(segment.tokens if segment.tokens is not None else encode(segment.text))
        if segment.author == "environment" and not completion:
            prompt += tokens
            continue
        sampled = segment.author == "policy" and segment.tokens is not None
        completion += tokens
        mask += [int(sampled)] * len(tokens)
        logprobs += segment.logprobs if sampled and segment.logprobs is not None else [None] * len(tokens)
    if not completion:
        raise EpisodeError(f"episode {trajectory.id} has nothing that a policy wrote")
    return TokenSequence(prompt, completion, mask, logprobs)
