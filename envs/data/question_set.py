"""A sequence of questions that need not be in memory."""

from abc import abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Self, overload

from ...errors import DataError
from ..question import Question
from .leaks import Leaks, without_leaks


class QuestionSet(Sequence[Question]):
    """Questions by position or by id; a data set implements `ids` and `load`, and may load lazily."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]: ...

    @abstractmethod
    def load(self, position: int) -> Question:
        """The question at a position between 0 and `len - 1`."""

    @staticmethod
    def from_hf(
        dataset: Sequence[Mapping[str, Any]], mapping: Mapping[str, str] | None = None, spec: str = "a dataset"
    ) -> "QuestionSet":
        """The questions of a `datasets.Dataset`, or of any sequence of rows.

        `mapping` names the column of a field where it has another name: `{"id": "qid", "text": "question"}`; with a
        dot, a field of the documents or of the rubric: `{"profile.text": "body", "rubric.reference": "answer"}`.
        """
        from .hf_dataset import from_rows

        return from_rows(dataset, mapping or {}, spec)

    def to_hf(self) -> Any:
        """A `datasets.Dataset` with a question a row, which `from_hf` reads back."""
        from .hf_dataset import to_dataset

        return to_dataset(self)

    def find(self, question_id: str) -> Question:
        try:
            return self.load(self._positions[question_id])
        except KeyError:
            some = ", ".join(self.ids[:3])
            raise DataError(f"no question {question_id!r} in {self.spec}; its ids look like: {some}") from None

    def user_of(self, position: int) -> str:
        """The user of the question at a position; a data set that loads lazily may know it without loading."""
        return self.load(position).user_id

    def first_of(self, user_id: str) -> int | None:
        """The position of a user's first question; None if the user has none."""
        return self._firsts.get(user_id)

    def screened(self, leaks: Leaks) -> "QuestionSet":
        """The same questions, each without what counts as a leak."""
        return _Screened(self, leaks)

    def __len__(self) -> int:
        return len(self.ids)

    def __deepcopy__(self, _: object) -> Self:
        """Questions do not change, and there may be very many: Gymnasium copies what an environment was made of."""
        return self

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> list[Question]: ...
    def __getitem__(self, index: int | slice) -> Question | list[Question]:
        if isinstance(index, slice):
            return [self.load(i) for i in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"question {index} of {len(self)} in {self.spec}")
        return self.load(position)

    def __iter__(self) -> Iterator[Question]:
        return map(self.load, range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} questions of {self.spec}>"

    def _refuse_twins(self) -> None:
        if len(self._positions) < len(self):
            twice = next(name for name, times in Counter(self.ids).items() if times > 1)
            raise DataError(f"{self.spec} has two questions with the id {twice!r}; expected an id of its own for each")

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {question_id: position for position, question_id in enumerate(self.ids)}

    @cached_property
    def _firsts(self) -> dict[str, int]:
        return {self.user_of(position): position for position in reversed(range(len(self)))}


class QuestionList(QuestionSet):
    """Questions that are in memory already."""

    def __init__(self, questions: Sequence[Question], spec: str = "a list") -> None:
        super().__init__(spec)
        self._questions = list(questions)
        self._refuse_twins()

    @cached_property
    def ids(self) -> Sequence[str]:
        return [question.id for question in self._questions]

    def load(self, position: int) -> Question:
        return self._questions[position]


class JoinedQuestions(QuestionSet):
    """The questions of several sets, one set after another."""

    def __init__(self, parts: Sequence[QuestionSet], spec: str) -> None:
        super().__init__(spec)
        self._parts = parts
        self._starts = list(accumulate((len(part) for part in parts), initial=0))
        self._refuse_twins()

    @cached_property
    def ids(self) -> Sequence[str]:
        return [name for part in self._parts for name in part.ids]

    def load(self, position: int) -> Question:
        part = bisect_right(self._starts, position) - 1
        return self._parts[part].load(position - self._starts[part])

    def user_of(self, position: int) -> str:
        part = bisect_right(self._starts, position) - 1
        return self._parts[part].user_of(position - self._starts[part])

    def screened(self, leaks: Leaks) -> "JoinedQuestions":
        return JoinedQuestions([part.screened(leaks) for part in self._parts], f"{self.spec},leaks={leaks}")


class ThinnedQuestions(QuestionSet):
    """Each so-manieth question of a set, from its first on."""

    def __init__(self, questions: QuestionSet, every: int) -> None:
        super().__init__(f"{questions.spec},every={every}")
        self._questions, self._every = questions, every

    @cached_property
    def ids(self) -> Sequence[str]:
        return self._questions.ids[:: self._every]

    def load(self, position: int) -> Question:
        return self._questions.load(position * self._every)

    def user_of(self, position: int) -> str:
        return self._questions.user_of(position * self._every)

    def screened(self, leaks: Leaks) -> "ThinnedQuestions":
        return ThinnedQuestions(self._questions.screened(leaks), self._every)


class _Screened(QuestionSet):
    """Questions of a set that does not look for leaks itself."""

    def __init__(self, questions: QuestionSet, leaks: Leaks) -> None:
        super().__init__(f"{questions.spec},leaks={leaks}")
        self._questions = questions
        self._leaks: Leaks = leaks

    @property
    def ids(self) -> Sequence[str]:
        return self._questions.ids

    def load(self, position: int) -> Question:
        return without_leaks(self._questions.load(position), self._leaks)

    def user_of(self, position: int) -> str:
        return self._questions.user_of(position)

    def first_of(self, user_id: str) -> int | None:
        return self._questions.first_of(user_id)

    def find(self, question_id: str) -> Question:
        return without_leaks(self._questions.find(question_id), self._leaks)
