"""Generates a user's questions, rubrics and gold queries."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...envs.question import Aspect, Document, HistoryUse, Rubric
from .person import Fact, Person, Relation
from .rng import Rng
from .tables import CommonFact, Domain, Tables, Value


@dataclass(frozen=True, slots=True)
class AspectDraft:
    """One aspect of an answer; `pool` are the alternative values, `entry` states the value."""

    about: str
    value: Value
    pool: Iterable[Value]
    reason: str
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class QuestionDraft:
    """A question before its documents are dated."""

    hops: int
    category: str
    text: str
    aspects: tuple[AspectDraft, ...]
    reference: str
    queries: tuple[str, ...] = ()

    def rubric(self, documents: Mapping[int, Document]) -> Rubric:
        """The rubric; a value accepted in one aspect is not rejected in another."""
        own = {form for aspect in self.aspects for form in aspect.value}
        aspects = tuple(_aspect(aspect, own, documents) for aspect in self.aspects)
        history: HistoryUse = "needed" if self.hops else "unneeded"
        return Rubric(_narrative(self), aspects, self.reference, self.hops, history)


_MINE = "What holds for me today may hold for nobody else."
_WHO = "The name shows who is meant."
_COMMON = "This is the same for everybody."


class QuestionWriter:
    """Writes a user's questions: two each with zero, one and two hops."""

    def __init__(self, rng: Rng, tables: Tables, person: Person) -> None:
        self._rng, self._tables, self._person = rng, tables, person

    def drafts(self, order: Sequence[int]) -> list[QuestionDraft]:
        """One question for each number of hops in `order`."""
        made = {0: self._common(), 1: self._own(), 2: self._related()}
        return [next(made[hops]) for hops in order]

    def _common(self) -> Iterator[QuestionDraft]:
        for domain, common_fact in self._person.common_facts:
            yield self._common_fact_draft(domain, common_fact)

    def _own(self) -> Iterator[QuestionDraft]:
        """About one or two facts of a domain, mostly with its general rule."""
        for domain in self._person.domains:
            form = self._rng.random()
            facts = self._rng.sample(self._person.facts[domain.name], 1 if form < 0.5 else 2)
            yield self._own_draft(domain, facts, tip=form < 0.8)

    def _related(self) -> Iterator[QuestionDraft]:
        """About one or two facts of a relation that the question names by role only."""
        for relation in self._person.relations:
            form = self._rng.random()
            facts = self._rng.sample(relation.facts, 1 if form < 0.5 else 2)
            yield self._related_draft(relation, facts, tip=form < 0.8)

    def _common_fact_draft(self, domain: Domain, common_fact: CommonFact) -> QuestionDraft:
        rng, tables = self._rng, self._tables
        uses = [*(other.use for other in domain.common_facts), *domain.odd]
        details = [(detail,) for details in tables.details.values() for detail in details]
        ask, role = rng.choice(tables.common_fact_asks), rng.choice(tables.roles).word
        text = ask.format(do=common_fact.do, how=common_fact.how, role=role)
        aspects = (
            AspectDraft(f"what people use to {common_fact.do}", common_fact.use, uses, _COMMON),
            AspectDraft(f"{common_fact.how} they do it", (common_fact.detail,), details, _COMMON),
        )
        reference = f"To {common_fact.do}, most people use {common_fact.use[0]}, {common_fact.detail}."
        return QuestionDraft(0, domain.name, text, aspects, reference)

    def _own_draft(self, domain: Domain, facts: list[Fact], tip: bool) -> QuestionDraft:
        asks = [self._rng.choice(fact.topic.asks) for fact in facts]
        text = self._joined(asks, tip) + "?"
        if len(asks) == 1 or not tip:  # a short one
            text = f"{self._rng.choice(self._tables.leads)} {text}"
        aspects = (*map(_aspect_of, facts), *self._tip_aspects(domain, tip))
        reference = f"In your case, {_advice(facts, domain, tip)}."
        queries = tuple(fact.topic.query for fact in facts)
        return QuestionDraft(1, domain.name, _capital(text), aspects, reference, queries)

    def _related_draft(self, relation: Relation, facts: list[Fact], tip: bool) -> QuestionDraft:
        role, rng, kind = relation.role, self._rng, relation.role.kind
        asks = self._joined([rng.choice(fact.topic.asks) for fact in facts], tip)
        text = rng.choice(kind.frames).format(role=role.word, asks=asks, day=rng.choice(self._tables.days))
        names = [(name,) for name in self._person.names]
        who = AspectDraft(f"the name of my {role.word}", (relation.name,), names, _WHO, relation.entry)
        aspects = (who, *map(_aspect_of, facts), *self._tip_aspects(role.domain, tip))
        reference = f"For {relation.name}, {_advice(facts, role.domain, tip)}."
        queries = (kind.query.format(role=role.word), *(f"{relation.name} {fact.topic.query}" for fact in facts))
        return QuestionDraft(2, role.domain.name, text, aspects, reference, queries)

    def _joined(self, asks: list[str], tip: bool) -> str:
        clauses = [*asks, self._rng.choice(self._tables.tip_asks)] if tip else asks
        return f"{', '.join(clauses[:-1])}, and {clauses[-1]}"

    def _tip_aspects(self, domain: Domain, tip: bool) -> list[AspectDraft]:
        tips = [other.tip for other in self._tables.domains]
        return [AspectDraft(f"the general rule of {domain.name}", domain.tip, tips, _COMMON)] if tip else []


def _aspect_of(fact: Fact) -> AspectDraft:
    return AspectDraft(fact.topic.about.format(n=fact.name), fact.value, fact.topic.values, _MINE, fact.entry)


def _advice(facts: list[Fact], domain: Domain, tip: bool) -> str:
    clauses = [fact.topic.answer.format(v=fact.value[0]) for fact in facts]
    if tip:
        clauses.append(f"as a rule, {domain.tip[0]}")
    return f"{', '.join(clauses[:-1])} and {clauses[-1]}"


def _aspect(aspect: AspectDraft, own: set[str], documents: Mapping[int, Document]) -> Aspect:
    rejected = tuple(form for value in aspect.pool for form in value if form not in own)
    title = _capital(aspect.about)
    if aspect.entry is None:
        return Aspect(title, aspect.reason, f"Everybody knows: {aspect.value[0]}.", aspect.value, rejected)
    document = documents[aspect.entry]
    return Aspect(title, aspect.reason, f"{document.date}: {document.text}", aspect.value, rejected, (document.id,))


def _narrative(draft: QuestionDraft) -> str:
    opening = (
        "What most people do is what I want to hear, as there is nothing special about me here."
        if draft.hops == 0
        else "I wrote about this before, so I hope for an answer that is about me and not about just anyone."
    )
    return " ".join([opening, *(f"It should know {aspect.about}: {aspect.value[0]}." for aspect in draft.aspects)])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
