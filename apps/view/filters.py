"""Template filters: numbers, dates, and text in which invisible characters and API keys are replaced."""

import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..._util.keys import hidden

# Direction marks, zero-width characters, control characters, and lone surrogates.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_CODE_POINT = re.compile(r"⟨U\+([0-9A-F]{4,5})⟩")


def visible_text(text: str) -> str:
    """Invisible characters become their code points, `⟨U+202E⟩`; API keys become `[key]`."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", hidden(text))


def original_text(text: str) -> str:
    """The inverse of `visible_text`, for what a form sends back. API keys stay hidden."""

    def character(found: re.Match[str]) -> str:
        meant = chr(int(found[1], 16))
        return meant if _UNSEEN.match(meant) else found[0]

    return _CODE_POINT.sub(character, text)


def environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "figure": figure,
        "short": short,
        "signed": signed,
        "count": count,
        "size": size,
        "percent": percent,
    }
    return found


def style() -> str:
    """The style sheet of reports and of the viewer."""
    shared = files(f"{__package__.rpartition('.apps')[0]}.evaluation").joinpath("page.css").read_text("utf-8")
    return shared + files(__package__).joinpath("static/view.css").read_text("utf-8")


def script() -> str:
    return files(__package__).joinpath("static/view.js").read_text("utf-8")


def icon() -> str:
    return files(__package__).joinpath("static/icon.svg").read_text("utf-8")


def figure(value: Any, digits: int = 3) -> str:
    return "–" if value is None else _minus(f"{value:.{digits}f}")


def short(value: float) -> str:
    """Four significant digits."""
    return _minus(f"{value:.4g}")


def signed(value: Any, digits: int = 3) -> str:
    """With its sign; zero has none."""
    if value is None:
        return "–"
    told = f"{value:+.{digits}f}"
    return told[1:] if not float(told) else _minus(told)


def _minus(number: str) -> str:
    return number.replace("-", "−")


def percent(value: Any) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def count(value: Any) -> str:
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def moment(seconds: float) -> tuple[str, str]:
    """Local date and time."""
    here = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f"{here:%Y-%m-%d}", f"{here:%H:%M:%S}"


def size(number: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number = round(number / 1000)
    return f"{number:,} GB"


def _final(value: Any) -> Any:
    """Applied to every value in a template."""
    if value is None:
        return ""
    return value if isinstance(value, Markup | bool | int) else visible_text(str(value))
