"""Keeps the memory that a step gave back for the next one, and has it fit."""

import ctypes
import sys

PADDED = 16  # a length is a multiple of it: each other one costs memory that splinters, and a program that oneDNN keeps
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_MOST, _AT_ONCE = 2**31 - 1, 256 * 2**20


def keep_memory() -> None:
    """Where malloc is glibc's. Else the system makes each large tensor's pages anew, and threads wait for that."""
    if not sys.platform.startswith("linux"):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if set_option is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _AT_ONCE)):
            set_option(option, value)
