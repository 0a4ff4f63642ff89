"""An exact, deterministic judge for data whose aspects list accepted and rejected phrases, such as the world."""

from collections.abc import Sequence
from functools import lru_cache

from .._util.words import folded, words
from ..envs.episode import Episode
from ..envs.question import Aspect, Question
from ..envs.reward import AspectMatch, Reward, Verdict
from ..errors import RewardError
from .judge import Closing, Pair, answers_of, judged

_Phrases = tuple[tuple[str, str], ...]  # as written in the rubric, and as they are searched


class RubricJudge(Closing):
    """Matches an aspect 2 for an accepted phrase alone, 1 beside one rejected phrase, 0 beside two or more.

    So listing many guesses never scores better than giving one.
    """

    name = "rubric"

    def verdict(self, question: Question, answer: str) -> Verdict:
        """The synchronous form of `score`."""
        aspects = question.rubric.aspects
        text = _searchable(answer)
        matches = tuple([_match(question, aspect, text) for aspect in aspects])
        if not matches:
            raise _not_scorable(question)
        return Verdict(self.name, sum([match.match for match in matches]) / (2 * len(matches)), matches)

    async def score(self, question: Question, answer: str) -> Verdict:
        return self.verdict(question, answer)

    async def score_many(self, pairs: Sequence[Pair]) -> list[Verdict | RewardError]:
        return [self.verdict_or_error(*pair) for pair in pairs]

    async def prefer(self, question: Question, first: str, second: str) -> int:
        """1 where the first answer scores higher, -1 where the second does, 0 where neither."""
        one, other = self.verdict(question, first).score, self.verdict(question, second).score
        return (one > other) - (one < other)

    def verdict_or_error(self, question: Question, answer: str) -> Verdict | RewardError:
        try:
            return self.verdict(question, answer)
        except RewardError as error:
            return error


class RubricReward:
    """The score of a `RubricJudge`, without an event loop."""

    parts_sum = True
    runs_inline = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        judge = RubricJudge()
        return [
            judged(episode, judge.verdict_or_error(*pair))
            for episode, pair in zip(episodes, answers_of(episodes), strict=True)
        ]

    def check(self, questions: Sequence[Question]) -> None:
        """Raises `RewardError` where none of the questions can be scored."""
        if questions and not any(map(_is_scorable, questions)):
            raise RewardError(
                "reward='rubric' looks for the phrases that aspects accept, and none of these "
                f"{len(questions)} questions lists any: name an evaluator LLM instead, reward='score:openai:MODEL', "
                "compare with references, reward='f1', or score elsewhere, reward='none'"
            )


def _is_scorable(question: Question) -> bool:
    aspects = question.rubric.aspects
    return bool(aspects) and all(_phrases(aspect)[0] for aspect in aspects)


def _match(question: Question, aspect: Aspect, text: str) -> AspectMatch:
    accepted, rejected = _phrases(aspect)
    if not accepted:
        raise _not_scorable(question)
    said = [phrase for phrase, sought in accepted if sought in text]
    wrong = _mentions([(phrase, sought) for phrase, sought in rejected if sought in text])
    match = max(0, 2 - len(wrong)) if said else 0
    return AspectMatch(aspect.title, match, _reason(said, wrong))


def _mentions(found: list[tuple[str, str]]) -> list[str]:
    """Leaves out phrases that are part of another one found, as 'long screw' is of 'a long screw'."""
    return [p for p, sought in found if not any(sought != other and sought in other for _, other in found)]


def _reason(said: list[str], wrong: list[str]) -> str:
    beside = f"mentions {_listed(wrong)}, which is not, or no longer, so" if wrong else ""
    if not said:
        return beside or "says nothing of it"
    return f"says '{said[0]}', but also {beside}" if wrong else f"says '{said[0]}'"


def _listed(phrases: list[str]) -> str:
    shown = ", ".join(f"'{phrase}'" for phrase in phrases[:3])
    return f"{shown} and {len(phrases) - 3} more" if len(phrases) > 3 else shown


@lru_cache(maxsize=65_536)
def _phrases(aspect: Aspect) -> tuple[_Phrases, _Phrases]:
    accepted, rejected = (
        tuple((phrase, sought) for phrase in phrases if (sought := _sought(phrase)))
        for phrases in (aspect.accepted, aspect.rejected)
    )
    return accepted, rejected


def _sought(phrase: str) -> str:
    """The words of a phrase; of one without any, as an emoji is, its signs."""
    text = folded(phrase)
    return _spaced(text) if words(text) else text.strip()


def _searchable(answer: str) -> str:
    """The words of the answer, and then the answer itself, in which phrases without words are found."""
    text = folded(answer)
    return f"{_spaced(text)}\n{text}"


def _spaced(text: str) -> str:
    """Words between single spaces, so that substring search respects word boundaries."""
    return f" {' '.join(words(text))} "


def _not_scorable(question: Question) -> RewardError:
    return RewardError(
        f"rubric looks for the phrases that aspects accept, and an aspect of {question.id!r} lists none: "
        "name an evaluator LLM as the judge instead, openai:MODEL"
    )
