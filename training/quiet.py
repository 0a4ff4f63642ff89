"""Keeps libraries from writing over a progress bar."""

import warnings


def quieten() -> None:
    """What transformers and TRL say of themselves; their errors stay."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # TRL asks for it
