"""Many episodes in step, with their searches and their scores batched."""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..errors import EpisodeError, OptionError
from .action import Action, Answer, Malformed, SearchProfile
from .batch_step import BatchStepper, RewardFunction, no_reward
from .data import QuestionSet
from .episode import Episode
from .profile_qa import (
    ID,
    EpisodeSampler,
    Info,
    check_reset_options,
    checked_render_mode,
    checked_seed,
    scalar_reward,
    spaces,
    transcript,
    unscored,
)
from .retrieval import Retriever

_KINDS = {SearchProfile: "search", Answer: "answer", Malformed: "malformed"}

T = TypeVar("T")
Seeds = SupportsIndex | Sequence[SupportsIndex | None] | NDArray[np.integer[Any]] | None
Observations = tuple[str, ...]
Outcome = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]


class ProfileQAVectorEnv(VectorEnv[Observations, Sequence[str], NDArray[Any]]):
    """All searches of a step are one `search_many`, all scores one call of the reward.

    Place `i` of a vector with seed `s` draws what a single environment with seed `s + i` draws. In `reset`,
    `options["question_id"]` is one id for all places or a sequence with one for each (None: draw), and
    `options["reset_mask"]` says which places begin anew. A search that fails ends the episode of its place alone, as
    truncated, and a reward that fails leaves its place unscored; either is NaN with a reason in `infos["unscored"]`.
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
        room = self.single_observation_space.max_length
        self._samplers = [EpisodeSampler(questions, options, room, place) for place in range(num_envs)]
        self._stepper = BatchStepper(retriever, reward)
        self._episodes: list[Episode] = []
        self._over: list[int] = []  # places whose episode ended and has no successor yet

    @property
    def episodes(self) -> Sequence[Episode]:
        return tuple(self._episodes)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Observations, Info]:
        options = check_reset_options(options, "question_id", "reset_mask")
        places = list(compress(range(self.num_envs), self._mask(options.get("reset_mask"))))
        seeds, ids = self._seeds(seed), self._question_ids(options.get("question_id"))
        for i in places:
            self._samplers[i].seed(None, seeds[i])
        fresh = [self._samplers[i].begin(ids[i]) for i in places]
        if not self._episodes:
            self._episodes = fresh
        for i, episode in zip(places, fresh, strict=True):
            self._episodes[i] = episode
        self._over = [i for i, episode in enumerate(self._episodes) if episode.ended is not None]
        return self._observations(), self._openings(places)

    def step(self, actions: Sequence[str]) -> Outcome:
        if len(actions) != self.num_envs:
            raise EpisodeError(f"{len(actions)} actions for {self.num_envs} episodes: give one for each")
        if not self._episodes:
            raise EpisodeError("there are no episodes yet: call reset() first")
        if self._over and self.autoreset_mode == AutoresetMode.DISABLED:
            raise EpisodeError(f"the episodes at places {self._over} are over: reset them with a 'reset_mask'")
        return self._step_running(actions) if self._over else self._step_all(actions)

    def render(self) -> tuple[str, ...] | None:
        return tuple(map(transcript, self._episodes)) if self.render_mode == "ansi" else None

    def _step_all(self, actions: Sequence[str]) -> Outcome:
        return self._outcome([], range(self.num_envs), *self._stepper.step(self._episodes, actions))

    def _step_running(self, actions: Sequence[str]) -> Outcome:
        """Places whose episode ended in the last step begin their next one instead; their action is not used."""
        begun, over = self._over, set(self._over)
        running = [i for i in range(self.num_envs) if i not in over]
        taken, ended = self._stepper.step([self._episodes[i] for i in running], [actions[i] for i in running])
        self._begin(begun)
        return self._outcome(begun, running, taken, [running[position] for position in ended])

    def _outcome(self, begun: list[int], running: Sequence[int], taken: list[Action], over: list[int]) -> Outcome:
        """Of the places that began an episode, of those that took an action, and of those whose episode it ended."""
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        for i in over:
            episode = self._episodes[i]
            rewards[i], terminated[i], truncated[i] = scalar_reward(episode), episode.terminated, episode.truncated
        if over and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._succeeded(dict(zip(running, taken, strict=True)), over)
        else:
            self._over = over
            infos = self._openings(begun) | self._steps(running, taken) | self._endings(over)
        return self._observations(), rewards, terminated, truncated, infos

    def _succeeded(self, taken: dict[int, Action], over: list[int]) -> Info:
        """The next episodes begin at once; what was last seen and said of the old ones moves to `final_…`."""
        last = self._columns(over, final_obs=[self._episodes[i].observation for i in over])
        final = self._steps(over, [taken.pop(i) for i in over]) | self._endings(over)
        last |= {"final_info": final, "_final_info": last["_final_obs"]}
        self._begin(over)
        return self._openings(over) | self._steps(list(taken), list(taken.values())) | last

    def _steps(self, places: Sequence[int], taken: Sequence[Action]) -> Info:
        """What `told` says of each place, by name: a dictionary for each place would cost more than its step."""
        episodes = [self._episodes[i] for i in places]
        kinds = [_KINDS[type(action)] for action in taken]
        return self._columns(
            places,
            action=kinds,
            query=[action.query if type(action) is SearchProfile else None for action in taken],
            hits=[
                list(map(ID, episode.sought[-1])) if kind == "search" and episode.ended is None else None
                for kind, episode in zip(kinds, episodes, strict=True)
            ],
            malformed=[action.reason if type(action) is Malformed else None for action in taken],
        )

    def _openings(self, places: Sequence[int]) -> Info:
        questions = [self._episodes[i].question for i in places]
        return self._columns(places, question_id=[q.id for q in questions], user_id=[q.user_id for q in questions])

    def _endings(self, places: Sequence[int]) -> Info:
        info = self._columns(places, trajectory=[self._episodes[i].trajectory() for i in places])
        reasons = {i: why for i in places if (why := unscored(self._episodes[i]))}
        return info | self._columns(list(reasons), unscored=list(reasons.values()))

    def _columns(self, places: Sequence[int], **given: Sequence[Any]) -> Info:
        """Gymnasium's form: an array and a mask `_name` for each name; nothing where no place has a value."""
        if not places:
            return {}
        everywhere = len(places) == self.num_envs
        mask = np.zeros(self.num_envs, np.bool_)
        mask[... if everywhere else places] = True
        columns: Info = {}
        for name, values in given.items():
            column = np.fromiter(values, object, len(places))
            if not everywhere:
                some, column = column, np.empty(self.num_envs, object)  # filled with None
                column[places] = some
            columns[name], columns[f"_{name}"] = column, mask
        return columns

    def _begin(self, places: Iterable[int]) -> None:
        for i in places:
            self._episodes[i] = self._samplers[i].begin(None)

    def _observations(self) -> Observations:
        return tuple([episode.observation for episode in self._episodes])

    def _seeds(self, seed: Seeds) -> Sequence[int | None]:
        if isinstance(seed, Sequence | np.ndarray):
            return [checked_seed(one) for one in self._one_each("seed", list(seed))]
        first = checked_seed(seed)
        return [None if first is None else first + i for i in range(self.num_envs)]

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
