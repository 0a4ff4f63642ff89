"""Memory that is given back stays with the process, where malloc is glibc's."""

import platform
import subprocess
import sys

import pytest

from profilegym.training.runtime import keep_memory

MEGABYTES = 200
LEFT = f"""
from pathlib import Path
from profilegym.training.runtime import keep_memory

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

if {{keeps}}:
    keep_memory()
before = pages()
some = bytearray(b"x") * ({MEGABYTES} * 2**20)
del some
print((pages() - before) * 4096 / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_what_is_given_back_stays_with_the_process() -> None:
    left = {keeps: float(subprocess.check_output([sys.executable, "-c", LEFT.format(keeps=keeps)])) for keeps in (0, 1)}

    assert left[0] < MEGABYTES / 10
    assert left[1] > MEGABYTES * 0.9


def test_elsewhere_nothing_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr("ctypes.CDLL")

    keep_memory()
