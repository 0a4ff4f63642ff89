"""The questions of the world, generated on access."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

from ..._util.lru import Lru
from ...envs.data.leaks import Leaks
from ...envs.data.question_set import QuestionSet
from ...envs.question import Profile, Question
from ...errors import DataError
from .person import MIN_DOCUMENTS, Person
from .questions import QuestionWriter
from .rng import Rng, user_seed
from .spec import Options, read_spec, require, users_of_split
from .tables import load_tables

# The users of a split, by the last digit of their number.
SPLITS = {"train": (0, 1, 2, 3, 4, 5), "validation": (6,), "test": (7, 8), "test_unseen": (9,), "": tuple(range(10))}
_MAX_DOCUMENTS = 1000  # per profile
_CACHED = 100_000  # documents kept in memory, about 35 MB
_ORDERS = tuple(sorted(set(permutations((0, 0, 1, 1, 2, 2)))))  # of a user's questions, by hops


@dataclass(frozen=True, slots=True)
class WorldOptions(Options):
    """Options of a spec; `hops` None means all."""

    docs: int = 100
    hops: int | None = None

    def __post_init__(self) -> None:
        self.check("world")
        limits = f"from {MIN_DOCUMENTS} (the facts need them) to {_MAX_DOCUMENTS}"
        require("world", "docs", self.docs, MIN_DOCUMENTS <= self.docs <= _MAX_DOCUMENTS, limits)
        require("world", "hops", self.hops, self.hops in (None, 0, 1, 2), "0, 1 or 2; leave it out for all")


@dataclass(frozen=True, slots=True)
class UserQuestions:
    """A user's questions in order, and for each the queries that find its evidence."""

    questions: tuple[Question, ...]
    queries: tuple[tuple[str, ...], ...]


def load(name: str, rest: str) -> "World":
    """`load("world", "seed=7,users=50/test")`."""
    given, split = read_spec(name, rest, WorldOptions, SPLITS)
    return World(WorldOptions(**given), split, f"{name}:{rest}" if rest else name)


class World(QuestionSet):
    """Questions 0 to 5 of the split's first user, then those of the next; `hops` keeps two of the six."""

    def __init__(self, options: WorldOptions, split: str, spec: str) -> None:
        super().__init__(spec)
        self.options = options
        self._split = split
        self._users = users_of_split("world", options.users, split, SPLITS)
        self._cache: Lru[int, UserQuestions] = Lru(max(16, _CACHED // options.docs))

    def __len__(self) -> int:
        return len(self._users) * self._per_user

    def __reduce__(self) -> tuple[object, ...]:
        return World, (self.options, self._split, self.spec)

    @cached_property
    def ids(self) -> Sequence[str]:
        seed = self.options.seed
        return [f"world-{seed}-{user:06d}-{number}" for user in self._users for number in self._numbers(user)]

    def load(self, position: int) -> Question:
        user = self._users[position // self._per_user]
        return self._user(user).questions[self._numbers(user)[position % self._per_user]]

    def user_of(self, position: int) -> str:
        return self._user_id(self._users[position // self._per_user])

    def first_of(self, user_id: str) -> int | None:
        number = user_id.removeprefix(f"world-{self.options.seed}-")
        user = int(number) if number.isdecimal() else -1
        if user not in self._users or user_id != self._user_id(user):
            return None
        return self._users.position(user) * self._per_user

    def find(self, question_id: str) -> Question:
        user, number = self._locate(question_id)
        return self._user(user).questions[number]

    def screened(self, leaks: Leaks) -> "World":
        """Generated profiles contain no leaks, so nothing is removed."""
        return World(self.options, self._split, f"{self.spec},leaks={leaks}")

    def gold_queries(self, question_id: str) -> tuple[str, ...]:
        """The queries that find all evidence: none, one per fact, or first the role, then facts by name."""
        user, number = self._locate(question_id)
        return self._user(user).queries[number]

    @property
    def _per_user(self) -> int:
        return 6 if self.options.hops is None else 2

    def _numbers(self, user: int) -> Sequence[int]:
        """The numbers of a user's questions in this set; does not generate the user."""
        if self.options.hops is None:
            return range(6)
        return [number for number, hops in enumerate(_hops_order(self.options.seed, user)) if hops == self.options.hops]

    def _locate(self, question_id: str) -> tuple[int, int]:
        match = re.fullmatch(rf"world-{self.options.seed}-(\d{{6,}})-([0-5])", question_id, re.ASCII)
        user, number = map(int, match.groups()) if match else (-1, 0)
        if user not in self._users or number not in self._numbers(user):
            raise DataError(f"no question {question_id!r} in {self.spec}; its ids look like: {', '.join(self.ids[:3])}")
        return user, number

    def _user_id(self, user: int) -> str:
        return f"world-{self.options.seed}-{user:06d}"

    def _user(self, user: int) -> UserQuestions:
        made = self._cache.get(user)
        if made is None:
            made = make_user_questions(self.options.seed, user, self.options.docs)
            self._cache.put(user, made)
        return made


def make_user_questions(seed: int, user: int, docs: int) -> UserQuestions:
    """Facts are sampled before small talk, so they do not depend on the number of documents."""
    unseen = user % 10 in SPLITS["test_unseen"]
    rng, tables = Rng(user_seed(seed, user)), load_tables(unseen)
    person = Person(rng, tables, unseen)
    drafts = QuestionWriter(rng, tables, person).drafts(_hops_order(seed, user))
    person.add_small_talk(docs)
    user_id, documents = f"world-{seed}-{user:06d}", person.documents.finish()
    profile = Profile(user_id, tuple(documents.values()))
    questions = []
    for number, draft in enumerate(drafts):
        date, rubric = person.documents.question_date(), draft.rubric(documents)
        questions.append(Question(f"{user_id}-{number}", user_id, draft.text, profile, rubric, draft.category, date))
    return UserQuestions(tuple(questions), tuple(draft.queries for draft in drafts))


def gold_queries(question_id: str) -> tuple[str, ...]:
    """The queries that find all evidence of a question, for any seed: the id contains seed and user."""
    match = re.fullmatch(r"world-(\d+)-(\d{6,})-([0-5])", question_id, re.ASCII)
    if match is None:
        raise DataError(
            f"question {question_id!r} has no gold queries: only the world's have, such as world-7-000012-0"
        )
    seed, user, number = map(int, match.groups())
    return _all_queries(seed, user)[number]


@lru_cache(maxsize=1024)
def _all_queries(seed: int, user: int) -> tuple[tuple[str, ...], ...]:
    return make_user_questions(seed, user, MIN_DOCUMENTS).queries


def _hops_order(seed: int, user: int) -> tuple[int, ...]:
    return _ORDERS[user_seed(seed, user) % len(_ORDERS)]
