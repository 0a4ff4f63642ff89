"""What every framework plays: one question, scripted policies, and a judge that may be dead. Needs only the core."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from math import isnan
from typing import Any

import profilegym as pg
from profilegym.agents.turn_format import answer_with, search_for
from profilegym.envs.action import Protocol
from profilegym.errors import RewardError
from profilegym.interop.driver import Driver

DATA = "world:users=20/test"
QUESTIONS = pg.load_questions(DATA)
ASKED = QUESTIONS[0].id
RIGHT = "; ".join(aspect.accepted[0] for aspect in QUESTIONS[0].rubric.aspects)


@dataclass(frozen=True)
class Script:
    """A policy's turns: `search` with a query, or `answer` with a text. `judge` is a reward's spec, or `dead`."""

    name: str
    turns: tuple[tuple[str, str], ...]
    judge: str = "rubric"

    def texts(self, protocol: Protocol) -> list[str]:
        write, thought = {"search": search_for, "answer": answer_with}, "I think so." if protocol == "tags" else ""
        return [write[action](said, thought, protocol) for action, said in self.turns]

    def calls(self) -> list[tuple[str, dict[str, str]]]:
        """The turns as calls of tools."""
        named = {"search": ("search_profile", "query"), "answer": ("answer", "text")}
        return [(named[action][0], {named[action][1]: said}) for action, said in self.turns]


SCRIPTS = (
    Script("right", (("search", "what should I carry back"), ("answer", RIGHT))),
    Script("wrong", (("search", "what should I carry back"), ("search", "a pet"), ("answer", "I do not know."))),
    Script("corrected", (("search", " "), ("search", "music"), ("answer", RIGHT))),
    Script(
        "out of turns",
        (("search", "what should I carry back"), ("search", "a pet"), ("search", "music"), ("search", "work")),
    ),
    Script("outage", (("search", "what should I carry back"), ("answer", RIGHT)), "dead"),
)
OPTIONS: dict[str, Any] = {"max_searches": 3}


def is_unscored(reward: float, again: Callable[[], object]) -> bool:
    """Whether a reward is NaN. `again` plays the same where NaN was not asked for, which must raise."""
    if not isnan(reward):
        return False
    try:
        again()
    except RewardError:
        return True
    raise AssertionError("an unscored episode went on")


@dataclass
class Played:
    """The record of an episode, what the policy was shown, and the reward as the framework has it."""

    shown: list[str]  # the environment's texts, as the framework gave them to the policy
    segments: list[tuple[str, str]]
    searches: list[tuple[int, str, list[str]]]
    reward: float | None  # None: unscored, by the framework's own means
    unscored: bool


@dataclass
class Facts:
    """A row of the table in docs/interop.md."""

    framework: str
    packages: tuple[str, ...]
    control: str  # does it count in the group's mean?
    unscored: str  # what becomes of it
    tokens: str  # whose are they, and are they exact?
    protocol: Protocol = "tags"
    versions: str = field(default="", init=False)

    def __post_init__(self) -> None:
        minor = {name: ".".join(version(name).split(".")[:2]) for name in self.packages}
        self.versions = ", ".join(f"{name} {number}" for name, number in minor.items())


async def dead(episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
    raise OSError("the judge does not answer")


def judge_of(script: Script) -> Any:
    return dead if script.judge == "dead" else script.judge


def driver_options(script: Script, records: list[pg.Trajectory], protocol: Protocol = "tags") -> dict[str, Any]:
    """Those of `Driver`; each record is appended to `records`."""
    return {
        "data": QUESTIONS,
        "reward": judge_of(script),
        "recorded": records.append,
        "protocol": protocol,
        **OPTIONS,
    }


def played(record: pg.Trajectory, shown: Iterable[str], reward: float | None, unscored: bool) -> Played:
    searches = [(search.turn, search.query, [document for document, _ in search.hits]) for search in record.searches]
    segments = [(segment.author, segment.text.strip()) for segment in record.segments]
    return Played([text.strip() for text in shown], segments, searches, reward, unscored)


def native(script: Script, protocol: Protocol) -> Played:
    """By the core alone: what the others are compared with."""
    records: list[pg.Trajectory] = []
    attempt = Driver(**driver_options(script, records, protocol)).attempt(ASKED)
    shown = [attempt.prompt]
    for text in script.texts(protocol):
        shown.append(attempt.write(text))
    outcome = attempt.outcome()
    return played(records[0], filter(None, shown), outcome.reward, outcome.reward is None)


def main(facts: Facts, play: Callable[[Script], Played]) -> None:
    """The body of a case: plays every script, or those it is told, and prints results and facts as a line of JSON."""
    results = {script.name: asdict(play(script)) for script in SCRIPTS if script.name in (sys.argv[1:] or script.name)}
    sys.stdout.write(json.dumps({"facts": asdict(facts), "results": results}) + "\n")
