"""Short lessons that come before whole demonstrations: one thing each, by a player who does all of it right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from ...agents.plan import COVER
from ...envs.data import QuestionSet
from ...envs.trajectory import Segment, Trajectory
from ...training.settings import Count, Part, Positive, Share
from .reading import NEWER, OLDER, lines_of
from .rewording import Rewording


class Short(Part):
    """How many of them, and of which."""

    copying: Count  # steps with other words everywhere, so that nothing but copying helps
    steps: Count  # after them
    kept: Share  # as many go on among the demonstrations, as a share of these
    revised: Positive  # weight of an excerpt in which something is told anew; others have 1
    outlines: Positive  # weight of an outline


@dataclass(slots=True)
class _Kind:
    lessons: list[list[Segment]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


class ShortLessons:
    """Excerpts and outlines, with the world's words and with others."""

    def __init__(
        self,
        played: Sequence[Trajectory],
        questions: QuestionSet,
        rewording: Rewording,
        recipe: Short,
        luck: Random,
    ) -> None:
        self._plain, self._reworded, self._luck = _Kind(), _Kind(), luck
        for one in played:
            reworded = rewording.apply(one.segments, questions.find(one.question_id), luck)
            for kind, said in ((self._plain, one.segments), (self._reworded, reworded)):
                for excerpt in excerpts(said):
                    kind.lessons.append(excerpt)
                    kind.weights.append(recipe.revised if is_revised(excerpt) else 1.0)
                if one.searches:
                    kind.lessons.append(outline(said))
                    kind.weights.append(recipe.outlines)

    def drawn(self, count: int, reworded: float) -> list[list[Segment]]:
        """So many, a share of them with other words."""
        others = round(count * reworded)
        return [*self._some(self._reworded, others), *self._some(self._plain, count - others)]

    def _some(self, kind: _Kind, count: int) -> list[list[Segment]]:
        return self._luck.choices(kind.lessons, kind.weights, k=count)


def excerpts(said: Sequence[Segment]) -> Iterator[list[Segment]]:
    """A search, what it found and what was thought of that, without anything before or after: how to read."""
    if any(COVER in one.text for one in said):
        return  # several searches are read at once there
    for search, found, turn in zip(said, said[1:], said[2:], strict=False):
        if found.author == "environment" and lines_of(found.text):
            query = "<search>" + search.text.rpartition("<search>")[2]
            thought = turn.text.partition("</think>")[0] + "</think>"
            yield [Segment("environment", query), found, Segment("policy", thought)]


def is_revised(excerpt: Sequence[Segment]) -> bool:
    """Something that was told is told anew there."""
    return any(f"{mark}." in excerpt[-1].text for mark in (NEWER, OLDER))


def outline(said: Sequence[Segment]) -> list[Segment]:
    """What was asked and thought, without the posts: what to search for next, and what to answer."""
    kept = [said[0]]
    for one in said[1:]:
        thought, end, action = one.text.partition("</think>")
        if one.author == "policy":
            kept += [Segment("environment", thought + end), Segment("policy", action)]
        else:
            kept.append(Segment("environment", "\n\n"))
    return kept
