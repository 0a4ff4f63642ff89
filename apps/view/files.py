"""Which files of a run directory may be touched: those that are really inside it."""

from pathlib import Path

from ...errors import ProfileGymError


class OutsideError(ProfileGymError):
    """A path leads out of the directories that were named."""


def inside(root: Path, name: str) -> Path:
    """The file of that name, after all links are followed; refused where they lead out of `root`."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise OutsideError(f"{root / name} leads out of {root}, to {path}: it is neither read nor written")
    return path


def text_of(root: Path, name: str) -> str | None:
    """None where there is no such file."""
    try:
        return inside(root, name).read_text("utf-8")
    except FileNotFoundError:
        return None
