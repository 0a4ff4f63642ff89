"""The Gymnasium environment: one episode at a time."""

import operator
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, SupportsIndex

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

from .._util.terminal import printable
from ..errors import DataError, EpisodeError, OptionError
from .action import MOST_CALLS, Action, Answer, Call, SearchProfile
from .batch_step import BatchStepper
from .calls import tools_offered
from .data import QuestionSet
from .episode import HIT_CHARS, Episode
from .episode_options import checked_options
from .retrieval import Retriever
from .reward import NOT_ASKED, RewardFunction, no_reward
from .text_space import UnicodeText
from .tools.results import MOST_SHOWN

Info = dict[str, Any]


_QUESTION_CHARS = 60_000  # of the longest question that fits an observation, as the prompt shows it
_PROMPT_CHARS = 4_000  # an upper bound for the rest of a prompt, a reminder or a correction
_ACTION_CHARS = 1_000_000
_ID_CHARS = 200  # of a document's id
_DOCUMENT_ID = operator.itemgetter(0)  # of a hit in `search_fields`
_DRAWS = 16  # random numbers drawn in one call


class ProfileQAEnv(gym.Env[str, str]):
    """One question per episode. Actions and observations are text; `render()` returns the transcript so far.

    `reset(options={"question_id": …})` chooses a question; otherwise one is drawn with the seed. The `info` of a step
    has `action` ("search", "call", "answer" or "malformed"), `query`, `hits` (the ids of the documents shown) and
    `malformed` (what was wrong); where several tools are offered, also `tool` and `arguments`. The last step returns
    the reward, and the record as `info["trajectory"]`. An unscored episode has the reward NaN, with the reason in
    `info["unscored"]`. Errors of the retriever, of a tool and of the reward are raised.
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
        options = checked_options(options)
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
        self._episode = episode = self._sampler.next_episode(question_id)
        return episode.observation, {"question_id": episode.question.id, "user_id": episode.question.user_id}

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        episode = self._episode or self.episode
        info = step_info(episode, self._stepper.step_one(episode, action))
        if episode.ended is None:
            return episode.observation, 0.0, False, False, info
        info["trajectory"] = episode.trajectory()
        if reason := unscored_reason(episode):
            info["unscored"] = reason
        return "", scalar_reward(episode), episode.terminated, episode.truncated, info

    def render(self) -> str | None:
        return transcript(self.episode) if self.render_mode == "ansi" else None


class EpisodeSampler:
    """Draws questions for one environment, or for one place in a vector, and creates their episodes.

    An episode's id ends in the seed (a random text where there is none), the place in the vector and a count. Two
    episodes have the same id only if the same seed was given to the same place twice.
    """

    def __init__(self, questions: QuestionSet, options: dict[str, Any], max_chars: int, place: int = 0) -> None:
        self._size = len(questions)
        if not self._size:
            raise DataError(f"the data set {questions.spec} has no questions")
        self._questions = questions
        self._options = options
        self._max_chars = max_chars  # of an observation
        self._place = place
        self._seed: int | None = None
        self._prefix = ""
        self._count = 0
        self._random: np.random.Generator | None = None
        self._drawn: list[float] = []

    def seed(self, generator: np.random.Generator | None, seed: int | None) -> None:
        """Restart with a seed: the same seed gives the same questions and episode ids. Without one, continue."""
        if seed is not None or self._random is None:
            self._random = generator if generator is not None else seeding.np_random(seed)[0]
            self._seed = seed
            self._prefix = f"{token_hex(6) if seed is None else seed}.{self._place}"
            self._count = 0
            self._drawn = []

    def next_episode(self, question_id: str | None) -> Episode:
        if question_id is None:
            question = self._questions.load(int(self._draw() * self._size))
        else:
            question = self._questions.find(question_id)
        self._count += 1
        episode_id = f"{question.id}:{self._prefix}.{self._count}"
        episode = Episode(question, id=episode_id, data=self._questions.spec, seed=self._seed, **self._options)
        if len(episode.observation) > self._max_chars:
            raise DataError(
                f"the prompt with question {question.id!r} has {len(episode.observation)} characters, but an "
                f"observation has at most {self._max_chars}: shorten the question or remove it"
            )
        return episode

    def _draw(self) -> float:
        """From a block of numbers: one call of the generator takes as long as the rest of `next_episode`."""
        if not self._drawn:
            assert self._random is not None
            self._drawn = self._random.random(_DRAWS)[::-1].tolist()
        return self._drawn.pop()


def spaces(**options: Any) -> tuple[UnicodeText, UnicodeText]:
    """The observation space and the action space. Checks the options."""
    with_cites, protocol = options.get("cites", False), options.get("protocol", "tags")
    tools = tools_offered(checked_options(options).get("tools"), with_cites, protocol)
    shown = options.get("top_k", 3) if tools is None else max(options.get("top_k", 3), MOST_SHOWN)
    with_ids = with_cites or (tools is not None and tools.shows_ids)
    prefix = len(f"\n{shown}. ") + (_ID_CHARS if with_ids else 0)
    hits = shown * (options.get("hit_chars", HIT_CHARS) + prefix)
    prompt = _PROMPT_CHARS + (0 if tools is None else len(tools.described("tools")))
    several = tools is not None and protocol == "tools"  # calls in a turn, each with hits or a correction
    calls = min(MOST_CALLS, max(1, options.get("max_searches", 4))) if several else 1
    return UnicodeText(_QUESTION_CHARS + calls * (prompt + hits)), UnicodeText(_ACTION_CHARS)


def checked_render_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "ansi"):
        raise OptionError(f"render_mode={render_mode!r}: give 'ansi' or None")
    return render_mode


def check_reset_options(options: dict[str, Any] | None, *known: str) -> dict[str, Any]:
    """The options of `reset`; an unknown one is an `OptionError`."""
    options = options or {}
    for name in options:
        if name not in known:
            raise OptionError(f"reset() has no option {name!r}; known: {', '.join(map(repr, known))}")
    return options


def checked_seed(seed: SupportsIndex | None) -> int | None:
    """A seed of any integer type, including NumPy's."""
    if seed is None:
        return None
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise OptionError(f"seed={seed!r}: give a whole number of at least 0")
    return number


