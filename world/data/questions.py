"""From a life to its questions: wording, rubric, and the searches that a perfect searcher would make."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...envs.question import Aspect, Rubric
from .documents import DatedDocuments
from .person import Fact, Life, Relation
from .rng import Dice
from .tables import CommonFact, Domain, Tables, Value


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that an answer must hold; `pool` is what could be said instead, `entry` where the diary tells it."""

    about: str
    value: Value
    pool: Iterable[Value]
    reason: str
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A question before its diary is bound."""

    hops: int
    category: str
    text: str
    points: tuple[Point, ...]
    reference: str
    queries: tuple[str, ...] = ()

    def rubric(self, diary: DatedDocuments) -> Rubric:
        """The hidden part; a value that this question accepts anywhere is rejected nowhere."""
        own = {form for point in self.points for form in point.value}
        aspects = tuple(_aspect(point, own, diary) for point in self.points)
        return Rubric(_narrative(self), aspects, self.reference, self.hops)


_MINE = "What holds for me today may hold for nobody else."
_WHO = "The name shows who is meant."
_COMMON = "This is the same for everybody."


class Asker:
    """Words the questions of one life: two each of no hop, one hop and two hops."""

    def __init__(self, dice: Dice, tables: Tables, life: Life) -> None:
        self._dice, self._tables, self._life = dice, tables, life

    def drafts(self, order: Sequence[int]) -> list[Draft]:
        """The questions in the order of their hops."""
        made = {0: self._common(), 1: self._own(), 2: self._related()}
        return [next(made[hops]) for hops in order]

    def _common(self) -> Iterator[Draft]:
        for domain, custom in self._life.customs:
            yield self._custom_draft(domain, custom)

    def _own(self) -> Iterator[Draft]:
        """About one fact or two of one domain; mostly with the general rule of that domain."""
        for domain in self._life.domains:
            form = self._dice.roll()
            facts = self._dice.sample(self._life.facts[domain.name], 1 if form < 0.5 else 2)
            yield self._own_draft(domain, facts, tip=form < 0.8)

    def _related(self) -> Iterator[Draft]:
        """About one or two things that hold for somebody or something that the question names by its role only."""
        for bond in self._life.bonds:
            form = self._dice.roll()
            facts = self._dice.sample(bond.facts, 1 if form < 0.5 else 2)
            yield self._related_draft(bond, facts, tip=form < 0.8)

    def _custom_draft(self, domain: Domain, custom: CommonFact) -> Draft:
        dice, tables = self._dice, self._tables
        uses = [*(other.use for other in domain.customs), *domain.odd]
        details = [(detail,) for details in tables.details.values() for detail in details]
        text = dice.pick(tables.customs_asks).format(do=custom.do, how=custom.how, role=dice.pick(tables.roles).word)
        points = (
            Point(f"what people use to {custom.do}", custom.use, uses, _COMMON),
            Point(f"{custom.how} they do it", (custom.detail,), details, _COMMON),
        )
        reference = f"To {custom.do}, most people use {custom.use[0]}, {custom.detail}."
        return Draft(0, domain.name, text, points, reference)

    def _own_draft(self, domain: Domain, facts: list[Fact], tip: bool) -> Draft:
        asks = [self._dice.pick(fact.topic.asks) for fact in facts]
        text = self._joined(asks, tip) + "?"
        if len(asks) == 1 or not tip:  # a short one
            text = f"{self._dice.pick(self._tables.leads)} {text}"
        points = (*map(_point, facts), *self._tip_points(domain, tip))
        reference = f"In your case, {_advice(facts, domain, tip)}."
        return Draft(1, domain.name, _capital(text), points, reference, tuple(fact.topic.query for fact in facts))

    def _related_draft(self, bond: Relation, facts: list[Fact], tip: bool) -> Draft:
        role, dice, kind = bond.role, self._dice, bond.role.kind
        asks = self._joined([dice.pick(fact.topic.asks) for fact in facts], tip)
        text = dice.pick(kind.frames).format(role=role.word, asks=asks, day=dice.pick(self._tables.days))
        names = [(name,) for name in self._life.names]
        who = Point(f"the name of my {role.word}", (bond.name,), names, _WHO, bond.entry)
        points = (who, *map(_point, facts), *self._tip_points(role.domain, tip))
        reference = f"For {bond.name}, {_advice(facts, role.domain, tip)}."
        queries = (kind.query.format(role=role.word), *(f"{bond.name} {fact.topic.query}" for fact in facts))
        return Draft(2, role.domain.name, text, points, reference, queries)

    def _joined(self, asks: list[str], tip: bool) -> str:
        clauses = [*asks, self._dice.pick(self._tables.tip_asks)] if tip else asks
        return f"{', '.join(clauses[:-1])}, and {clauses[-1]}"

    def _tip_points(self, domain: Domain, tip: bool) -> list[Point]:
        tips = [other.tip for other in self._tables.domains]
        return [Point(f"the general rule of {domain.name}", domain.tip, tips, _COMMON)] if tip else []


def _point(fact: Fact) -> Point:
    return Point(fact.topic.about.format(n=fact.name), fact.value, fact.topic.values, _MINE, fact.entry)


def _advice(facts: list[Fact], domain: Domain, tip: bool) -> str:
    clauses = [fact.topic.answer.format(v=fact.value[0]) for fact in facts]
    if tip:
        clauses.append(f"as a rule, {domain.tip[0]}")
    return f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _aspect(point: Point, own: set[str], diary: DatedDocuments) -> Aspect:
    rejected = tuple(form for value in point.pool for form in value if form not in own)
    title = _capital(point.about)
    if point.entry is None:
        return Aspect(title, point.reason, f"Everybody knows: {point.value[0]}.", point.value, rejected)
    document = diary[point.entry]
    return Aspect(title, point.reason, f"{document.date}: {document.text}", point.value, rejected, (document.id,))


def _narrative(draft: Draft) -> str:
    opening = (
        "What most people do is what I want to hear, as there is nothing special about me here."
        if draft.hops == 0
        else "I wrote about this before, so I hope for an answer that is about me and not about just anyone."
    )
    return " ".join([opening, *(f"It should know {point.about}: {point.value[0]}." for point in draft.points)])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
