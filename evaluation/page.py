"""A self-contained HTML page without scripts and requests; all text is escaped."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import chain

from .._util.terminal import printable

Child = object  # text, a number, markup, or None for nothing


class Markup(str):
    """Text that is HTML already; any other text is escaped."""

    __slots__ = ()


def tag(name: str, *children: Child, **attributes: object) -> Markup:
    """An element; attributes are keywords such as `class_` and `stroke_width`, and None leaves one out."""
    written = "".join(f' {_attribute(key)}="{text(value)}"' for key, value in attributes.items() if value is not None)
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    return Markup("".join(text(child) for child in children))


def text(value: Child) -> Markup:
    """A value escaped for HTML, with control and bidirectional characters made visible."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else escape(printable(str(value))))


def section(title: str, *children: Child, note: Child = None) -> Markup:
    return tag("section", tag("h2", title), note and tag("p", note, class_="note"), *children)


def table(heads: list[str], rows: list[list[Child]], caption: str | None = None, class_: str | None = None) -> Markup:
    """The first column holds words, the others figures; with class `worded` the last holds words, too."""
    head = tag("tr", *(tag("th", head, scope="col") for head in heads))
    body = join(*(tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows))
    inner = tag("table", caption and tag("caption", caption), tag("thead", head), tag("tbody", body), class_=class_)
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption or heads[0])


def details(summary: Child, *children: Child, open_: bool = False) -> Markup:
    return tag("details", tag("summary", summary), *children, open="" if open_ else None)


def pairs(entries: Mapping[str, Child]) -> Markup:
    """A list of names and values."""
    return tag("dl", *chain.from_iterable((tag("dt", name), tag("dd", value)) for name, value in entries.items()))


def style() -> str:
    return files(__package__).joinpath("page.css").read_text("utf-8")


def page(title: str, *body: Child) -> str:
    looks = style()
    digest = b64encode(sha256(looks.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = (
        '<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{tag('title', title)}\n<style>{looks}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{tag("main", *body)}\n</body>\n</html>\n'
    )


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