def step_info(episode: Episode, action: Action) -> Info:
    """The `info` of a step: of its last call, where a turn holds several."""
    action = episode.last_action(action)
    if isinstance(action, SearchProfile):
        return {"action": "search", "query": action.query, "hits": hit_ids(episode), "malformed": None}
    if isinstance(action, Answer):
        info: Info = {"action": "answer", "query": None, "hits": None, "malformed": None}
    elif isinstance(action, Call):
        info = {"action": "call", "query": call_query(episode), "hits": hit_ids(episode), "malformed": None}
    else:
        info = {"action": "malformed", "query": None, "hits": None, "malformed": action.reason}
    if episode.tools is not None:
        info |= dict(zip(("tool", "arguments"), called(episode, action), strict=True))
    return info


def called(episode: Episode, action: Action) -> tuple[str | None, Mapping[str, Any] | None]:
    """The tool and the arguments of the last call, if the action was one that was made."""
    if type(action) is not Call or episode.ended is not None:
        return None, None
    tool, arguments, _ = episode.call_fields[-3:]
    return tool, arguments


def call_query(episode: Episode) -> str | None:
    """The query of the last call, or the call as text. None where it was not made, as the episode ended."""
    return episode.search_fields[-2] if episode.ended is None else None


def hit_ids(episode: Episode) -> list[str] | None:
    """The ids that the last search or call showed. None where it was not made, as the episode ended."""
    return list(map(_DOCUMENT_ID, episode.search_fields[-1])) if episode.ended is None else None


def unscored_reason(episode: Episode) -> str | None:
    """Why the episode has no reward. None where it has one, or no reward function was given."""
    return None if episode.reward is None or episode.reward is NOT_ASKED else episode.reward.unscored


def scalar_reward(episode: Episode) -> float:
    """The reward as a number: NaN where it is unscored, 0 where there is no reward function."""
    if episode.reward is NOT_ASKED:
        return 0.0
    total = episode.reward.total if episode.reward is not None else None
    return float("nan") if total is None else total


def transcript(episode: Episode) -> str:
    """The segments with their authors, safe to print on a terminal."""
    parts = [f"── {segment.author} ──\n{segment.text.strip()}" for segment in episode.segments]
    if episode.ended:
        total = episode.reward.total if episode.reward else None
        parts.append(f"── {episode.ended}, reward {'none' if total is None else f'{total:.3f}'} ──")
    return printable("\n\n".join(parts))
