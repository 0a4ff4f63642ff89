"""R2P, which trains nothing: a thought template, a monitor that corrects deviations from it, and a synthesis."""

from collections.abc import Sequence
from typing import Any

from .._util.prompts import fill
from ..envs.action import Action, Answer, Call, SearchProfile, read_action
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.text import clean
from ..errors import OptionError
from .agent import BaseAgent, ModelHandle
from .models.model import Turn
from .prompts import FOLDER
from .r2p_template import LEVELS, NAMES, Deviation, deviation, sections, text_before

_START_ANSWER = {"tags": "</think>\n<answer>", "tools": "\nNow I give the answer.\n"}


class R2P(BaseAgent):
    """Writes several candidates under the template, then rewrites the last level with all candidates in view.

    `interventions` limits the corrections of each candidate and of the synthesis: by default one for each part that a
    model can leave out, as the first heading is written for it. With `initial_search=False` it searches for itself.
    """

    name = "r2p"

    def __init__(self, candidates: int = 3, interventions: int = 3, initial_search: bool = True) -> None:
        for option, value, least in (("candidates", candidates, 1), ("interventions", interventions, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"r2p:{option}={value!r}: give a whole number of at least {least}")
        self._candidates, self._interventions, self._initial_search = candidates, interventions, initial_search

    def begin(self, question: Question, **options: Any) -> Episode:
        levels = "\n".join(f"{heading}: {purpose}" for heading, purpose in LEVELS.items())
        own: dict[str, Any] = {"instructions": fill("r2p", FOLDER, levels=levels)}
        if self._initial_search:
            own |= {"max_searches": 0, "initial_search": True}
        return super().begin(question, **(options | own))

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        monitor = _Monitor(episode, model, self._interventions)
        texts = [await monitor.complete(monitor.template_start, 0)]
        if _searches(texts[0], episode):
            return Turn(texts[0])
        texts += [await monitor.complete(monitor.template_start, number) for number in range(1, self._candidates)]
        answered = [text for text in texts if _answer(text, episode)]
        if len({_answer(text, episode) for text in answered}) < 2:
            return Turn((answered or texts)[0])
        text = await monitor.complete(monitor.synthesis_start(answered), self._candidates)
        return Turn(text if _answer(text, episode) or _searches(text, episode) else answered[0])


class _Monitor:
    """Completes a turn from its prefix; cuts the text where it deviates from the template, and continues from there."""

    def __init__(self, episode: Episode, model: ModelHandle, max_corrections: int) -> None:
        self._episode, self._model, self._max_corrections = episode, model, max_corrections
        earlier = [segment.text for segment in episode.segments if segment.author == "policy"]
        self._levels_done = min(len(NAMES), sum(len(sections(text)) for text in earlier))
        self._log: list[str] = model.agent_usage.setdefault("interventions", [])

    @property
    def template_start(self) -> str:
        """The first heading that earlier turns did not write."""
        heading = f"{NAMES[self._levels_done]}:" if self._levels_done < len(NAMES) else ""
        return f"<think>\n{heading}" if self._episode.protocol == "tags" else heading

    def synthesis_start(self, texts: Sequence[str]) -> str:
        """The first text up to its last level, and there every candidate's answer with its reason."""
        _, person, response = range(len(NAMES))
        heading = f"{NAMES[response]}: " if self._levels_done <= response else ""  # an earlier turn may have it
        rows = [f"{heading}I could say:"]
        for number, text in enumerate(texts, 1):
            reasons = [clean(section.text) for section in sections(text) if section.level == person]
            rows.append(f"{number}. {_answer(text, self._episode)}" + (f" ({reasons[0]})" if reasons else ""))
        return "\n".join([text_before(texts[0], response), *rows, "What agrees with the posts and with the others:"])

    async def complete(self, prefix: str, attempt: int) -> str:
        text, turn = await self._continue(prefix, attempt)
        for _ in range(self._max_corrections):
            found = self._deviation(text)
            if found is None or turn.finish == "context" or self._model.exhausted:
                break
            self._log.append(f"text {attempt + 1}: {found.problem}")
            text, turn = await self._continue(self._corrected(text, found), attempt)
        return text

    def _deviation(self, text: str) -> Deviation | None:
        episode = self._episode
        searches, cites = episode.searches_left > 0, episode.cites is not None
        return deviation(text, self._levels_done, episode.protocol, searches, episode.tools, cites)

    async def _continue(self, prefix: str, attempt: int) -> tuple[str, Turn]:
        turn = await self._model.continue_turn(prefix, attempt)
        return _joined(prefix, turn.text), turn

    def _corrected(self, text: str, found: Deviation) -> str:
        """The text up to the deviation, and the beginning of what is missing there."""
        kept = text[: found.position].rstrip()
        if found.level == len(NAMES):
            return kept + _START_ANSWER[self._episode.protocol]
        heading = NAMES[found.level]
        return f"{kept}\nI still have to say {LEVELS[heading]}.\n{heading}:"


def _joined(prefix: str, text: str) -> str:
    """Chat models may repeat the end of the prefix before they continue; the repetition is removed."""
    for repeated in ("<think>", prefix.rpartition("\n")[2]):
        text = text.lstrip().removeprefix(repeated)
    return f"{prefix} {text.lstrip()}"


def _action(text: str, episode: Episode) -> Action:
    return read_action(text, episode.protocol, episode.tools, episode.cites is not None)[0]


def _searches(text: str, episode: Episode) -> bool:
    """Whether the text makes a search or a call that its episode still allows."""
    return episode.searches_left > 0 and isinstance(_action(text, episode), SearchProfile | Call)


def _answer(text: str, episode: Episode) -> str:
    action = _action(text, episode)
    return clean(action.text) if isinstance(action, Answer) else ""
