"""R2P, which trains nothing: a template of the thought, a monitor that brings back who leaves it, and a synthesis."""

from collections.abc import Sequence
from typing import Any

from .._util.prompts import fill
from ..envs.action import Answer, SearchProfile, read_action
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.text import clean
from ..errors import OptionError
from .agent import ModelHandle
from .models.model import Turn
from .pr2 import PR2
from .prompts import FOLDER
from .r2p_template import LEVELS, NAMES, Deviation, before, deviation, sections

_ANSWER = {"tags": "</think>\n<answer>", "tools": "\nNow I give the answer.\n"}


class R2P(PR2):
    """Each of several candidates is thought through under the template; the last level is then written over them all.

    At most `interventions` corrections are made in a candidate, and as many in the synthesis. Without `initial_search`
    the model searches for itself.
    """

    name = "r2p"

    def __init__(self, candidates: int = 3, interventions: int = 2, initial_search: bool = True) -> None:
        for option, value, least in (("candidates", candidates, 1), ("interventions", interventions, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"r2p:{option}={value!r}: give a whole number of at least {least}")
        self._candidates, self._interventions, self._opening = candidates, interventions, initial_search

    def begin(self, question: Question, **options: Any) -> Episode:
        levels = "\n".join(f"{heading}: {about}" for heading, about in LEVELS.items())
        mine = {"instructions": fill("r2p", FOLDER, levels=levels)}
        return Episode(
            question, **(options | mine | ({"max_searches": 0, "initial_search": True} if self._opening else {}))
        )

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        thinking = _Thinking(episode, speaker, self._interventions)
        texts = [await thinking.through(thinking.initial_search, 0)]
        if episode.searches_left and isinstance(read_action(texts[0], episode.protocol)[0], SearchProfile):
            return Turn(texts[0])
        texts += [await thinking.through(thinking.initial_search, number) for number in range(1, self._candidates)]
        answered = [text for text in texts if _answer(text, episode)]
        if len({_answer(text, episode) for text in answered}) < 2:
            return Turn((answered or texts)[0])
        return Turn(await thinking.through(_beside_each_other(answered, episode), self._candidates))


class _Thinking:
    """Goes on with a turn that was begun until it ends, as the template has it if the model can be brought to it."""

    def __init__(self, episode: Episode, speaker: ModelHandle, interventions: int) -> None:
        self._episode, self._speaker, self._most = episode, speaker, interventions
        before = [segment.text for segment in episode.segments if segment.author == "policy"]
        self._done = min(len(NAMES), sum(len(sections(text)) for text in before))
        speaker.interventions = speaker.interventions or []

    @property
    def initial_search(self) -> str:
        """The template's own beginning."""
        heading = f"{NAMES[self._done]}:" if self._done < len(NAMES) else ""
        return f"<think>\n{heading}" if self._episode.protocol == "tags" else heading

    async def through(self, begun: str, attempt: int) -> str:
        """A text that stops short, or leaves the template, is cut there and led on with what is missing."""
        text, turn = await self._go_on(begun, attempt)
        for _ in range(self._most):
            left = deviation(text, self._done, self._episode.protocol, self._episode.searches_left > 0)
            if left is None or turn.finish == "context" or self._speaker.spent:
                break
            self._note(f"text {attempt + 1}: {left.problem}")
            text, turn = await self._go_on(self._led_on(text, left), attempt)
        return text

    async def _go_on(self, begun: str, attempt: int) -> tuple[str, Turn]:
        turn = await self._speaker.continue_turn(begun, attempt)
        return _joined(begun, turn.text), turn

    def _led_on(self, text: str, left: Deviation) -> str:
        kept = text[: left.place].rstrip()
        if left.level == len(NAMES):
            return kept + _ANSWER[self._episode.protocol]
        heading = NAMES[left.level]
        return f"{kept}\nI still have to say {LEVELS[heading]}.\n{heading}:"

    def _note(self, what: str) -> None:
        assert self._speaker.interventions is not None
        self._speaker.interventions.append(what)


def _joined(begun: str, text: str) -> str:
    """A model that is asked to go on may repeat what stands last, as chat models do."""
    for repeated in ("<think>", begun.rpartition("\n")[2]):
        text = text.lstrip().removeprefix(repeated)
    return f"{begun} {text.lstrip()}"


def _answer(text: str, episode: Episode) -> str:
    action, _ = read_action(text, episode.protocol)
    return clean(action.text) if isinstance(action, Answer) else ""


def _beside_each_other(texts: Sequence[str], episode: Episode) -> str:
    """The first text up to its last level, and there each candidate with what it rests on."""
    _, person, response = range(len(NAMES))
    rows = [f"{NAMES[response]}: I could say:"]
    for number, text in enumerate(texts, 1):
        reasons = [clean(section.text) for section in sections(text) if section.level == person]
        rows.append(f"{number}. {_answer(text, episode)}" + (f" ({reasons[0]})" if reasons else ""))
    return "\n".join([before(texts[0], response), *rows, "What agrees with the posts and with the others:"])
