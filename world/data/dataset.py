"""The questions of the world, made when they are asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

from ..._util.lru import Lru
from ...envs.data.leaks import Leaks
from ...envs.data.question_set import QuestionSet
from ...envs.question import Profile, Question
from ...errors import DataError, OptionError
from .person import LEAST, Life
from .questions import Asker
from .rng import Dice, person_seed
from .spec import need, read_spec
from .tables import load_tables

# Which users a split holds, by the last digit of their number.
SPLITS = {"train": (0, 1, 2, 3, 4, 5), "validation": (6,), "test": (7, 8), "test_unseen": (9,), "": tuple(range(10))}
_MOST = 1000  # documents of a profile
_REMEMBERED = 100_000  # documents, about 35 MB
_ORDERS = tuple(sorted(set(permutations((0, 0, 1, 1, 2, 2)))))  # of a person's questions, by hops


@dataclass(frozen=True, slots=True)
class Options:
    """What a spec may set; `hops` None means all."""

    seed: int = 0
    users: int = 500
    docs: int = 100
    hops: int | None = None

    def __post_init__(self) -> None:
        need("world", "seed", self.seed, self.seed >= 0, "0 or more")
        need("world", "users", self.users, self.users >= 1, "1 or more")
        need("world", "docs", self.docs, LEAST <= self.docs <= _MOST, f"from {LEAST} (the facts need them) to {_MOST}")
        need("world", "hops", self.hops, self.hops in (None, 0, 1, 2), "0, 1 or 2; leave it out for all")


@dataclass(frozen=True, slots=True)
class Person:
    """A person's questions in order, and for each the queries that find its evidence."""

    questions: tuple[Question, ...]
    plans: tuple[tuple[str, ...], ...]


def load(name: str, rest: str) -> "World":
    """`load("world", "seed=7,users=50/test")`."""
    given, split = read_spec(name, rest, Options, SPLITS)
    return World(Options(**given), split, f"{name}:{rest}" if rest else name)


class World(QuestionSet):
    """Questions 0 to 5 of person 0, then those of the next person of the split; `hops` keeps two of the six."""

    def __init__(self, options: Options, split: str, spec: str) -> None:
        super().__init__(spec)
        self.options = options
        self._split = split
        self._users = [user for user in range(options.users) if user % 10 in SPLITS[split]]
        if not self._users:
            last = SPLITS[split][0]
            raise OptionError(f"world: users={options.users} leaves split {split!r} empty; ask for {last + 1} or more")
        self._people: Lru[int, Person] = Lru(max(16, _REMEMBERED // options.docs))

    def __len__(self) -> int:
        return len(self._users) * self._each

    def __reduce__(self) -> tuple[object, ...]:
        return World, (self.options, self._split, self.spec)

    @cached_property
    def ids(self) -> Sequence[str]:
        seed = self.options.seed
        return [f"world-{seed}-{user:06d}-{number}" for user in self._users for number in self._numbers(user)]

    def load(self, position: int) -> Question:
        user = self._users[position // self._each]
        return self._person(user).questions[self._numbers(user)[position % self._each]]

    def find(self, question_id: str) -> Question:
        user, number = self._place(question_id)
        return self._person(user).questions[number]

    def screened(self, leaks: Leaks) -> "World":
        """Made without leaks: there is nothing to leave out."""
        return World(self.options, self._split, f"{self.spec},leaks={leaks}")

    def plan(self, question_id: str) -> tuple[str, ...]:
        """The queries of a perfect searcher: none, one a fact, or the role first and then what bears its name."""
        user, number = self._place(question_id)
        return self._person(user).plans[number]

    @property
    def _each(self) -> int:
        return 6 if self.options.hops is None else 2

    def _numbers(self, user: int) -> Sequence[int]:
        """Which of a person's questions are in this set, known without making the person."""
        if self.options.hops is None:
            return range(6)
        return [number for number, hops in enumerate(_order(self.options.seed, user)) if hops == self.options.hops]

    def _place(self, question_id: str) -> tuple[int, int]:
        match = re.fullmatch(rf"world-{self.options.seed}-(\d{{6,}})-([0-5])", question_id, re.ASCII)
        user, number = map(int, match.groups()) if match else (-1, 0)
        if (
            not 0 <= user < self.options.users
            or user % 10 not in SPLITS[self._split]
            or number not in self._numbers(user)
        ):
            raise DataError(f"no question {question_id!r} in {self.spec}; its ids look like: {', '.join(self.ids[:3])}")
        return user, number

    def _person(self, user: int) -> Person:
        person = self._people.get(user)
        if person is None:
            person = make_person(self.options.seed, user, self.options.docs)
            self._people.put(user, person)
        return person


def make_person(seed: int, user: int, docs: int) -> Person:
    """The facts first, so that they are the same for any number of documents."""
    unseen = user % 10 in SPLITS["test_unseen"]
    dice, tables = Dice(person_seed(seed, user)), load_tables(unseen)
    life = Life(dice, tables, unseen)
    drafts = Asker(dice, tables, life).drafts(_order(seed, user))
    life.add_small_talk(docs)
    user_id, diary = f"world-{seed}-{user:06d}", life.diary.bind()
    profile = Profile(user_id, diary.documents)
    questions = (
        Question(f"{user_id}-{i}", user_id, d.text, profile, d.rubric(diary), d.category, life.diary.later_date())
        for i, d in enumerate(drafts)
    )
    return Person(tuple(questions), tuple(draft.queries for draft in drafts))


def plan_of(question_id: str) -> tuple[str, ...]:
    """The queries of a perfect searcher for any question of any world: its id says who asked."""
    match = re.fullmatch(r"world-(\d+)-(\d{6,})-([0-5])", question_id, re.ASCII)
    if match is None:
        raise DataError(f"no plan is known for question {question_id!r}: only the world's, such as world-7-000012-0")
    seed, user, number = map(int, match.groups())
    return _plans(seed, user)[number]


@lru_cache(maxsize=1024)
def _plans(seed: int, user: int) -> tuple[tuple[str, ...], ...]:
    return make_person(seed, user, LEAST).plans


def _order(seed: int, user: int) -> tuple[int, ...]:
    return _ORDERS[person_seed(seed, user) % len(_ORDERS)]
