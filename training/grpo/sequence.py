"""Converts an episode into the tokens to train on, with the mask of those that the policy sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from ...agents.models.tokenize import ChatTemplate, tokens_of
from ...agents.models.tool_chat import Tools
from ...envs.trajectory import Segment, Trajectory
from ...errors import EpisodeError

Encode = Callable[[Segment], Sequence[int]]  # of a segment whose tokens are not recorded


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """`mask` is 1 for the tokens of the completion that the policy sampled, 0 for the environment's.

    `logprobs` are the log-probabilities with which the completion's tokens were sampled; None if unknown, or if not
    sampled. -inf counts as unknown, since no importance ratio to it is finite. `turns` are the policy's turns by token,
    None for the environment's tokens.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float | None]
    turns: list[int | None]


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
    turns: list[int | None] = []
    turn, context_known = -1, True
    for segment in trajectory.segments:
        tokens = list(segment.tokens if segment.tokens is not None else encode(segment))
        if segment.author == "environment":
            context_known &= segment.tokens is not None
            if not completion:
                prompt += tokens
                continue
        else:
            turn += 1
        sampled = segment.author == "policy" and segment.tokens is not None
        if sampled:
            _check(segment, context_known, trajectory.id)
        completion += tokens
        mask += [int(sampled)] * len(tokens)
        known = segment.logprobs if sampled and segment.logprobs is not None else [None] * len(tokens)
        logprobs += [None if value == -inf else value for value in known]
        turns += [turn if segment.author == "policy" else None] * len(tokens)
    if not completion:
        raise EpisodeError(f"episode {trajectory.id} has no text by the policy")
    return TokenSequence(prompt, completion, mask, logprobs, turns)


def encoder(tokenizer: Any, template: ChatTemplate, tools: Tools | None = None) -> Encode:
    """Of a turn that an agent wrote, as the policy read it; or of what no turn came after."""

    def encode(segment: Segment) -> Sequence[int]:
        return tokens_of([Segment("environment", ""), segment], tokenizer, template, tools)[-1]

    return encode


def by_token(values: Sequence[Sequence[float]], turns: Sequence[Sequence[int | None]], width: int) -> list[list[float]]:
    """Each token's value of its turn, in rows of one width; 0 for the environment's tokens and where no value is."""
    rows = []
    for of_turn, tokens in zip(values, turns, strict=True):
        row = [0.0 if turn is None or turn >= len(of_turn) else of_turn[turn] for turn in tokens[:width]]
        rows.append(row + [0.0] * (width - len(row)))
    return rows


def training_row(trajectory: Trajectory, encode: Encode, train_baseline: str) -> TokenSequence | None:
    """What a group's member is trained on. A masked baseline has a mask of zeros.

    None of an episode that failed, or whose prompt left the policy no room for a token.
    """
    if trajectory.ended == "error" or not any(one.author == "policy" and one.tokens for one in trajectory.segments):
        return None
    row = sequence_of(trajectory, encode)
    if trajectory.kind == "baseline" and train_baseline == "masked":
        return replace(row, mask=[0] * len(row.mask))
    return row


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
