"""The Gymnasium face of an episode."""

import operator
from secrets import token_hex
from typing import Any, SupportsIndex

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

from .._util.terminal import visible
from ..errors import DataError, EpisodeError, OptionError
from .action import Action, Answer, SearchProfile
from .batch_step import NOT_ASKED, BatchStepper, RewardFunction, checked_options, no_reward
from .data import QuestionSet
from .episode import Episode
from .retrieval import Retriever
from .text_space import UnicodeText

Info = dict[str, Any]
ID = operator.itemgetter(0)  # of a hit as an episode keeps it

_QUESTION_CHARS = 60_000  # the longest question that an observation holds, in the form that a policy reads
_PROMPT_CHARS = 4_000  # more than the rest of any prompt, reminder or correction takes
_ACTION_CHARS = 1_000_000
_BLOCK = 16  # numbers drawn at once


class ProfileQAEnv(gym.Env[str, str]):
    """One question at a time. Actions and observations are text; `render()` gives the transcript so far.

    `reset(options={"question_id": …})` asks for a question, else the seed draws one. `info` says what each step was:
    `action` ("search", "answer" or "malformed"), `query`, `hits` (the ids of the documents shown) and `malformed` (what
    was wrong). The reward comes with the last step: NaN, with `info["unscored"]` saying why, where it could not be had.
    `info["trajectory"]` is then the record. A retriever or a reward function that fails is raised.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        questions: QuestionSet,
        retriever: Retriever,
        reward: RewardFunction = no_reward,
        *,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode)
        self.observation_space, self.action_space = spaces(**options)
        self._sampler = EpisodeSampler(questions, options, self.observation_space.max_length)
        self._stepper = BatchStepper(retriever, reward)
        self._episode: Episode | None = None

    @property
    def episode(self) -> Episode:
        if self._episode is None:
            raise EpisodeError("there is no episode yet: call reset() first")
        return self._episode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        question_id = check_reset_options(options, "question_id").get("question_id")
        if seed is not None or self._episode is None:
            seed = checked_seed(seed)
            super().reset(seed=seed)
            self._sampler.seed(self.np_random, seed)
        self._episode = episode = self._sampler.begin(question_id)
        return episode.observation, {"question_id": episode.question.id, "user_id": episode.question.user_id}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        episode = self._episode or self.episode
        info = told(episode, self._stepper.step_one(episode, action))
        if episode.ended is None:
            return episode.observation, 0.0, False, False, info
        info["trajectory"] = episode.trajectory()
        if why := unscored(episode):
            info["unscored"] = why
        return "", scalar_reward(episode), episode.terminated, episode.truncated, info

    def render(self) -> str | None:
        return transcript(self.episode) if self.render_mode == "ansi" else None


class EpisodeSampler:
    """Where episodes begin, one after another: the questions, the options and a random generator.

    An episode's id ends in the seed (without one: something drawn at random), the place among the seats of a vector
    and a count, so that no two episodes share an id unless the same seed was given to the same place twice.
    """

    def __init__(self, questions: QuestionSet, options: dict[str, Any], room: int, place: int = 0) -> None:
        self._size = len(questions)
        if not self._size:
            raise DataError(f"{questions.spec} holds no question: there is nothing to ask")
        self._questions = questions
        self._options = options
        self._room = room  # characters of an observation
        self._place = place
        self._seed: int | None = None
        self._origin = ""
        self._count = 0
        self._random: np.random.Generator | None = None
        self._drawn: list[float] = []

    def seed(self, generator: np.random.Generator | None, seed: int | None) -> None:
        """A seed starts anew: the same seed gives the same questions under the same episode ids."""
        if seed is not None or self._random is None:
            self._random = generator if generator is not None else seeding.np_random(seed)[0]
            self._seed = seed
            self._origin = f"{token_hex(6) if seed is None else seed}.{self._place}"
            self._count = 0
            self._drawn = []

    def begin(self, question_id: str | None) -> Episode:
        if question_id is None:
            question = self._questions.load(int(self._draw() * self._size))
        else:
            question = self._questions.find(question_id)
        self._count += 1
        name = f"{question.id}:{self._origin}.{self._count}"
        episode = Episode(question, id=name, data=self._questions.spec, seed=self._seed, **self._options)
        if len(episode.observation) > self._room:
            raise DataError(
                f"question {question.id!r} fills {len(episode.observation)} characters with its prompt, and an "
                f"observation holds {self._room}: leave it out, or shorten it"
            )
        return episode

    def _draw(self) -> float:
        """From a block with the same numbers: a draw of its own takes as long as all else that begins an episode."""
        if not self._drawn:
            assert self._random is not None
            self._drawn = self._random.random(_BLOCK)[::-1].tolist()
        return self._drawn.pop()


def spaces(**options: Any) -> tuple[UnicodeText, UnicodeText]:
    """The observation and the action space; the options are checked on the way."""
    checked_options(options)
    top_k = options.get("top_k", 3)
    hits = top_k * (options.get("hit_chars", 2000) + len(f"\n{top_k}. "))
    return UnicodeText(_QUESTION_CHARS + _PROMPT_CHARS + hits), UnicodeText(_ACTION_CHARS)


def checked_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "ansi"):
        raise OptionError(f"render_mode={render_mode!r}: give 'ansi' or None")
    return render_mode


def check_reset_options(options: dict[str, Any] | None, *known: str) -> dict[str, Any]:
    """The options of a reset; one that is not known is refused."""
    options = options or {}
    for name in options:
        if name not in known:
            raise OptionError(f"this reset has no option {name!r}; known: {', '.join(map(repr, known))}")
    return options


def checked_seed(seed: SupportsIndex | None) -> int | None:
    """Any kind of whole number will do, NumPy's among them."""
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise OptionError(f"seed={seed!r}: give a whole number of at least 0")
    return number


def told(episode: Episode, action: Action) -> Info:
    """What `info` says of a step: `hits` are the ids of what a search showed, if it was made."""
    if isinstance(action, SearchProfile):
        hits = list(map(ID, episode.sought[-1])) if episode.ended is None else None
        return {"action": "search", "query": action.query, "hits": hits, "malformed": None}
    if isinstance(action, Answer):
        return {"action": "answer", "query": None, "hits": None, "malformed": None}
    return {"action": "malformed", "query": None, "hits": None, "malformed": action.reason}


def unscored(episode: Episode) -> str | None:
    """Why the reward could not be had, where it was asked for."""
    return None if episode.reward is None or episode.reward is NOT_ASKED else episode.reward.unscored


def scalar_reward(episode: Episode) -> float:
    """Gymnasium wants a number: NaN where the reward could not be had, so that nobody takes it for one."""
    if episode.reward is NOT_ASKED:
        return 0.0
    total = episode.reward.total if episode.reward is not None else None
    return float("nan") if total is None else total


def transcript(episode: Episode) -> str:
    """What was said, by whom; what a terminal might act on is made visible."""
    parts = [f"── {segment.author} ──\n{segment.text.strip()}" for segment in episode.segments]
    if episode.ended:
        total = episode.reward.total if episode.reward else None
        parts.append(f"── {episode.ended}, reward {'none' if total is None else f'{total:.3f}'} ──")
    return visible("\n\n".join(parts))
