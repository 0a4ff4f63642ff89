"""Reads prompts from text files and fills their slots `{{name}}`."""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@cache
def template(name: str, folder: str) -> str:
    """The text of a prompt. `folder` is the package that contains it."""
    return files(folder).joinpath(f"{name}.txt").read_text("utf-8").strip()


@cache
def version(name: str, folder: str) -> str:
    """A prompt's name and the hash of its text, as trajectories record it."""
    return f"{name}-{version_of(template(name, folder))}"


def version_of(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


def fill(name: str, folder: str, /, **values: str) -> str:
    """Fills all slots in one pass, so that a value that looks like a slot is not filled."""
    return fill_text(template(name, folder), values)


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """As `fill`, of a text."""
    return _SLOT.sub(lambda slot: values[slot[1]], text)


def slots_of(text: str) -> set[str]:
    """The names of the slots in a text."""
    return set(_SLOT.findall(text))
