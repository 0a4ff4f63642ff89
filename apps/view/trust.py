"""What is taken from a run's files: no spec that names code or a command, or that reaches another machine."""

import re
from urllib.parse import urlsplit

from ..._util.registry import Registry, is_code
from ...agents.models.model import MODELS
from ...envs.data.loading import is_known
from ...envs.retrieval.retriever import RETRIEVERS
from ...rewards.registry import JUDGES

_URL = re.compile(r"[^\s,+=|:]*://[^\s,+|]*")
_WEB = re.compile(r"(?<![^,+=|:])https?://[^\s,+|]*")  # any other name before `://` may be that of code
_INNER = re.compile(r"([^\s,+=:]+):")  # as in `hybrid:bm25+NAME:…` and `rpm:index=NAME:…`
_IN_OPTION = re.compile(r"(?<=[=+])([^\s,+=:]+):")  # an argument such as `qwen2.5:7b` or a path is no spec
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_COMMANDS = ("mcp",)


def is_trusted(spec: object, registry: Registry) -> bool:
    """Whether a spec of a model, an agent … may be used although a file names it."""
    if not isinstance(spec, str):
        return False
    name = spec.partition(":")[0]
    inner = _IN_OPTION if registry in (MODELS, JUDGES) else _INNER
    return name in registry.names() and name not in _COMMANDS and _stays_here(spec, inner)


def is_trusted_data(spec: str) -> bool:
    return is_known(spec) and _stays_here(spec, _IN_OPTION)


def _stays_here(spec: str, inner: re.Pattern[str]) -> bool:
    _, _, rest = _WEB.sub("", spec).partition(":")
    return all(map(_is_local, _URL.findall(spec))) and not any(
        name not in RETRIEVERS.names() and is_code(name) for name in inner.findall(rest)
    )


def _is_local(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _THIS_MACHINE
    except ValueError:
        return False
