"""The prompts, as text files, filled in one pass."""

import re
from functools import cache
from hashlib import blake2b
from importlib.resources import files

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@cache
def template(name: str, folder: str) -> str:
    """The text of a prompt; `folder` is the package that holds it."""
    return files(folder).joinpath(f"{name}.txt").read_text("utf-8").strip()


@cache
def version(name: str, folder: str) -> str:
    """A prompt's version is its hash; it is in every trajectory."""
    return f"{name}-{version_of(template(name, folder))}"


def version_of(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()


def fill(name: str, folder: str, /, **values: str) -> str:
    """One pass: a value that looks like a slot stays as it is."""
    return _SLOT.sub(lambda slot: values[slot[1]], template(name, folder))
