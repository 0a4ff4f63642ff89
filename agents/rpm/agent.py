"""RPM as an agent: finds the past by the features of the task, and responds along the person's own reasoning."""

import re
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from ..._util.prompts import fill
from ...envs.chat import Sampling
from ...envs.data.profile_controls import ProfileOf
from ...envs.episode import Episode
from ...envs.question import Question
from ...envs.retrieval import Retriever
from ...envs.text import clean
from ...errors import OptionError
from ..agent import ModelHandle
from ..models.model import Turn
from ..prompts import FOLDER
from ..turn_format import answer_with, search_for
from .features import Feature, as_key, as_lines, parse_features
from .library import FOLDER as MODELS
from .library import Library
from .retriever import Features
from .user_model import UserModel

Upto = Literal["task", "factors", "examples", "thought", "paths"]  # the rows of the paper's ablation, the last is RPM
_OFFLINE = Sampling(temperature=0.0, max_tokens=512)
_MANNER: dict[Upto, str] = {
    "task": "Reply at once.",
    "factors": "Reply at once.",
    "examples": "Reply at once.",
    "thought": "Think step by step, then reply.",
    "paths": "First reason as this person's past responses were reasoned: from the features of the task through the "
    "factors to the response. Then reply.",
}
_FEATURES = "What in this task may move this person:"
_MARK = re.compile(r"^[\s*_#>]*answer:[*_]*", re.IGNORECASE | re.MULTILINE)


class RPM:
    """`upto` leaves out what later rows of the ablation add; `by` names another model, whose users' models are used."""

    profile: ProfileOf = "own"
    retriever: Retriever | None
    max_concurrency: int | None = None
    instructions = ""

    def __init__(self, models: str = MODELS, upto: Upto = "paths", index: str = "bm25", by: str | None = None) -> None:
        if upto not in get_args(Upto):
            raise OptionError(f"rpm:upto={upto!r}: give one of {', '.join(get_args(Upto))}")
        self.name = "rpm" if upto == "paths" else f"rpm-{upto}"
        self._library = Library(models)
        self.retriever = Features(self._library, by, index)
        self._upto, self._by = upto, by

    def begin(self, question: Question, **options: Any) -> Episode:
        """One search at most, made by the agent."""
        searches = min(options.get("max_searches", 1), 0 if self._upto in ("task", "factors") else 1)
        return Episode(question, **(options | {"max_searches": searches}))

    async def act(self, episode: Episode, speaker: ModelHandle) -> Turn:
        if self._upto == "task":
            return await self._respond(episode, speaker, "")
        user = await self.user(episode, speaker)
        features = _written(episode) or await self._read(episode, speaker, user)
        if episode.searches_left and user.memories:
            query = as_key(features) or clean(episode.question.search_text)
            return Turn(search_for(query, f"{_FEATURES}\n{as_lines(features)}", episode.protocol))
        return await self._respond(episode, speaker, self._context(episode, user, features))

    async def user(self, episode: Episode, speaker: ModelHandle) -> UserModel:
        """The model of the person whose posts the episode has; made now, if it is not there."""
        profile = episode.question.profile
        if self._by is not None:
            return self._library.find(profile, self._by)
        return await self._library.get(profile, speaker.model_name, partial(speaker.offline_query, sampling=_OFFLINE))

    async def _read(self, episode: Episode, speaker: ModelHandle, user: UserModel) -> tuple[Feature, ...]:
        """The features of the task itself, by the factors that are known."""
        factors = ", ".join(factor.name for factor in user.factors) or "none yet"
        prompt = fill("rpm_task_features", FOLDER, factors=factors, text=clean(episode.question.text))
        found = parse_features((await speaker.side_query(prompt)).text)
        return tuple(replace(feature, strength=None, direction=None) for feature in found)

    def _context(self, episode: Episode, user: UserModel, features: tuple[Feature, ...]) -> str:
        """What this row of the ablation tells beside the task."""
        hits = [document for search in episode.searches for document, _ in search.hits]
        examples = [memory.told(with_path=self._upto == "paths") for memory in user.memories_of(hits)]
        parts = [f"What is known of the person:\n{user}"] if user.factors else []
        parts += examples
        parts += [f"Features of the task:\n{as_lines(features)}"] if features else []
        return "".join(f"{part}\n\n" for part in parts)

    async def _respond(self, episode: Episode, speaker: ModelHandle, context: str) -> Turn:
        values = {"context": context, "task": clean(episode.question.text), "manner": _MANNER[self._upto]}
        reply = (await speaker.side_query(fill("rpm_answer", FOLDER, **values))).text
        *_, (start, end) = [(0, 0), *(mark.span() for mark in _MARK.finditer(reply))]
        thought, answer = reply[:start], reply[end:]  # without the mark it is an answer as a whole
        return Turn(answer_with(answer, thought.strip() or "I was given no reasons.", episode.protocol))


def _written(episode: Episode) -> tuple[Feature, ...]:
    """The features as the agent's first turn wrote them down."""
    first = next((segment.text for segment in episode.segments if segment.author == "policy"), "")
    _, _, listed = first.partition("</think>")[0].partition(_FEATURES)
    return parse_features("\n".join(line for line in listed.splitlines() if line.count(" | ") >= 2))
