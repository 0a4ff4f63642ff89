"""A question with somebody else's history, or with none: controls for what the right one is worth."""

from dataclasses import replace
from hashlib import blake2b
from typing import Literal, get_args

from ...errors import DataError, OptionError
from ..question import Profile, Question
from .question_set import QuestionSet

ProfileOf = Literal["own", "random", "empty"]


def swapped(question: Question, profile: ProfileOf, questions: QuestionSet) -> Question:
    """The same question over `own`, `random` (another user's, always the same one) or `empty` posts."""
    match profile:
        case "own":
            return question
        case "empty":
            return replace(question, profile=Profile(question.user_id, ()))
        case "random":
            return replace(question, profile=_another(question, questions).profile)
    raise OptionError(f"profile={profile!r}: give one of {', '.join(get_args(ProfileOf))}")


def _another(question: Question, questions: QuestionSet) -> Question:
    """Drawn by the question's id, so that the order of play does not matter."""
    first = int.from_bytes(blake2b(question.id.encode(), digest_size=6).digest())
    for step in range(len(questions)):
        other = questions[(first + step) % len(questions)]
        if other.user_id != question.user_id:
            return other
    raise DataError(f"{questions.spec} has no user but {question.user_id!r}: there is no other profile to show")
