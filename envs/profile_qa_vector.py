"""Many episodes in step, with their searches and their scores batched."""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .data import QuestionSet
from .episode import Episode
from .errors import EpisodeError, OptionError
from .profile_qa import Info, Seat, asked, checked_render_mode, spaces, transcript, unscored, worth
from .retrieval import Retriever
from .stepping import RewardFunction, Stepper, no_reward

T = TypeVar("T")
Observations = tuple[str, ...]
Outcome = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]


class ProfileQAVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """All searches of a step are one `search_many`, all scores one call of the reward.

    Place `i` of a vector with seed `s` draws what a single environment with seed `s + i` draws. In `reset`,
    `options["question_id"]` is one id for all places or a sequence with one for each (None: draw), and
    `options["reset_mask"]` says which places begin anew.
    """

    def __init__(
        self,
        questions: QuestionSet,
        retriever: Retriever,
        reward: RewardFunction = no_reward,
        *,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise OptionError(f"num_envs={num_envs}: give at least 1")
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": ["ansi"], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = spaces(**options)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seats = [Seat(questions, options) for _ in range(num_envs)]
        self._stepper = Stepper(retriever, reward)
        self._episodes: list[Episode] = []
        self._over: list[int] = []  # places whose episode ended and has no successor yet

    @property
    def episodes(self) -> Sequence[Episode]:
        return tuple(self._episodes)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Info]:
        options = asked(options)
        places = list(compress(range(self.num_envs), self._mask(options.get("reset_mask"))))
        seeds, ids = self._seeds(seed), self._question_ids(options.get("question_id"))
        for i in places:
            self._seats[i].sit(None, seeds[i])
        fresh = [self._seats[i].begin(ids[i]) for i in places]
        if not self._episodes:
            self._episodes = fresh
        for i, episode in zip(places, fresh, strict=True):
            self._episodes[i] = episode
        self._over = [i for i in self._over if self._episodes[i].ended is not None]
        return self._observations(), self._openings(places)

    def step(self, actions: Sequence[str]) -> Outcome:
        if len(actions) != self.num_envs:
            raise EpisodeError(f"{len(actions)} actions for {self.num_envs} episodes: give one for each")
        if not self._episodes:
            raise EpisodeError("there are no episodes yet: call reset() first")
        if not self._over:
            return self._outcome([], self._stepper.step(self._episodes, actions))
        if self.autoreset_mode == AutoresetMode.DISABLED:
            raise EpisodeError(f"the episodes at places {self._over} are over: reset them with a 'reset_mask'")
        return self._step_some(actions)

    def render(self) -> tuple[str, ...] | None:
        return tuple(map(transcript, self._episodes)) if self.render_mode == "ansi" else None

    def _step_some(self, actions: Sequence[str]) -> Outcome:
        """Places whose episode ended in the last step begin their next one instead; their action is not used."""
        begun, over = self._over, set(self._over)
        running = [i for i in range(self.num_envs) if i not in over]
        ended = self._stepper.step([self._episodes[i] for i in running], [actions[i] for i in running])
        self._begin(begun)
        return self._outcome(begun, [running[place] for place in ended])

    def _outcome(self, begun: list[int], over: list[int]) -> Outcome:
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        for i in over:
            episode = self._episodes[i]
            rewards[i], terminated[i], truncated[i] = worth(episode), episode.terminated, episode.truncated
        if over and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._succeeded(over)
        else:
            self._over = over
            infos = self._openings(begun) | self._endings(over)
        return self._observations(), rewards, terminated, truncated, infos

    def _succeeded(self, over: list[int]) -> Info:
        """The next episodes begin at once; what was last seen and said of the old ones moves to `final_…`."""
        last = self._columns(over, final_obs=[self._episodes[i].observation for i in over])
        last |= {"final_info": self._endings(over), "_final_info": last["_final_obs"]}
        self._begin(over)
        return self._openings(over) | last

    def _openings(self, places: Sequence[int]) -> Info:
        questions = [self._episodes[i].question for i in places]
        return self._columns(places, question_id=[q.id for q in questions], user_id=[q.user_id for q in questions])

    def _endings(self, places: Sequence[int]) -> Info:
        info = self._columns(places, trajectory=[self._episodes[i].trajectory() for i in places])
        reasons = {i: why for i in places if (why := unscored(self._episodes[i]))}
        return info | self._columns(list(reasons), unscored=list(reasons.values()))

    def _columns(self, places: Sequence[int], **values: list[Any]) -> Info:
        """Gymnasium's form: an array and a mask `_name` for each name; nothing where no place has a value."""
        if not places:
            return {}
        mask = np.zeros(self.num_envs, np.bool_)
        mask[places] = True
        columns: Info = {}
        for name, column in values.items():
            columns[name], columns[f"_{name}"] = np.full(self.num_envs, None, object), mask
            columns[name][places] = np.fromiter(column, object, len(places))
        return columns

    def _begin(self, places: Iterable[int]) -> None:
        for i in places:
            self._episodes[i] = self._seats[i].begin(None)

    def _observations(self) -> Observations:
        return tuple([episode.observation for episode in self._episodes])

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None or isinstance(seed, int):
            return [None if seed is None else seed + i for i in range(self.num_envs)]
        return self._one_each("seed", seed)

    def _question_ids(self, question_id: str | Sequence[str | None] | None) -> Sequence[str | None]:
        if question_id is None or isinstance(question_id, str):
            return [question_id] * self.num_envs
        return self._one_each("question_id", question_id)

    def _mask(self, mask: Sequence[bool] | None) -> Sequence[bool]:
        if mask is None:
            return [True] * self.num_envs
        if not self._episodes:
            raise EpisodeError("a reset_mask makes sense once there are episodes: call reset() without one first")
        return self._one_each("reset_mask", mask)

    def _one_each(self, name: str, values: Sequence[T]) -> Sequence[T]:
        if len(values) != self.num_envs:
            raise OptionError(f"{name} has {len(values)} values for {self.num_envs} episodes: give one for each")
        return values
