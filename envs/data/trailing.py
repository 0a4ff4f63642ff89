"""Options at the end of a data spec whose path may itself hold commas and equals signs."""

from collections.abc import Collection


def split_trailing(text: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """`"a,b=c.json,speaker=a"` -> `("a,b=c.json", {"speaker": "a"})`; only known names are options."""
    options: dict[str, str] = {}
    while True:
        head, comma, last = text.rpartition(",")
        name, equals, value = last.partition("=")
        if not (comma and equals and name in known and name not in options):
            return text, options
        text, options[name] = head, value
