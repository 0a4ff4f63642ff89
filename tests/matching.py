"""What a test may ask of a message: the values that it must name, in whatever words."""

import re


def naming(*values: object) -> str:
    """A pattern for `match` of `pytest.raises`: the message names each value, in any order; 6 is not named by 60."""
    return "(?s)" + "".join(f"(?=.*{_alone(value)})" for value in values)


def names(text: object, *values: object) -> bool:
    """Whether a text does."""
    return re.search(naming(*values), str(text)) is not None


def _alone(value: object) -> str:
    text = str(value)
    if isinstance(value, int | float):  # a number that is part of a path or of another number is another one
        return rf"(?<![\w./-]){re.escape(text)}(?![\w/-]|\.\d)"
    before = r"(?<!\w)" if re.match(r"\w", text) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", text) else ""
    return before + re.escape(text) + after
