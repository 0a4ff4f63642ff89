"""Generates docs/cli.md from the help of every command, and the file tree in docs/architecture.md.

python docs/generate.py            # write
python docs/generate.py --check    # exit 1 if one is stale
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from profilegym.apps.cli import app

ROOT = Path(__file__).parent.parent
TOP = (
    *("_util", "envs", "agents", "rewards", "evaluation", "training", "world"),
    *("fleet", "interop", "testing", "apps", "benchmarks", "studies"),
)


def main() -> None:
    stale = []
    for path, text in ((ROOT / "docs/cli.md", cli()), (ROOT / "docs/architecture.md", architecture())):
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(stale)}; update with: make docs")


def cli() -> str:
    blocks = [f"## profilegym {name}\n\n```\n{help_of(name)}\n```\n" for name in commands(get_command(app))]
    return "# The command line\n\nWritten by `make docs`.\n\n" + "\n".join(blocks)


def commands(command: Any, name: str = "") -> Iterator[str]:
    """Its full name, and those of its subcommands."""
    yield name
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner, f"{name} {inner.name}".strip())


def help_of(command: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    run = subprocess.run(
        [sys.executable, "-m", "profilegym", *command.split(), "--help"],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in run.stdout.strip().splitlines())


def architecture() -> str:
    """The page with a new tree between its marks."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    return re.sub(r"(<!-- tree -->\n).*(<!-- /tree -->)", lambda m: f"{m[1]}{tree()}{m[2]}", text, flags=re.DOTALL)


def tree() -> str:
    rows = []
    packages = [path.parent for top in TOP for path in sorted((ROOT / top).rglob("__init__.py"))]
    for folder in packages:
        rows.append(f"    {str(folder.relative_to(ROOT)) + '/':<36}{summary(folder / '__init__.py')}")
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                rows.append(f"      {path.name:<34}{summary(path)}")
    return "\n".join(rows) + "\n"


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0].rstrip(".")


main()
