"""`profilegym import`: episodes that another framework recorded, as a run directory that `profilegym view` shows."""

from pathlib import Path

from rich.console import Console

from .._util.counted import counted
from .._util.registry import Registry
from .._util.terminal import printable
from ..errors import DataError
from ..evaluation.imported import BAD, Imports, data_of, write_imports
from ..evaluation.run import RunDirectory

FORMATS = Registry(
    "format",
    {
        "inspect": "profilegym.interop.records.inspect:read",
        "search-r1": "profilegym.interop.records.search_r1:read",
        "trl": "profilegym.interop.records.trl:read",
        "verifiers": "profilegym.interop.records.verifiers:read",
    },
)
_MOST_TOLD = 20  # unreadable records on the terminal; all are in the file


def run_import(form: str, path: Path, out: Path, as_json: bool = False) -> int:
    """Returns 1 if there was a record that could not be imported; the others are imported all the same."""
    if not path.exists():  # before the format is loaded, which may need an extra
        raise DataError(f"there is no file {path}")
    read, _ = FORMATS.find(form)
    run = RunDirectory(out)
    imported = {"format": form, "path": str(path)}
    with run.writing({"agent": form, "data": data_of(run), "profile": "own", "imported": imported}):
        found = write_imports(read(path), run)
    if as_json:
        bad = [unreadable._asdict() for unreadable in found.bad]
        told = {"episodes": len(found.ids), "questions": len(found.questions), "bad_records": bad}
        Console().print_json(data=told, ensure_ascii=False)
    else:
        _report(found, run)
    return int(bool(found.bad))


def _report(found: Imports, run: RunDirectory) -> None:
    console, errors = Console(highlight=False, markup=False), Console(stderr=True, highlight=False, markup=False)
    for unreadable in found.bad[:_MOST_TOLD]:
        errors.print(printable(str(unreadable)), soft_wrap=True)
    if found.bad:
        told = (
            f"{len(found.bad)} records could not be imported; they are in {run.path / BAD}, and the others are imported"
        )
        errors.print(printable(told), soft_wrap=True)
    console.print(printable(f"{counted(len(found.ids), 'episode')} imported into {run.path}"), soft_wrap=True)
    console.print(printable(f"look at them: profilegym view {run.path}"), soft_wrap=True)
