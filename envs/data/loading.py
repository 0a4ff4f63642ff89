"""From a data spec to questions."""

import re
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import Any

from ..._util.registry import Registry
from ...errors import DataError
from ..question import Question
from .question_set import QuestionList, QuestionSet, ThinnedQuestions
from .records import state_of
from .spec import read_spec

DATA_SETS = Registry(
    "data set",
    {
        "world": "profilegym.world.data:load",
        **{f"world-lamp-{task}": "profilegym.world.data.lamp:load" for task in (2, 3, 5)},
        "lamp-qa": "profilegym.envs.data.lamp_qa:load",
        **{f"lamp-{task}": "profilegym.envs.data.lamp:load" for task in range(1, 8)},
        **{f"longlamp-{task}": "profilegym.envs.data.longlamp:load" for task in range(1, 5)},
        "locomo": "profilegym.envs.data.locomo:load",
        "longmemeval": "profilegym.envs.data.longmemeval:load",
        "jsonl": "profilegym.envs.data.jsonl:load",
    },
)


def load_questions(spec: str) -> QuestionSet:
    """The questions that a spec names: `world:seed=7,users=50/test`, `lamp-qa:PATH.json`, `file.py:factory` …

    A loader is called with the name and with what follows it: `load("world", "seed=7,users=50/test")`; a factory as
    other plug-ins are, with an argument and options. At the end of any spec, `,every=5` keeps each fifth question, and
    `,leaks=question`, `strict` or `none` changes what counts as a leak.
    """
    read = read_spec(spec)
    plain = read.plain
    name, rest = _split(plain)
    loader = DATA_SETS.lookup(name)
    found = loader(name, rest) if loader else DATA_SETS.make(plain)
    questions = found if isinstance(found, QuestionSet) else _listed(found, plain)
    if loader is None and questions.spec != plain:  # what made it can make it again; what it calls itself cannot
        questions = copy(questions)
        questions.spec = plain
    if read.leaks:
        questions = questions.screened(read.leaks)
    return ThinnedQuestions(questions, read.every) if read.every > 1 else questions


def loader_of(spec: str) -> object:
    """Who loads a spec: a loader, the state of the file with the code, or None for a module."""
    plain = read_spec(spec).plain
    code = Path(plain.partition(":")[0])
    return DATA_SETS.lookup(_split(plain)[0]) or (state_of(code) if code.is_file() else None)


def is_known(spec: str) -> bool:
    """Whether a spec names a data set, and no code to be run."""
    return _split(read_spec(spec).plain)[0] in DATA_SETS.names()


def register_data(name: str, loader: Callable[[str, str], QuestionSet | Iterable[Question]]) -> None:
    """Make `loader(name, rest_of_spec)` available as `--data name:…`."""
    DATA_SETS.register(name, loader)


def _split(spec: str) -> tuple[str, str]:
    """The name, and what follows it after a colon or from a slash on: `world/test`."""
    name = re.split("[:/]", spec, maxsplit=1)[0]
    return name, spec[len(name) :].removeprefix(":")


def _listed(found: Any, spec: str) -> QuestionList:
    questions = list(found) if isinstance(found, Iterable) else [found]
    if all(isinstance(question, Question) for question in questions):
        _check_ids(questions, spec)
        return QuestionList(questions, spec)
    raise DataError(f"{spec} gave {str(found)[:80]!r}; expected a QuestionSet or a sequence of Question")


def _check_ids(questions: Iterable[Question], spec: str) -> None:
    for question in questions:
        documents = (("document", document.id) for document in question.profile.documents)
        for owner, found in (("question", question.id), ("user", question.user_id), *documents):
            if not isinstance(found, str):
                raise DataError(f"{spec}: the id of a {owner} is {found!r}, a {type(found).__name__}: give a text")
