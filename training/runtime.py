"""Process-wide settings for training: quieter libraries, and memory that malloc keeps."""

import ctypes
import sys
import warnings

PADDED = 16  # sequence lengths are padded to a multiple of it: fewer distinct sizes fragment memory less
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
_LARGEST, _GROWTH = 2**31 - 1, 256 * 2**20  # bytes


def quieten() -> None:
    """Silence the progress bars and warnings of transformers and TRL; their errors stay."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    named_by_trl = r"`(is_)?gradient_checkpointing(_\w+)?` is deprecated"
    warnings.filterwarnings("ignore", named_by_trl, FutureWarning)


def keep_memory() -> None:
    """Keep freed memory in the process (glibc only), so that large tensors reuse pages instead of faulting new ones."""
    if not sys.platform.startswith("linux"):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if set_option is not None:
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _GROWTH)):
            set_option(option, value)
