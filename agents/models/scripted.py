"""Scripted models: queued replies for tests, and players of the world."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from random import Random

from ...envs.chat import Sampling
from ...envs.question import Question
from ...envs.trajectory import Segment
from ...errors import ModelError, OptionError, UnknownName
from ..turn_format import as_call
from .model import STOPS, Turn

Script = Callable[[Question, Sequence[Segment]], str]


class ScriptedModel:
    """Writes the result of a function of question and transcript; tags become calls in protocol "tools".

    In a `share` of its episodes, selected by their seeds, it follows the script `careless`. A script that `draws` also
    takes the seed.
    """

    def __init__(
        self,
        name: str,
        script: Callable[..., str],
        careless: Script | None = None,
        share: float = 0.0,
        draws: bool = False,
    ) -> None:
        self.name = f"scripted:{name}"
        self._script, self._careless, self._share, self._draws = script, careless, share, draws

    def open(self, question: Question, seed: int | None) -> "ScriptedSession":
        if self._draws:
            return ScriptedSession(question, partial(self._script, seed=seed))
        careless = self._careless if self._share and Random(seed).random() < self._share else None
        return ScriptedSession(question, careless or self._script)

    async def close(self) -> None:
        """Nothing to release."""


class ScriptedSession:
    def __init__(self, question: Question, script: Script) -> None:
        self._question, self._script = question, script

    async def generate(self, segments: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        text = self._script(self._question, segments)
        return Turn(as_call(text) if tuple(stop) == STOPS["tools"] else text, by_rule=True)

    def close(self) -> None:
        """Nothing to release."""


class Replies(ScriptedModel):
    """Returns queued replies and records the prompts, for tests and examples."""

    def __init__(self, replies: Iterable[str]) -> None:
        super().__init__("replies", self._next)
        self.seen: list[str] = []  # the transcript at each call, as one text
        self._replies = iter(replies)

    def _next(self, question: Question, segments: Sequence[Segment]) -> str:
        self.seen.append("".join(segment.text for segment in segments))
        try:
            return next(self._replies)
        except StopIteration:
            raise ModelError(f"all {len(self.seen) - 1} replies are used up") from None


def make(name: str, flaws: float = 0.0) -> ScriptedModel:
    """`scripted:oracle` searches by the world's gold queries, and answers from the posts it found.

    `scripted:world` follows rules and reads nothing but its prompt; with `flaws=SHARE` it ignores the posts in that
    share of its episodes. `scripted:steps` reasons in sentences of one step each, and labels such sentences.
    `scripted:searcher` searches once and reads around the hits, with the tools search_profile and read_around.
    `scripted:explorer` draws how it uses them, by the episode's seed, and answers with the reference where it found
    some of the evidence.
    """
    if name not in _SCRIPTS:
        raise UnknownName(f"no script {name!r}; known: {', '.join(_SCRIPTS)}")
    script = import_module(_SCRIPTS[name])
    if not flaws:
        return ScriptedModel(name, script.play, draws=name == "explorer")
    if not isinstance(flaws, int | float) or not 0 < flaws <= 1 or not hasattr(script, "play_carelessly"):
        raise OptionError(f"scripted:{name},flaws={flaws}: give a share from 0 to 1, of scripted:world")
    return ScriptedModel(f"{name},flaws={flaws:g}", script.play, script.play_carelessly, flaws)


_SCRIPTS = {
    "explorer": "profilegym.agents.explorer",
    "oracle": "profilegym.world.players.oracle",
    "searcher": "profilegym.agents.searcher",
    "steps": "profilegym.world.players.steps",
    "world": "profilegym.world.players.rules",
}
