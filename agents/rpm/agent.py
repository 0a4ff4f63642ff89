"""RPM as an agent: retrieves documents by the features of the task, and reasons as the user did before."""

import re
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from ..._util.prompts import fill
from ...envs.chat import Sampling
from ...envs.episode import Episode
from ...envs.question import Question
from ...envs.text import after_thinking, clean
from ...errors import OptionError
from ..agent import BaseAgent, ModelHandle
from ..models.model import Turn
from ..prompts import FOLDER
from ..turn_format import answer_with, search_for
from .store import FOLDER as MODELS
from .store import FeatureRetriever, UserModelStore
from .user_model import Feature, UserModel, features_as_lines, features_as_query, parse_features

AblationRow = Literal["task", "factors", "examples", "thought", "paths"]  # of the paper's table; the last row is RPM
_BUILD_SAMPLING = Sampling(temperature=0.0, max_tokens=512)
_INSTRUCTION: dict[AblationRow, str] = {
    "task": "Reply at once.",
    "factors": "Reply at once.",
    "examples": "Reply at once.",
    "thought": "Think step by step, then reply.",
    "paths": "First reason as this person's past responses were reasoned: from the features of the task through the "
    "factors to the response. Then reply.",
}
_FEATURES = "What in this task may move this person:"
_ANSWER = re.compile(r"^[\s*_#>]*answer[*_]*:[*_]*", re.IGNORECASE | re.MULTILINE)
_EMPHASISED = re.compile(r"\s*[*_]*([^*_]+?)[*_]+\s*")


class RPM(BaseAgent):
    """`upto` selects a row of the ablation, `by` the model whose user models are used if not the agent's own."""

    def __init__(
        self, models: str = MODELS, upto: AblationRow = "paths", index: str = "bm25", by: str | None = None
    ) -> None:
        if upto not in get_args(AblationRow):
            raise OptionError(f"rpm:upto={upto!r}: give one of {', '.join(get_args(AblationRow))}")
        self.name = "rpm" if upto == "paths" else f"rpm-{upto}"
        self._store = UserModelStore(models)
        self.retriever = FeatureRetriever(self._store, by, index)
        self._row, self._by = upto, by

    def begin(self, question: Question, **options: Any) -> Episode:
        """With at most one search, by the agent."""
        searches = min(options.get("max_searches", 1), 0 if self._row in ("task", "factors") else 1)
        return super().begin(question, **(options | {"max_searches": searches}))

    async def act(self, episode: Episode, model: ModelHandle) -> Turn:
        if self._row == "task":
            return await self._answer(episode, model, "")
        user = await self.user_model(episode, model)
        features = _recorded_features(episode) or await self._task_features(episode, model, user)
        if episode.searches_left and user.memories:
            query = features_as_query(features) or clean(episode.question.search_text)
            return Turn(search_for(query, f"{_FEATURES}\n{features_as_lines(features)}", episode.protocol))
        return await self._answer(episode, model, self._context(episode, user, features))

    async def user_model(self, episode: Episode, model: ModelHandle) -> UserModel:
        """The model of the episode's user; built now if it does not exist."""
        profile = episode.question.profile
        if self._by is not None:
            return self._store.find(profile, self._by)
        ask = partial(model.offline_query, sampling=_BUILD_SAMPLING)
        return await self._store.get(profile, model.model_name, ask)

    async def _task_features(self, episode: Episode, model: ModelHandle, user: UserModel) -> tuple[Feature, ...]:
        """The features of the task itself, chosen with the known factors in view."""
        factors = ", ".join(factor.name for factor in user.factors) or "none yet"
        prompt = fill("rpm_task_features", FOLDER, factors=factors, text=clean(episode.question.text))
        found = parse_features(after_thinking((await model.side_query(prompt)).text))
        return tuple(replace(feature, strength=None, direction=None) for feature in found)

    def _context(self, episode: Episode, user: UserModel, features: tuple[Feature, ...]) -> str:
        """What this row of the ablation shows besides the task."""
        shown = [document for search in episode.searches for document, _ in search.hits]
        examples = [memory.as_example(with_path=self._row == "paths") for memory in user.memories_of(shown)]
        parts = [f"What is known of the person:\n{user}"] if user.factors else []
        parts += examples
        parts += [f"Features of the task:\n{features_as_lines(features)}"] if features else []
        return "".join(f"{part}\n\n" for part in parts)

    async def _answer(self, episode: Episode, model: ModelHandle, context: str) -> Turn:
        values = {"context": context, "task": clean(episode.question.text), "manner": _INSTRUCTION[self._row]}
        reply = (await model.side_query(fill("rpm_answer", FOLDER, **values))).text
        said = after_thinking(reply)
        *_, (start, end) = [(0, 0), *(found.span() for found in _ANSWER.finditer(said))]
        thinking = reply.removesuffix(said).strip().removeprefix("<think>").removesuffix("</think>")
        thought, answer = thinking + said[:start], _plain(said[end:])  # without "Answer:" all is the answer
        return Turn(answer_with(answer, thought.strip() or "I was given no reasons.", episode.protocol))


def _plain(answer: str) -> str:
    """Without Markdown's marks where they stand around all of it."""
    emphasised = _EMPHASISED.fullmatch(answer)
    return emphasised[1] if emphasised else answer


def _recorded_features(episode: Episode) -> tuple[Feature, ...]:
    """The task's features as the agent's first turn lists them."""
    first = next((segment.text for segment in episode.segments if segment.author == "policy"), "")
    _, _, listed = first.partition("</think>")[0].partition(_FEATURES)
    return parse_features("\n".join(line for line in listed.splitlines() if line.count(" | ") >= 2))
