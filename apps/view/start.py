"""What `profilegym view` needs before it can begin."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ...errors import MissingExtra, OptionError

_NEEDED = ("fastapi", "uvicorn", "jinja2")


def start(roots: Sequence[Path], port: int, redact: bool, open_browser: bool) -> None:
    if not all(map(find_spec, _NEEDED)):
        raise MissingExtra("profilegym view", "view")
    for root in roots:
        if not root.is_dir():
            raise OptionError(f"{root} is no directory: name one that holds runs, or make it with profilegym eval")
    from .server import view

    view(roots, port, redact, open_browser)
