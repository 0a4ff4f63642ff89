"""Pages of the documentation with places that a command fills."""

import re
import sys
from collections.abc import Callable
from pathlib import Path


def fill_in(page: Path, name: str, make: Callable[[], str]) -> None:
    """Its place on the page is looked for before hours are spent."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(page.read_text("utf-8")):
        sys.exit(f"{page} has no place for {name!r}: <!-- {name} --> and <!-- /{name} -->, a line each")
    content = make()
    page.write_text(marks.sub(lambda found: f"{found[1]}{content}\n{found[2]}", page.read_text("utf-8")), "utf-8")
