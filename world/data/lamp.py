"""LaMP's tasks for synthetic users: LaMP's record format and reader, with known user habits.

`world-lamp-2`, `world-lamp-3` and `world-lamp-5`, each `[:seed=S,users=U][/SPLIT]`: tags, ratings and titles.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..._util.lru import Lru
from ...envs.data.lamp import reading
from ...envs.data.leaks import Leaks
from ...envs.data.record_set import RecordSet
from ...envs.data.records import Json
from ...errors import DataError
from .lamp_habits import TASKS, Habit, Item, Task
from .rng import Rng
from .spec import Options, read_spec, users_of_split

# The users of a split, by the last digit of their number; the names are LaMP's.
SPLITS = {"train": (0, 1, 2, 3, 4, 5), "dev": (6,), "test": (7, 8, 9), "": tuple(range(10))}
ITEMS, QUESTIONS = 40, 4  # per user
_FIRST, _DAYS = date(2018, 1, 1), 1500
_CACHED = 256  # users kept in memory


@dataclass(frozen=True, slots=True)
class LampUser:
    """One user: the habit, past items, and the items to be answered."""

    user_id: str
    habit: Habit
    past: tuple[Item, ...]
    questions: tuple[Item, ...]


def load(name: str, rest: str) -> "WorldLamp":
    """`load("world-lamp-3", "seed=7,users=50/test")`."""
    given, split = read_spec(name, rest, Options, SPLITS)
    options = Options(**given)
    options.check("world-lamp")
    return WorldLamp(name, options, split, f"{name}:{rest}" if rest else name)


class WorldLamp(RecordSet):
    """Four questions of the split's first user over one profile, then those of the next user."""

    def __init__(self, name: str, options: Options, split: str, spec: str) -> None:
        self.name, self.options, self.split = name, options, split
        self.records = WorldRecords(name, options, split)
        super().__init__(spec, self.records, reading(name.removeprefix("world-")))

    def __reduce__(self) -> tuple[object, ...]:
        return WorldLamp, (self.name, self.options, self.split, self.spec)

    def screened(self, leaks: Leaks) -> "WorldLamp":
        """Generated profiles contain no leaks, so nothing is removed."""
        return WorldLamp(self.name, self.options, self.split, f"{self.spec},leaks={leaks}")

    def user(self, position: int) -> tuple[LampUser, Item]:
        """The user who asks the question at this position, including the hidden habit, and its item."""
        return self.records.locate(position)


class WorldRecords:
    """Records in LaMP's merged format, generated on access."""

    def __init__(self, name: str, options: Options, split: str) -> None:
        self.label = name
        self._name, self._seed = name, options.seed
        self._users = users_of_split(name, options.users, split, SPLITS)
        self._cache: Lru[int, LampUser] = Lru(_CACHED)

    def scan(self) -> Iterator[Json]:
        return map(self.read, range(len(self._users) * QUESTIONS))

    def read(self, position: int) -> Json:
        user, item = self.locate(position)
        task = TASKS[self._name]
        return {
            "id": f"{user.user_id}-{position % QUESTIONS}",
            "input": task.prompt(item),
            "profile": _items(task, user),
            "user_id": user.user_id,
            "date": (_FIRST + timedelta(_DAYS)).isoformat(),
            "output": user.habit.output(item),
        }

    def locate(self, position: int) -> tuple[LampUser, Item]:
        number = self._users[position // QUESTIONS]
        user = self._cache.get(number)
        if user is None:
            user = make_user(self._name, self._seed, number)
            self._cache.put(number, user)
        return user, user.questions[position % QUESTIONS]


def make_user(name: str, seed: int, number: int) -> LampUser:
    """Samples the questions first, then a profile without duplicates of them."""
    task = TASKS[name]
    rng = Rng(int.from_bytes(blake2b(f"{name}/{seed}/{number}".encode(), digest_size=16).digest(), "big"))
    habit = task.habit(rng)
    questions: dict[str, Item] = {}
    while len(questions) < QUESTIONS:
        item = task.draw(rng)
        questions.setdefault(item.duplicate_key, item)
    past: dict[str, Item] = {}
    while len(past) < ITEMS:
        item = task.draw(rng)
        if item.duplicate_key not in questions:
            past.setdefault(item.text, item)
    return LampUser(f"{name}-{seed}-{number:06d}", habit, tuple(past.values()), tuple(questions.values()))


def write_lamp(questions: WorldLamp, folder: str | os.PathLike[str]) -> None:
    """Writes `SPLIT_questions.json` and `SPLIT_outputs.json` in LaMP's format, for `lamp-3:FOLDER/SPLIT`."""
    if not questions.split:
        raise DataError(f"{questions.spec} names no split, but LaMP has one file per split: use {questions.spec}/test")
    records = [dict(record) for record in questions.records.scan()]
    golds = [{"id": record["id"], "output": record.pop("output")} for record in records]
    outputs = {"task": questions.name.removeprefix("world-").replace("lamp-", "LaMP_"), "golds": golds}
    for what, content in (("questions", records), ("outputs", outputs)):
        path = Path(folder, f"{questions.split}_{what}.json")
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _items(task: Task, user: LampUser) -> list[dict[str, Any]]:
    """The profile's items in order of date."""
    step = _DAYS / ITEMS
    return [
        {"id": f"{place:02d}", **task.profile_item(item, user.habit.output(item)), "date": _day(place * step)}
        for place, item in enumerate(user.past)
    ]


def _day(day: float) -> str:
    return (_FIRST + timedelta(int(day))).isoformat()
