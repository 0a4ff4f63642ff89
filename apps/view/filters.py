"""How values come to stand in a page: escaped, whatever they are, and with nothing in them that acts on a reader."""

import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# Marks of direction, characters without a width, controls, and half characters.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)


# A key may stand in the spec of a model or a judge, and with it in a recipe.
_KEY = re.compile(r"(\bapi_?key['\"]?\s*[=:]\s*['\"]?|://[^/\s:@]*:)([^\s,'\"}@]+)", re.IGNORECASE)


def seen(text: str) -> str:
    """What nobody would see is written as its code point, `⟨U+202E⟩`; what nobody should see is not written."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", _KEY.sub(r"\1[key]", text))


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
    """The look of the reports, and what the viewer adds to it."""
    shared = files(f"{__package__.rpartition('.apps')[0]}.evaluation").joinpath("page.css").read_text("utf-8")
    return shared + files(__package__).joinpath("static/view.css").read_text("utf-8")


def script() -> str:
    return files(__package__).joinpath("static/view.js").read_text("utf-8")


def icon() -> str:
    return files(__package__).joinpath("static/icon.svg").read_text("utf-8")


def figure(value: Any, digits: int = 3) -> str:
    return "–" if value is None else _minus(f"{value:.{digits}f}")


def short(value: float) -> str:
    """As many digits as tell it from its like, whatever its size."""
    return _minus(f"{value:.4g}")


def signed(value: Any, digits: int = 3) -> str:
    """Nothing is neither more nor less."""
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
    """Date and time, as they are here."""
    here = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f"{here:%Y-%m-%d}", f"{here:%H:%M:%S}"


def size(number: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number = round(number / 1000)
    return f"{number:,} GB"


def _final(value: Any) -> Any:
    """Every value of every template comes by here, also those that a page's author forgot to think about."""
    if value is None:
        return ""
    return value if isinstance(value, Markup | bool | int) else seen(str(value))
