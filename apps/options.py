"""Log level of the command line, and options from a file."""

import logging
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import OptionError

_LOG = logging.getLogger("profilegym")


def set_verbosity(verbose: bool, quiet: bool) -> None:
    """Sets the level of the package's log."""
    if verbose and quiet:
        raise OptionError("--verbose and --quiet exclude each other")
    if verbose or quiet:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        _LOG.setLevel(logging.DEBUG if verbose else logging.ERROR)


def is_quiet() -> bool:
    """Whether progress bars are hidden."""
    return _LOG.level >= logging.ERROR


def read_options(path: Path, known: Collection[str]) -> dict[str, Any]:
    """Options of a command from a YAML file, or from the `recipe.yaml` of a run."""
    import yaml  # not for every command

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"--settings {path} cannot be read: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("settings"), dict):
        content = content["settings"]
    if not isinstance(content, dict):
        raise OptionError(f"--settings {path} holds {type(content).__name__}; it must map option names to values")
    for name in content:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise OptionError(f"--settings {path}: no option {name!r}; {hint}")
    return {name: value for name, value in content.items() if value is not None}
