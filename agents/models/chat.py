"""The transcript over `/v1/chat/completions`: the policy is the assistant, the environment the user."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ...envs.trajectory import Author, Segment
from .completions import forced
from .stop_strings import with_stop

PATH = "/chat/completions"
LOGPROBS: int = True
GO_ON = {"role": "user", "content": "Go on from there."}  # to continue an assistant's message is not in everyone's API
ROLES = {"policy": "assistant", "environment": "user"}


def body(said: Sequence[Segment], stop: Sequence[str]) -> dict[str, Any]:
    messages = [{"role": ROLES[author], "content": text} for author, text in turns(said)]
    if said[-1].author == "policy":
        messages.append(GO_ON)
    return {"messages": messages, **({"stop": list(stop)} if stop else {})}


def read(choice: Mapping[str, Any], said: Sequence[Segment], stop: Sequence[str]) -> str:
    """What stands in `content`; a server that parts reasoning from it keeps the reasoning out of the transcript."""
    return with_stop(choice["message"].get("content") or "", choice, stop, forced(said))


def logprobs(kept: Mapping[str, Any]) -> list[float]:
    return [token["logprob"] for token in kept["content"]]


def turns(said: Sequence[Segment]) -> Iterator[tuple[Author, str]]:
    """Who spoke and what, in turn."""
    for author, segments in groupby(said, key=lambda segment: segment.author):
        yield author, "".join(segment.text for segment in segments).strip()
