"""Raw continuation over `/v1/completions`: the model goes on from the transcript's own text."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from ...envs.trajectory import Segment
from .stop_strings import with_stop

PATH = "/completions"
LOGPROBS = 1


def body(said: Sequence[Segment], stop: Sequence[str]) -> dict[str, Any]:
    return {"prompt": "".join(segment.text for segment in said), **({"stop": list(stop)} if stop else {})}


def read(choice: Mapping[str, Any], said: Sequence[Segment], stop: Sequence[str]) -> str:
    return with_stop(choice["text"], choice, stop, forced(said))


def logprobs(kept: Mapping[str, Any]) -> list[float]:
    return list(kept["token_logprobs"])


def forced(said: Sequence[Segment]) -> str:
    """What the policy's turn begins with, where it was not the model that wrote it."""
    own = takewhile(lambda segment: segment.author == "policy", reversed(said))
    return "".join(reversed([segment.text for segment in own]))
