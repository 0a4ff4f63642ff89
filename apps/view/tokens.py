"""The tokens of a turn with their sampling probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from threading import Lock

from ...agents.models.weights import weights_of
from ...envs.trajectory import Segment, Trajectory
from ...errors import DataError, OptionError

MOST = 4_000  # tokens on a page
_LOADING = Lock()  # two threads must not import transformers at the same time
_BOUNDS = (0.05, 0.25, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    told: str
    kind: str


def tokens_of(trajectory: Trajectory, number: int) -> tuple[list[Token], bool]:
    """The tokens of a segment, and whether the tokenizer was found."""
    segments = trajectory.segments
    if not 0 <= number < len(segments) or segments[number].tokens is None:
        raise DataError(f"no tokens are recorded for step {number + 1}")
    segment, name = segments[number], _names(trajectory.model or "")
    texts = [name(token) for token in (segment.tokens or ())[:MOST]] if name else None
    return list(_tokens(segment, texts)), name is not None


def advantage_at(trajectory: Trajectory, number: int) -> float | None:
    """That of the episode, with what the turn of the segment adds."""
    turn = sum(segment.author == "policy" for segment in trajectory.segments[:number])
    added = trajectory.turn_advantages or ()
    if trajectory.advantage is None or turn >= len(added):
        return trajectory.advantage
    return trajectory.advantage + added[turn]


def _tokens(segment: Segment, texts: Sequence[str] | None) -> list[Token]:
    ids = list(segment.tokens or ())[:MOST]
    logprobs = list(segment.logprobs or ())
    found = []
    for place, token in enumerate(ids):
        chance = exp(min(0.0, logprobs[place])) if place < len(logprobs) else None
        told = f"token {token}" if chance is None else f"token {token}, probability {chance:.3f}"
        kind = "" if chance is None else f"p{sum(chance >= bound for bound in _BOUNDS)}"
        found.append(Token(texts[place] if texts else str(token), told, kind if texts else f"{kind} id"))
    return found


def _names(model: str) -> Callable[[int], str] | None:
    """The decoder of a model's tokenizer, if it is on this machine; nothing is downloaded."""
    try:
        folder = weights_of(model)
    except OptionError:
        return None
    with _LOADING:
        return _decoder(folder)


@lru_cache(maxsize=4)
def _decoder(folder: str) -> Callable[[int], str] | None:
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, OSError, ValueError):
        return None
    return lambda token: str(tokenizer.decode([token]))
