"""LaMP's tasks among made-up people: the same records, read by the same code, with habits that are known exactly.

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
from ...errors import DataError, OptionError
from .lamp_habits import TASKS, Habit, Task, Work
from .rng import Dice
from .spec import need, read_spec

# Which users a split holds, by the last digit of their number: LaMP's names for the world's own splits.
SPLITS = {"train": (0, 1, 2, 3, 4, 5), "dev": (6,), "test": (7, 8, 9), "": tuple(range(10))}
ITEMS, QUESTIONS = 40, 4  # of each person
_FIRST, _DAYS = date(2018, 1, 1), 1500
_REMEMBERED = 256  # people


@dataclass(frozen=True, slots=True)
class Options:
    """What a spec may set."""

    seed: int = 0
    users: int = 500

    def __post_init__(self) -> None:
        need("world-lamp", "seed", self.seed, self.seed >= 0, "0 or more")
        need("world-lamp", "users", self.users, self.users >= 1, "1 or more")


@dataclass(frozen=True, slots=True)
class Worker:
    """One person: the habit, what they did by it, and what they are asked to do."""

    user_id: str
    habit: Habit
    done: tuple[Work, ...]
    asked: tuple[Work, ...]


def load(name: str, rest: str) -> "WorldLamp":
    """`load("world-lamp-3", "seed=7,users=50/test")`."""
    given, split = read_spec(name, rest, Options, SPLITS)
    return WorldLamp(name, Options(**given), split, f"{name}:{rest}" if rest else name)


class WorldLamp(RecordSet):
    """Four questions of person 0, then those of the next person of the split, over the same past."""

    def __init__(self, name: str, options: Options, split: str, spec: str) -> None:
        self.name, self.options, self.split = name, options, split
        self.records = WorldRecords(name, options, split)
        super().__init__(spec, self.records, reading(name.removeprefix("world-")))

    def __reduce__(self) -> tuple[object, ...]:
        return WorldLamp, (self.name, self.options, self.split, self.spec)

    def screened(self, leaks: Leaks) -> "WorldLamp":
        """Made without leaks: there is nothing to leave out."""
        return WorldLamp(self.name, self.options, self.split, f"{self.spec},leaks={leaks}")

    def worker(self, position: int) -> tuple[Worker, Work]:
        """Who asks the question at a position, with the habit that no policy is told, and what it is about."""
        return self.records.place(position)


class WorldRecords:
    """The records in LaMP's merged form, made when they are asked for."""

    def __init__(self, name: str, options: Options, split: str) -> None:
        self.label = name
        self._name, self._seed = name, options.seed
        self._users = [user for user in range(options.users) if user % 10 in SPLITS[split]]
        if not self._users:
            least = SPLITS[split][0] + 1
            raise OptionError(f"{name}: users={options.users} leaves split {split!r} empty; ask for {least} or more")
        self._workers: Lru[int, Worker] = Lru(_REMEMBERED)

    def scan(self) -> Iterator[Json]:
        return map(self.read, range(len(self._users) * QUESTIONS))

    def read(self, position: int) -> Json:
        worker, work = self.place(position)
        task = TASKS[self._name]
        return {
            "id": f"{worker.user_id}-{position % QUESTIONS}",
            "input": task.asked(work),
            "profile": _items(task, worker),
            "user_id": worker.user_id,
            "date": (_FIRST + timedelta(_DAYS)).isoformat(),
            "output": worker.habit.output(work),
        }

    def place(self, position: int) -> tuple[Worker, Work]:
        user = self._users[position // QUESTIONS]
        worker = self._workers.get(user)
        if worker is None:
            worker = make_worker(self._name, self._seed, user)
            self._workers.put(user, worker)
        return worker, worker.asked[position % QUESTIONS]


def make_worker(name: str, seed: int, user: int) -> Worker:
    """What is asked first, so that nothing done gives it away; no two works are the same."""
    task = TASKS[name]
    dice = Dice(int.from_bytes(blake2b(f"{name}/{seed}/{user}".encode(), digest_size=16).digest(), "big"))
    habit = task.habit(dice)
    asked: dict[str, Work] = {}
    while len(asked) < QUESTIONS:
        work = task.work(dice)
        asked.setdefault(work.gist, work)
    done: dict[str, Work] = {}
    while len(done) < ITEMS:
        work = task.work(dice)
        if work.gist not in asked:
            done.setdefault(work.text, work)
    return Worker(f"{name}-{seed}-{user:06d}", habit, tuple(done.values()), tuple(asked.values()))


def write_lamp(questions: WorldLamp, folder: str | os.PathLike[str]) -> None:
    """`SPLIT_questions.json` and `SPLIT_outputs.json` as LaMP publishes them: then `lamp-3:FOLDER/SPLIT`."""
    if not questions.split:
        raise DataError(f"{questions.spec} names no split, and LaMP's files are by split: write {questions.spec}/test")
    records = [dict(record) for record in questions.records.scan()]
    golds = [{"id": record["id"], "output": record.pop("output")} for record in records]
    outputs = {"task": questions.name.removeprefix("world-").replace("lamp-", "LaMP_"), "golds": golds}
    for what, content in (("questions", records), ("outputs", outputs)):
        path = Path(folder, f"{questions.split}_{what}.json")
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _items(task: Task, worker: Worker) -> list[dict[str, Any]]:
    """In the order of their dates."""
    step = _DAYS / ITEMS
    return [
        {"id": f"{place:02d}", **task.item(work, worker.habit.output(work)), "date": _day(place * step)}
        for place, work in enumerate(worker.done)
    ]


def _day(day: float) -> str:
    return (_FIRST + timedelta(int(day))).isoformat()
