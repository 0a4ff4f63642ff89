"""Test episodes of the world's runs, in small archives: the viewer shows them where the runs themselves are not."""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from gzip import GzipFile
from io import BytesIO
from pathlib import Path

from .._util.files import whole_folder
from ..envs.trajectory import Trajectory
from ..evaluation.run import RunDirectory

_COPIED = ("recipe.yaml", "summary.json")


def pack(played: Mapping[str, Path], archive: Path) -> None:
    """Run directories by name, without tokens and log-probabilities; the same runs give the same bytes."""
    with (
        archive.open("wb") as file,
        GzipFile("", "wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for name, folder in played.items():
            written = int((folder / "trajectories.jsonl").stat().st_mtime)
            for inner, content in _files(folder):
                entry = tarfile.TarInfo(f"{name}/{inner}")
                entry.size, entry.mtime = len(content), written
                tar.addfile(entry, BytesIO(content))


def unpack(archive: Path, out: Path) -> None:
    with whole_folder(out) as unfinished, tarfile.open(archive) as tar:
        tar.extractall(unfinished, filter="data")


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    yield from ((name, (folder / name).read_bytes()) for name in _COPIED)
    run = RunDirectory(folder)
    lines = (f"{_as_text(one).to_json()}\n" for one in run.trajectories())
    yield run.trajectories_file.name, "".join(lines).encode()


def _as_text(one: Trajectory) -> Trajectory:
    known = enumerate(one.segment_fields)  # author, text, tokens and log-probabilities of each segment
    return replace(one, segment_fields=[value if place % 4 < 2 else None for place, value in known])
