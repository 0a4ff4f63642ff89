"""Samples one synthetic user: facts, relations, distractors, documents."""

from dataclasses import dataclass, field

from .documents import DocumentWriter
from .names import draw_names
from .rng import Rng
from .tables import CommonFact, Domain, Role, Tables, Topic, Value

MIN_DOCUMENTS = 40  # enough for all facts and distractors
_DOMAINS, _RELATIONS, _QUIRKS, _STRANGERS = 4, 3, 3, 4
_CHANGED, _MISLEADING = 3, 4  # of the eight facts about a user


@dataclass(frozen=True, slots=True)
class Fact:
    """The current value of a topic and the entry that states it; `name` if it is about someone else."""

    topic: Topic
    value: Value
    entry: int
    name: str = ""


@dataclass(slots=True)
class Relation:
    """A person or thing with a role and a name: the entry that states the name, and facts about it."""

    role: Role
    name: str
    entry: int
    facts: list[Fact] = field(default_factory=list)


class Person:
    """One user: every answer is in the documents, among distractors."""

    def __init__(self, rng: Rng, tables: Tables, unseen: bool) -> None:
        self._rng, self._tables = rng, tables
        self.documents = DocumentWriter(rng, tables)
        self.names = draw_names(rng, _RELATIONS + _STRANGERS + 1, unseen, tables.words)
        self._strangers = self.names[_RELATIONS:-1]
        self.domains: list[Domain] = rng.sample(tables.domains, _DOMAINS)
        self.facts: dict[str, list[Fact]] = self._own_facts()
        self.relations: list[Relation] = [
            self._relation(role, name)
            for role, name in zip(rng.sample(tables.roles, _RELATIONS), self.names[:_RELATIONS], strict=True)
        ]
        self._false_role()
        self.common_facts = [(domain, self._add_quirk(domain)) for domain in rng.sample(tables.domains, _QUIRKS)]

    def add_small_talk(self, length: int) -> None:
        """Adds entries without facts up to this number of documents."""
        rng, tables, documents = self._rng, self._tables, self.documents
        while len(documents) < length:
            text, values = rng.choice(tables.noise)
            value = rng.choice(values)[0]
            documents.write(text.format(v=value, day=rng.choice(tables.days), place=rng.choice(tables.places)))

    def _own_facts(self) -> dict[str, list[Fact]]:
        topics = [topic for domain in self.domains for topic in domain.topics]
        changed = self._rng.sample(range(len(topics)), _CHANGED)
        facts = [self._fact(topic, "", i in changed) for i, topic in enumerate(topics)]
        for fact in self._rng.sample(facts, _MISLEADING):
            self._misleading(fact, fact.topic.others)
        return {domain.name: facts[2 * i : 2 * i + 2] for i, domain in enumerate(self.domains)}

    def _fact(self, topic: Topic, name: str, changed: bool) -> Fact:
        value = self._rng.choice(topic.values)
        entry = self._change(topic, value, name) if changed else self._state(topic, value, name)
        return Fact(topic, value, entry, name)

    def _state(self, topic: Topic, value: Value, name: str, when: float | None = None) -> int:
        return self.documents.write(self._rng.choice(topic.says).format(v=value[0], n=name), when)

    def _change(self, topic: Topic, value: Value, name: str) -> int:
        """States an old value, later the current one; half of the time the entry mentions the change."""
        old = self._rng.choice_except(topic.values, value)
        before, now = self.documents.two_times()
        self._state(topic, old, name, before)
        if self._rng.chance(0.5):
            return self._state(topic, value, name, now)
        return self.documents.write(self._rng.choice(topic.changes).format(v=value[0], old=old[0], n=name), now)

    def _misleading(self, fact: Fact, says: tuple[str, ...]) -> None:
        value = self._rng.choice_except(fact.topic.values, fact.value)
        self.documents.write(self._rng.choice(says).format(v=value[0], n=self._rng.choice(self._strangers)))

    def _relation(self, role: Role, name: str) -> Relation:
        """One entry states role and name; facts and an unrelated mention use the name alone."""
        rng, kind = self._rng, role.kind
        relation = Relation(role, name, self.documents.write(rng.choice(kind.says).format(role=role.word, n=name)))
        changed = rng.below(3 * len(kind.topics))  # one bond in three has a fact that changed
        relation.facts = [self._fact(topic, name, i == changed) for i, topic in enumerate(kind.topics)]
        shared = rng.choice(relation.facts)
        self._misleading(shared, shared.topic.says)
        mention = rng.choice(kind.mentions)
        day, place = rng.choice(self._tables.days), rng.choice(self._tables.places)
        self.documents.write(mention.format(n=name, day=day, place=place))
        return relation

    def _false_role(self) -> None:
        """A distractor: someone else has a relation of the same role."""
        role = self._rng.choice(self.relations).role
        text = self._rng.choice(role.kind.others)
        self.documents.write(text.format(role=role.word, n=self._rng.choice(self._strangers), m=self.names[-1]))

    def _add_quirk(self, domain: Domain) -> CommonFact:
        """A tempting distractor: the user does a common thing in an unusual way; the answer is the common way."""
        common_fact = self._rng.choice(domain.common_facts)
        odd = self._rng.choice(domain.odd)[0]
        detail = self._rng.choice_except(self._tables.details[common_fact.how], common_fact.detail)
        self.documents.write(self._rng.choice(self._tables.tempting).format(do=common_fact.do, odd=odd, detail=detail))
        return common_fact
