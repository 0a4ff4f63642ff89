"""The Gymnasium face of an episode."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

from .data import QuestionSet
from .episode import Episode
from .errors import DataError, EpisodeError, OptionError
from .retrieval import Retriever
from .stepping import NOT_ASKED, RewardFunction, Stepper, checked_options, no_reward
from .text_space import UnicodeText
from .visible import visible

Info = dict[str, Any]

_QUESTION_CHARS = 60_000  # the longest question that an observation holds
_PROMPT_CHARS = 4_000  # more than the rest of any prompt, reminder or correction takes
_ACTION_CHARS = 1_000_000


class ProfileQAEnv(gym.Env[str, str]):
    """One question at a time. Actions and observations are text; `render()` gives the transcript so far.

    `reset(options={"question_id": …})` asks for a question, else the seed draws one. The reward comes with the last
    step: NaN, with `info["unscored"]` saying why, where it could not be had. `info["trajectory"]` is then the record.
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
        self._seat = Seat(questions, options)
        self._stepper = Stepper(retriever, reward)
        self._episode: Episode | None = None

    @property
    def episode(self) -> Episode:
        if self._episode is None:
            raise EpisodeError("there is no episode yet: call reset() first")
        return self._episode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        if seed is not None or self._episode is None:
            super().reset(seed=seed)
            self._seat.sit(self.np_random, seed)
        self._episode = episode = self._seat.begin(asked(options).get("question_id") if options else None)
        return episode.observation, {"question_id": episode.question.id, "user_id": episode.question.user_id}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        episode = self._episode or self.episode
        self._stepper.step_one(episode, action)
        if episode.ended is None:
            return episode.observation, 0.0, False, False, {}
        info: Info = {"trajectory": episode.trajectory()}
        if why := unscored(episode):
            info["unscored"] = why
        return "", worth(episode), episode.terminated, episode.truncated, info

    def render(self) -> str | None:
        return transcript(self.episode) if self.render_mode == "ansi" else None


class Seat:
    """Where episodes begin, one after another: the questions, the options and a random generator."""

    def __init__(self, questions: QuestionSet, options: dict[str, Any]) -> None:
        self._size = len(questions)
        if not self._size:
            raise DataError(f"{questions.spec} holds no question: there is nothing to ask")
        self._questions = questions
        self._options = options
        self._seed: int | None = None
        self._count = 0
        self._random: np.random.Generator | None = None

    def sit(self, generator: np.random.Generator | None, seed: int | None) -> None:
        """A seed starts anew: the same seed gives the same questions under the same episode ids."""
        if seed is not None or self._random is None:
            self._random = generator if generator is not None else seeding.np_random(seed)[0]
            self._seed = seed
            self._count = 0

    def begin(self, question_id: str | None) -> Episode:
        assert self._random is not None
        if question_id is None:
            question = self._questions.load(int(self._random.random() * self._size))
        else:
            question = self._questions.find(question_id)
        if len(question.text) > _QUESTION_CHARS:
            raise DataError(f"question {question.id!r} has {len(question.text)} characters; at most {_QUESTION_CHARS}")
        self._count += 1
        number = f"{question.id}:{self._count}"
        return Episode(question, id=number, data=self._questions.spec, seed=self._seed, **self._options)


def spaces(**options: Any) -> tuple[UnicodeText, UnicodeText]:
    """The observation and the action space; the options are checked on the way."""
    checked_options(options)
    hits = options.get("top_k", 3) * (options.get("hit_chars", 2000) + len("10. \n"))
    return UnicodeText(_QUESTION_CHARS + _PROMPT_CHARS + hits), UnicodeText(_ACTION_CHARS)


def checked_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "ansi"):
        raise OptionError(f"render_mode={render_mode!r}: give 'ansi' or None")
    return render_mode


def asked(options: dict[str, Any] | None) -> dict[str, Any]:
    """The options of a reset; a misspelt one is refused."""
    options = options or {}
    for name in options:
        if name not in ("question_id", "reset_mask"):
            raise OptionError(f"reset has no option {name!r}; known: 'question_id' (and 'reset_mask' for vectors)")
    return options


def unscored(episode: Episode) -> str | None:
    """Why the reward could not be had, where it was asked for."""
    return None if episode.reward is None or episode.reward is NOT_ASKED else episode.reward.unscored


def worth(episode: Episode) -> float:
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
