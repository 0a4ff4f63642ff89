"""Foreign text on its way to a person's screen."""

import re

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """What a terminal would act on (escapes, direction marks, half characters) becomes `�`."""
    return _UNPRINTABLE.sub("�", text)
