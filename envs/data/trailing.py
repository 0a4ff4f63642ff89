"""Options at the end of a data spec whose path may itself hold commas and equals signs."""

import re
from collections.abc import Collection


def split_trailing(text: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """`"a,b=c.json,speaker=a"` -> `("a,b=c.json", {"speaker": "a"})`; only known names are options."""
    pattern = re.compile(f"(.*),({'|'.join(known)})=(.*)", re.DOTALL)
    options: dict[str, str] = {}
    while (found := pattern.fullmatch(text)) and found[2] not in options:
        text, options[found[2]] = found[1], found[3]
    return text, options
