"""What any data spec may end with: `,every=N`, a part of the questions, and `,leaks=WORD`, what profiles leave out."""

import re
from dataclasses import dataclass

from ...errors import OptionError
from .leaks import Leaks, read_leaks

_OPTION = re.compile(r"(.*),(every|leaks)=([^,=/.:]*)", re.DOTALL)  # a path may hold commas and equals signs


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A spec, and the options at its very end."""

    plain: str
    leaks: Leaks | None = None
    every: int = 1


def read_spec(spec: str) -> DataSpec:
    """The spec without its last options, and these; each may be given once."""
    plain, options = spec, dict[str, str]()
    while (found := _OPTION.fullmatch(plain)) and found[2] not in options:
        plain, options[found[2]] = found[1], found[3]
    leaks, every = options.get("leaks"), options.get("every", "1")
    if not re.fullmatch(r"[1-9]\d*", every, re.ASCII):
        raise OptionError(f"every={every}: give a whole number of at least 1, such as 3 for each third question")
    return DataSpec(plain, None if leaks is None else read_leaks(leaks), int(every))
