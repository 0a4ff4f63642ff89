"""Short lessons before whole demonstrations, each of one skill, from episodes without flaws."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from pydantic import PositiveFloat, PositiveInt

from ...agents.plan import COVER
from ...envs.data import QuestionSet
from ...envs.trajectory import Segment, Trajectory
from ...training.settings import Fraction, SettingsModel
from .reading import NEWER, OLDER, lines_of
from .rewording import Rewording


class ShortLessonSettings(SettingsModel):
    """How many lessons of which kind."""

    copying: PositiveInt  # steps with substitutes only, which teach copying
    steps: PositiveInt  # steps after these
    kept: Fraction  # share of the demonstrations to mix in later
    revised: PositiveFloat  # weight of an excerpt in which a fact supersedes another; others have 1
    outlines: PositiveFloat  # weight of an outline


@dataclass(slots=True)
class _Pool:
    lessons: list[list[Segment]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


class ShortLessons:
    """Excerpts and outlines, with the world's words and with substitutes."""

    def __init__(
        self,
        played: Sequence[Trajectory],
        questions: QuestionSet,
        rewording: Rewording,
        recipe: ShortLessonSettings,
        rng: Random,
    ) -> None:
        self._plain, self._reworded, self._rng = _Pool(), _Pool(), rng
        for one in played:
            reworded = rewording.apply(one.segments, questions.find(one.question_id), rng)
            for kind, said in ((self._plain, one.segments), (self._reworded, reworded)):
                for excerpt in excerpts(said):
                    kind.lessons.append(excerpt)
                    kind.weights.append(recipe.revised if is_revised(excerpt) else 1.0)
                if one.searches:
                    kind.lessons.append(outline(said))
                    kind.weights.append(recipe.outlines)

    def drawn(self, count: int, reworded: float) -> list[list[Segment]]:
        """Draw `count` lessons, a share of them with substituted words."""
        others = round(count * reworded)
        return [*self._some(self._reworded, others), *self._some(self._plain, count - others)]

    def _some(self, kind: _Pool, count: int) -> list[list[Segment]]:
        return self._rng.choices(kind.lessons, kind.weights, k=count)


def excerpts(said: Sequence[Segment]) -> Iterator[list[Segment]]:
    """A search, its hits and the thought about them, without the rest: how to read."""
    if any(COVER in one.text for one in said):
        return  # a plan reads several searches at once
    for search, found, turn in zip(said, said[1:], said[2:], strict=False):
        if found.author == "environment" and lines_of(found.text):
            query = "<search>" + search.text.rpartition("<search>")[2]
            thought = turn.text.partition("</think>")[0] + "</think>"
            yield [Segment("environment", query), found, Segment("policy", thought)]


def is_revised(excerpt: Sequence[Segment]) -> bool:
    """Whether a fact in the excerpt supersedes another."""
    return any(f"{mark}." in excerpt[-1].text for mark in (NEWER, OLDER))


def outline(said: Sequence[Segment]) -> list[Segment]:
    """The question and the thoughts, without the posts: what to search for next, and what to answer."""
    kept = [said[0]]
    for one in said[1:]:
        thought, end, action = one.text.partition("</think>")
        if one.author == "policy":
            kept += [Segment("environment", thought + end), Segment("policy", action)]
        else:
            kept.append(Segment("environment", "\n\n"))
    return kept
