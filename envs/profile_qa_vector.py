"""The Gymnasium vector environment: many episodes in step, with batched searches and scores."""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..errors import EpisodeError, OptionError
from .action import Action, Answer, Call, Malformed, SearchProfile
from .batch_step import BatchStepper
from .data import QuestionSet
from .episode import Episode
from .episode_options import checked_options
from .profile_qa import (
    EpisodeSampler,
    Info,
    call_query,
    called,
    check_reset_options,
    checked_render_mode,
    checked_seed,
    hit_ids,
    scalar_reward,
    spaces,
    transcript,
    unscored_reason,
)
from .retrieval import Retriever
from .reward import RewardFunction, no_reward

_ACTION_NAMES = {SearchProfile: "search", Call: "call", Answer: "answer", Malformed: "malformed"}

T = TypeVar("T")
Seeds = SupportsIndex | Sequence[SupportsIndex | None] | NDArray[np.integer[Any]] | None
Observations = tuple[str, ...]
Outcome = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]


class ProfileQAVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """A step makes one `search_many` call and one call of the reward function.

    Place `i` of a vector with seed `s` draws the same questions as a single environment with seed `s + i`. In `reset`,
    `options["question_id"]` is one id for all places, or a sequence with an id or None (draw one) for each;
    `options["reset_mask"]` selects the places to reset. A failed search truncates the episode of its place only, and a
    failed reward leaves its place unscored. Both give the reward NaN, with the reason in `infos["unscored"]`.
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
        options = checked_options(options)
        self.single_observation_space, self.single_action_space = spaces(**options)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        max_chars = self.single_observation_space.max_length
        self._samplers = [EpisodeSampler(questions, options, max_chars, place) for place in range(num_envs)]
        self._stepper = BatchStepper(retriever, reward)
        self._episodes: list[Episode] = []
        self._ended: list[int] = []  # places whose episode ended and was not reset yet

    @property
    def episodes(self) -> Sequence[Episode]:
        return tuple(self._episodes)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Observations, Info]:
        options = check_reset_options(options, "question_id", "reset_mask")
        places = list(compress(range(self.num_envs), self._mask(options.get("reset_mask"))))
        seeds, ids = self._seeds(seed), self._question_ids(options.get("question_id"))
        for i in places:
            self._samplers[i].seed(None, seeds[i])
        started = [self._samplers[i].next_episode(ids[i]) for i in places]
        if not self._episodes:
            self._episodes = started
        for i, episode in zip(places, started, strict=True):
            self._episodes[i] = episode
        self._ended = [i for i, episode in enumerate(self._episodes) if episode.ended is not None]
        return self._observations(), self._reset_infos(places)

    def step(self, actions: Sequence[str]) -> Outcome:
        """Places whose episode ended in the last step start their next one, and ignore their action."""
        if len(actions) != self.num_envs:
            raise EpisodeError(f"{len(actions)} actions for {self.num_envs} episodes: give one per episode")
        if not self._episodes:
            raise EpisodeError("there are no episodes yet: call reset() first")
        if self._ended and self.autoreset_mode == AutoresetMode.DISABLED:
            raise EpisodeError(f"the episodes at places {self._ended} have ended: reset them with a 'reset_mask'")
        restarted, ignored = self._ended, set(self._ended)
        running = [i for i in range(self.num_envs) if i not in ignored]
        parsed, ended = self._stepper.step([self._episodes[i] for i in running], [actions[i] for i in running])
        self._start_episodes(restarted)
        return self._outcome(restarted, running, parsed, [running[position] for position in ended])

    def render(self) -> tuple[str, ...] | None:
        return tuple(map(transcript, self._episodes)) if self.render_mode == "ansi" else None

    def _outcome(
        self, restarted: list[int], running: Sequence[int], actions: list[Action], ended: list[int]
    ) -> Outcome:
        """`actions` are those of the `running` places; at `ended` they ended the episode."""
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        for i in ended:
            episode = self._episodes[i]
            rewards[i], terminated[i], truncated[i] = scalar_reward(episode), episode.terminated, episode.truncated
        if ended and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._restart_infos(dict(zip(running, actions, strict=True)), ended)
        else:
            self._ended = ended
            infos = self._reset_infos(restarted) | self._step_infos(running, actions) | self._final_infos(ended)
        return self._observations(), rewards, terminated, truncated, infos

    def _restart_infos(self, actions: dict[int, Action], ended: list[int]) -> Info:
        """Starts the next episodes in the same step. The last observations and infos move to `final_…`."""
        last = self._info_arrays(ended, final_obs=[self._episodes[i].observation for i in ended])
        final = self._step_infos(ended, [actions.pop(i) for i in ended]) | self._final_infos(ended)
        last |= {"final_info": final, "_final_info": last["_final_obs"]}
        self._start_episodes(ended)
        return self._reset_infos(ended) | self._step_infos(list(actions), list(actions.values())) | last

    def _step_infos(self, places: Sequence[int], actions: Sequence[Action]) -> Info:
        """The values of `step_info` as one list per name: a dictionary per place would cost more than its step."""
        episodes = [self._episodes[i] for i in places]
        if self._episodes[0].tools is not None:
            actions = [episode.last_action(action) for episode, action in zip(episodes, actions, strict=True)]
        queries = [action.query if type(action) is SearchProfile else None for action in actions]
        names = [_ACTION_NAMES[type(action)] for action in actions]
        calls: dict[str, Sequence[Any]] = {}
        if self._episodes[0].tools is not None:
            queries = [
                call_query(episode) if name == "call" else None for name, episode in zip(names, episodes, strict=True)
            ]
            made = [called(episode, action) for episode, action in zip(episodes, actions, strict=True)]
            calls = {"tool": [tool for tool, _ in made], "arguments": [arguments for _, arguments in made]}
        return self._info_arrays(
            places,
            action=names,
            query=queries,
            hits=[
                hit_ids(episode) if name in ("search", "call") else None
                for name, episode in zip(names, episodes, strict=True)
            ],
            malformed=[action.reason if type(action) is Malformed else None for action in actions],
            **calls,
        )

    def _reset_infos(self, places: Sequence[int]) -> Info:
        questions = [self._episodes[i].question for i in places]
        return self._info_arrays(places, question_id=[q.id for q in questions], user_id=[q.user_id for q in questions])

    def _final_infos(self, places: Sequence[int]) -> Info:
        info = self._info_arrays(places, trajectory=[self._episodes[i].trajectory() for i in places])
        reasons = {i: reason for i in places if (reason := unscored_reason(self._episodes[i]))}
        return info | self._info_arrays(list(reasons), unscored=list(reasons.values()))

    def _info_arrays(self, places: Sequence[int], **values_by_name: Sequence[Any]) -> Info:
        """Gymnasium's format: for each name an array, and a mask `_name` of the places that have a value."""
        if not places:
            return {}
        all_places = len(places) == self.num_envs
        mask = np.zeros(self.num_envs, np.bool_)
        mask[... if all_places else places] = True
        infos: Info = {}
        for name, values in values_by_name.items():
            array = np.fromiter(values, object, len(places))
            if not all_places:
                given, array = array, np.empty(self.num_envs, object)  # filled with None
                array[places] = given
            infos[name], infos[f"_{name}"] = array, mask
        return infos

    def _start_episodes(self, places: Iterable[int]) -> None:
        for i in places:
            self._episodes[i] = self._samplers[i].next_episode(None)

    def _observations(self) -> Observations:
        return tuple([episode.observation for episode in self._episodes])

    def _seeds(self, seed: Seeds) -> Sequence[int | None]:
        if isinstance(seed, Sequence | np.ndarray):
            return [checked_seed(one) for one in self._one_per_place("seed", list(seed))]
        first = checked_seed(seed)
        return [None if first is None else first + i for i in range(self.num_envs)]

    def _question_ids(self, question_id: str | Sequence[str | None] | None) -> Sequence[str | None]:
        if question_id is None or isinstance(question_id, str):
            return [question_id] * self.num_envs
        return self._one_per_place("question_id", question_id)

    def _mask(self, mask: Sequence[bool] | None) -> Sequence[bool]:
        if mask is None:
            return [True] * self.num_envs
        if not self._episodes:
            raise EpisodeError("a reset_mask needs episodes to reset: call reset() without one first")
        return self._one_per_place("reset_mask", mask)

    def _one_per_place(self, name: str, values: Sequence[T]) -> Sequence[T]:
        if len(values) != self.num_envs:
            raise OptionError(f"{name} has {len(values)} values for {self.num_envs} episodes: give one per episode")
        return values
