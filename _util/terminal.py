"""Makes text from outside safe to print."""

import re

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Replaces control characters, bidirectional marks and lone surrogates by `�`."""
    return _UNPRINTABLE.sub("�", text)
