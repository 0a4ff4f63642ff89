"""One person: what holds for them now, what held before, whom they know, and the diary that tells of it."""

from dataclasses import dataclass, field

from .documents import Diary
from .names import draw_names
from .rng import Dice
from .tables import CommonFact, Domain, Role, Tables, Topic, Value

LEAST = 40  # entries that always fit the facts and what distracts from them
_DOMAINS, _BONDS, _QUIRKS, _STRANGERS = 4, 3, 3, 4
_CHANGED, _MISLEADING = 3, 4  # of the eight facts about a person


@dataclass(frozen=True, slots=True)
class Fact:
    """The present value of a topic, and the diary entry that says so; `name` where it is not about the person."""

    topic: Topic
    value: Value
    entry: int
    name: str = ""


@dataclass(slots=True)
class Relation:
    """Somebody or something with a role and a name: the entry that tells the name, and what holds for that name."""

    role: Role
    name: str
    entry: int
    facts: list[Fact] = field(default_factory=list)


class Life:
    """Lived once: everything that can be asked is in the diary, among what misleads."""

    def __init__(self, dice: Dice, tables: Tables, unseen: bool) -> None:
        self._dice, self._tables = dice, tables
        self.diary = Diary(dice, tables)
        self.names = draw_names(dice, _BONDS + _STRANGERS + 1, unseen, tables.words)
        self._strangers = self.names[_BONDS:-1]
        self.domains: list[Domain] = dice.sample(tables.domains, _DOMAINS)
        self.facts: dict[str, list[Fact]] = self._own_facts()
        self.bonds: list[Relation] = [
            self._bond(role, name)
            for role, name in zip(dice.sample(tables.roles, _BONDS), self.names[:_BONDS], strict=True)
        ]
        self._false_role()
        self.customs = [(domain, self._quirk(domain)) for domain in dice.sample(tables.domains, _QUIRKS)]

    def add_small_talk(self, length: int) -> None:
        """Fill the diary up with entries that say nothing about anyone."""
        dice, tables, diary = self._dice, self._tables, self.diary
        while len(diary) < length:
            text, values = dice.pick(tables.noise)
            value = dice.pick(values)[0]
            diary.write(text.format(v=value, day=dice.pick(tables.days), place=dice.pick(tables.places)))

    def _own_facts(self) -> dict[str, list[Fact]]:
        topics = [topic for domain in self.domains for topic in domain.topics]
        changed = self._dice.sample(range(len(topics)), _CHANGED)
        facts = [self._fact(topic, "", i in changed) for i, topic in enumerate(topics)]
        for fact in self._dice.sample(facts, _MISLEADING):
            self._someone_elses(fact, fact.topic.others)
        return {domain.name: facts[2 * i : 2 * i + 2] for i, domain in enumerate(self.domains)}

    def _fact(self, topic: Topic, name: str, changed: bool) -> Fact:
        value = self._dice.pick(topic.values)
        entry = self._change(topic, value, name) if changed else self._say(topic, value, name)
        return Fact(topic, value, entry, name)

    def _say(self, topic: Topic, value: Value, name: str, when: float | None = None) -> int:
        return self.diary.write(self._dice.pick(topic.says).format(v=value[0], n=name), when)

    def _change(self, topic: Topic, value: Value, name: str) -> int:
        """What held before, and later what holds now, with or without a word about the change."""
        old = self._dice.other(topic.values, value)
        before, now = self.diary.two_moments()
        self._say(topic, old, name, before)
        if self._dice.chance(0.5):
            return self._say(topic, value, name, now)
        return self.diary.write(self._dice.pick(topic.changes).format(v=value[0], old=old[0], n=name), now)

    def _someone_elses(self, fact: Fact, says: tuple[str, ...]) -> None:
        value = self._dice.other(fact.topic.values, fact.value)
        self.diary.write(self._dice.pick(says).format(v=value[0], n=self._dice.pick(self._strangers)))

    def _bond(self, role: Role, name: str) -> Relation:
        """Their name with their role once; everything else, and one idle mention, with their name alone."""
        dice, kind = self._dice, role.kind
        bond = Relation(role, name, self.diary.write(dice.pick(kind.says).format(role=role.word, n=name)))
        changed = dice.below(3 * len(kind.topics))  # one bond in three has a fact that changed
        bond.facts = [self._fact(topic, name, i == changed) for i, topic in enumerate(kind.topics)]
        shared = dice.pick(bond.facts)
        self._someone_elses(shared, shared.topic.says)
        mention = dice.pick(kind.mentions)
        self.diary.write(mention.format(n=name, day=dice.pick(self._tables.days), place=dice.pick(self._tables.places)))
        return bond

    def _false_role(self) -> None:
        """Somebody else has a sister, too."""
        role = self._dice.pick(self.bonds).role
        text = self._dice.pick(role.kind.others)
        self.diary.write(text.format(role=role.word, n=self._dice.pick(self._strangers), m=self.names[-1]))

    def _quirk(self, domain: Domain) -> CommonFact:
        """The person does what everybody does, but in a way that nobody else should copy."""
        custom = self._dice.pick(domain.customs)
        odd = self._dice.pick(domain.odd)[0]
        detail = self._dice.other(self._tables.details[custom.how], custom.detail)
        self.diary.write(self._dice.pick(self._tables.tempting).format(do=custom.do, odd=odd, detail=detail))
        return custom
