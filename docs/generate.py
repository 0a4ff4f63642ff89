"""Writes the parts of the documentation that the code knows better: the help of every command, and the tree of folders.

python docs/generate.py            # write them
python docs/generate.py --check    # fail if one is stale
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "_util",
    "envs",
    "envs/retrieval",
    "envs/data",
    "agents",
    "agents/rpm",
    "agents/models",
    "rewards",
    "rewards/prompts",
    "evaluation",
    "evaluation/judge_audit",
    "training",
    "training/grpo",
    "training/reward_models",
    "training/report",
    "world",
    "world/data",
    "world/players",
    "world/pilot",
    "testing",
    "apps",
    "apps/play",
    "apps/view",
    "apps/view/pages",
    "benchmarks",
    "studies",
)
COMMANDS = (
    "",
    "data",
    "data show",
    "data validate",
    "check",
    "check retriever",
    "check reward",
    "check agent",
    "check judge",
    "check model",
    "check determinism",
    "recipes",
    "train",
    "eval",
    "index",
    "play",
    "rejudge",
    "compare",
    "replay",
    "judge",
    "judge audit",
    "explain",
    "view",
    "model",
    "model get",
    "doctor",
    "bench",
    "bench retrieval",
    "bench env",
    "bench judge",
    "bench rollout",
    "bench train",
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
        sys.exit(f"stale: {', '.join(stale)}; write them anew with: make docs")


def cli() -> str:
    blocks = [f"## profilegym {command}\n\n```\n{help_of(command)}\n```\n" for command in COMMANDS]
    return "# The command line\n\nWritten by `make docs`.\n\n" + "\n".join(blocks)


def help_of(command: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    run = subprocess.run(
        [sys.executable, "-m", "profilegym", *command.split(), "--help"],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in run.stdout.strip().splitlines())


def architecture() -> str:
    """The page with its tree written anew between the marks."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    return re.sub(r"(<!-- tree -->\n).*(<!-- /tree -->)", lambda m: f"{m[1]}{tree()}{m[2]}", text, flags=re.DOTALL)


def tree() -> str:
    rows = []
    for folder in FOLDERS:
        rows.append(f"    {folder + '/':<36}{summary(ROOT / folder / '__init__.py')}")
        for path in sorted((ROOT / folder).glob("*.py")):
            if path.name != "__init__.py":
                rows.append(f"      {path.name:<34}{summary(path)}")
    return "\n".join(rows) + "\n"


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0].rstrip(".")


main()
