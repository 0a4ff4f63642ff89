"""`profilegym play`: seats a person, or the policy alone, before a whole screen or line by line."""

import sys

from ...errors import MissingExtra, OptionError
from . import plain
from .session import Sitting


def own_model(agent: str | None) -> str:
    """Who speaks where no model is named: a script for itself, else the model that comes with the package."""
    return agent if agent and agent.startswith("scripted:") else "pilot"


def run_lines(sitting: Sitting, watched: bool) -> None:
    """`watched`: the policy takes every turn by itself."""
    sitting.check()
    (plain.watch if watched else plain.play)(sitting)


def run_screen(sitting: Sitting) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OptionError("the screen needs a terminal, and this is none: add --plain")
    try:
        from .screen import PlayApp
    except ImportError as error:
        raise MissingExtra("the screen of profilegym play (--plain does without it)", "play") from error
    sitting.check()
    PlayApp(sitting).run()
    print(sitting.told)  # noqa: T201 (a person reads it)
