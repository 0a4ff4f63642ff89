"""`python tests/lowest.py`: the lowest versions of direct dependencies that `pyproject.toml` states, as constraints.

Those of the core and of the extras that `make lower-bounds` installs. torch is that of `constraints.txt`: earlier
versions were not tried.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

EXTRAS = ("endpoint", "train")
TORCH = "torch"
_STATED = re.compile(r"([\w.-]+)(?:\[.*?\])?(?:>=|==)([\d.]+\d)")


def lowest(text: str) -> Iterator[str]:
    project = tomllib.loads(text)["project"]
    stated = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    for requirement in stated:
        found = _STATED.match(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} states no lowest version")
        if found[1] != TORCH:
            yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    tested = (root / "constraints.txt").read_text("utf-8").splitlines()
    print(*lowest((root / "pyproject.toml").read_text("utf-8")), sep="\n")
    print(*(line for line in tested if line.startswith(f"{TORCH}==")), sep="\n")
