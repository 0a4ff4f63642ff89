"""From a data spec to questions."""

import re
from collections.abc import Callable

from ..errors import UnknownName
from ..registry import Registry
from .question_set import QuestionSet

_HERE = __name__.rpartition(".")[0]
DATA_SETS = Registry(
    "data set",
    {
        "world": f"{_HERE}.world:load",
        **{f"world-lamp-{task}": f"{_HERE}.world.lamp:load" for task in (2, 3, 5)},
        "lamp-qa": f"{_HERE}.lamp_qa:load",
        **{f"lamp-{task}": f"{_HERE}.lamp:load" for task in range(1, 8)},
        **{f"longlamp-{task}": f"{_HERE}.longlamp:load" for task in range(1, 5)},
        "jsonl": f"{_HERE}.jsonl:load",
    },
)


def load_questions(spec: str) -> QuestionSet:
    """The questions that a spec names: `world:seed=7,users=50/test`, `lamp-qa:PATH.json`, `lamp-3:DIR/SPLIT` …

    A loader is called with the name and with what follows it: `load("world", "seed=7,users=50/test")`.
    """
    name, rest = re.fullmatch(r"([^:/]*):?(.*)", spec, re.DOTALL).groups()  # type: ignore[union-attr]
    if name not in DATA_SETS.names():
        raise UnknownName(f"no data set {spec!r}; known: {', '.join(DATA_SETS.names())}")
    loader, _ = DATA_SETS.find(name)
    questions: QuestionSet = loader(name, rest)
    return questions


def register_data(name: str, loader: Callable[[str, str], QuestionSet]) -> None:
    """Make `loader(name, rest_of_spec)` available as `--data name:…`."""
    DATA_SETS.register(name, loader)
