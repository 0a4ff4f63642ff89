"""The options of an environment's episodes: their names and values, checked."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from ..errors import OptionError
from .action import Protocol
from .tools.costs import checked_costs
from .tools.toolset import make_tools
from .trajectory import Kind

_MINIMUM = {"top_k": 1, "max_searches": 0, "hit_chars": 20, "max_shown": 1}
_MAY_BE_NONE = ("max_shown",)
_CHOICES = {
    "repeat_hits": (True, False),
    "cites": (True, False),
    "protocol": get_args(Protocol),
    "kind": get_args(Kind),
}


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with `tools` and `costs` made from their specs.

    An unknown name or an invalid value is an `OptionError`.
    """
    checked = dict(options)
    for name, value in options.items():
        if name == "tools":
            checked[name] = make_tools(value)
        elif name == "costs":
            continue
        elif name in _MINIMUM:
            if name in _MAY_BE_NONE and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < _MINIMUM[name]:
                raise OptionError(f"{name}={value!r}: give a whole number of at least {_MINIMUM[name]}")
        elif name in _CHOICES:
            if value not in _CHOICES[name]:
                raise OptionError(f"{name}={value!r}: give one of {', '.join(map(repr, _CHOICES[name]))}")
        else:
            known = [*_MINIMUM, *_CHOICES, "tools", "costs"]
            near = get_close_matches(name, known, 1)
            raise OptionError(
                f"no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
            )
    if checked.get("costs") is not None:
        checked["costs"] = checked_costs(checked["costs"], checked.get("tools"))
    return checked
