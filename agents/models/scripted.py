"""Models that follow a script: queued replies for tests, and players who know the world."""

from collections.abc import Callable, Iterable, Sequence
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
    """Writes what a function of the question and the transcript says; its tags become calls where tools are spoken."""

    def __init__(self, name: str, script: Script) -> None:
        self.name = f"scripted:{name}"
        self._script = script

    def open(self, question: Question, seed: int | None) -> "ScriptedSession":
        return ScriptedSession(question, self._script)

    async def close(self) -> None:
        """There is nothing to give back."""


class ScriptedSession:
    def __init__(self, question: Question, script: Script) -> None:
        self._question, self._script = question, script

    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        text = self._script(self._question, said)
        return Turn(as_call(text) if tuple(stop) == STOPS["tools"] else text)

    def close(self) -> None:
        """There is nothing to give back."""


class Careless(ScriptedModel):
    """Follows another script in a share of its episodes; an episode's seed says in which."""

    def __init__(self, name: str, script: Script, careless: Script, share: float) -> None:
        super().__init__(f"{name},flaws={share:g}", script)
        self._careless, self._share = careless, share

    def open(self, question: Question, seed: int | None) -> ScriptedSession:
        flawed = Random(seed).random() < self._share
        return ScriptedSession(question, self._careless) if flawed else super().open(question, seed)


class Replies(ScriptedModel):
    """Gives queued replies, whoever asks, and remembers what it was shown: for tests and examples."""

    def __init__(self, replies: Iterable[str]) -> None:
        super().__init__("replies", self._next)
        self.seen: list[str] = []  # each transcript so far, as one text
        self._replies = iter(replies)

    def _next(self, question: Question, said: Sequence[Segment]) -> str:
        self.seen.append("".join(segment.text for segment in said))
        try:
            return next(self._replies)
        except StopIteration:
            raise ModelError(f"all {len(self.seen) - 1} replies are used up") from None


def make(name: str, flaws: float = 0.0) -> ScriptedModel:
    """`scripted:oracle` searches by the world's own plan, and answers with what the posts found hold.

    `scripted:world` follows rules about the world, and sees nothing but its prompt; with `flaws=SHARE` it answers in
    that share of its episodes as anybody would, whatever the posts shown tell. `scripted:steps` reasons in sentences
    that each do one thing, and labels such sentences.
    """
    if name not in _SCRIPTS:
        raise UnknownName(f"no script {name!r}; known: {', '.join(_SCRIPTS)}")
    script = import_module(_SCRIPTS[name])
    if not flaws:
        return ScriptedModel(name, script.play)
    if not 0 < flaws <= 1 or not hasattr(script, "play_carelessly"):
        raise OptionError(f"scripted:{name},flaws={flaws}: give a share from 0 to 1, of scripted:world")
    return Careless(name, script.play, script.play_carelessly, flaws)


_SCRIPTS = {
    "oracle": "profilegym.world.players.oracle",
    "steps": "profilegym.world.players.steps",
    "world": "profilegym.world.players.rules",
}
