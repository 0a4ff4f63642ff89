"""Takes any number of episodes one step further, with one search call and one reward call for all of them."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from functools import partial
from inspect import iscoroutinefunction
from math import isfinite
from time import perf_counter
from typing import Any, TypeVar

from .._util.sync import in_thread, wait
from ..errors import BudgetSpent, OptionError, ProfileGymError, RetrievalError, RewardError
from .action import Action
from .episode import Episode, check_options
from .question import Profile
from .retrieval import Retriever
from .reward import Reward

T = TypeVar("T")
RewardFunction = Callable[[Sequence[Episode]], Sequence[Reward] | Awaitable[Sequence[Reward]]]

EPISODE_OPTIONS = ("top_k", "max_searches", "repeat_hits", "hit_chars", "protocol", "kind")
NOT_ASKED = Reward(None, unscored="no reward function was given")
_THREADS = 32  # that ask again at the same time when a batch of searches failed


def no_reward(episodes: Sequence[Episode]) -> list[Reward]:
    """For users who score elsewhere: every episode stays unscored, and the environment's reward is 0."""
    return [NOT_ASKED] * len(episodes)


def rewards_of(rewards: Sequence[Reward] | Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    """What a reward function returned, waited for where it is async."""
    if isinstance(rewards, list):  # the common case; to ask for an abstract class takes six times as long
        return rewards
    return wait(_awaited(rewards)) if isinstance(rewards, Awaitable) else rewards


async def scored(reward: RewardFunction, episodes: Sequence[Episode]) -> Sequence[Reward]:
    """For async code. A plain function is called in a thread, unless it says that it is `runs_inline`."""
    if (
        getattr(reward, "runs_inline", False)
        or iscoroutinefunction(reward)
        or iscoroutinefunction(type(reward).__call__)
    ):
        rewards = reward(episodes)
    else:
        rewards = await in_thread(reward, episodes)
    return await rewards if isinstance(rewards, Awaitable) else rewards


async def _awaited(rewards: Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    return await rewards


class BatchStepper:
    """Carries out what episodes ask for. A failure of ours is recorded on the episodes at fault alone.

    Where a batch fails, each of its episodes is asked for alone. `step_one` raises the failure as well; `step` goes on
    with the others, unless the budget of a judge is spent.
    """

    def __init__(self, retriever: Retriever, reward: RewardFunction) -> None:
        self._retriever = retriever
        self._reward = reward

    def step_one(self, episode: Episode, text: str) -> Action:
        action = episode.write(text)
        if episode.needs == "search":
            self._search_one(episode)
        elif episode.needs == "score":
            self._score_one(episode)
        return action

    def step(self, episodes: Sequence[Episode], texts: Sequence[str]) -> tuple[list[Action], list[int]]:
        """What each episode did, and the places of those that ended."""
        actions, searching, requests, ended = [], [], [], []
        for place, (episode, text) in enumerate(zip(episodes, texts, strict=True)):
            actions.append(episode.write(text))
            if episode.needs == "search":
                searching.append(episode)
                requests.append((episode.question.profile, episode.query))
            elif episode.needs == "score":
                ended.append(place)
        if searching and not self._search(searching, requests):
            failed = [place for place, episode in enumerate(episodes) if episode.ended == "error"]
        else:
            failed = []
        if ended:
            self._score([episodes[place] for place in ended])
        return actions, sorted(ended + failed) if failed else ended

    def _search(self, episodes: list[Episode], requests: list[tuple[Profile, str]]) -> bool:
        """Whether none failed."""
        start = perf_counter()
        try:
            answers = _as_many(self._retriever.search_many(requests, episodes[0].fetch_k), requests)
        except Exception as error:
            if len(episodes) == 1:
                _search_failed(episodes[0], error)
            else:
                self._search_each(episodes, requests)
            return False
        ms = 1e3 * (perf_counter() - start) / len(episodes)
        fine = True
        for episode, hits in zip(episodes, answers, strict=True):
            try:
                episode.add_hits(hits, ms)
            except Exception as error:
                _search_failed(episode, error)
                fine = False
        return fine

    def _search_each(self, episodes: list[Episode], requests: list[tuple[Profile, str]]) -> None:
        """At the same time where a search may wait for a server, which may be down."""
        alone = [([episode], [request]) for episode, request in zip(episodes, requests, strict=True)]
        if getattr(self._retriever, "runs_inline", False):
            for one in alone:
                self._search(*one)
        else:
            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(self._search, *zip(*alone, strict=True)))

    def _search_one(self, episode: Episode) -> None:
        start = perf_counter()
        try:
            hits = self._retriever.search(episode.question.profile, episode.query, episode.fetch_k)
            episode.add_hits(hits, 1e3 * (perf_counter() - start))
        except Exception as error:
            raise _search_failed(episode, error) from error

    def _score(self, episodes: list[Episode]) -> None:
        try:
            rewards = self._rewards(episodes)
        except BudgetSpent as error:
            for episode in episodes:
                _score_failed(episode, error)
            raise
        except Exception as error:
            if len(episodes) == 1:
                _score_failed(episodes[0], error)
            else:
                self._score_each(episodes)
            return
        for episode, reward in zip(episodes, rewards, strict=True):
            try:
                episode.score(_finite(reward, episode))
            except Exception as error:
                _score_failed(episode, error)

    def _score_each(self, episodes: list[Episode]) -> None:
        for place, episode in enumerate(episodes):
            try:
                self._score_one(episode)
            except BudgetSpent as error:
                for other in episodes[place + 1 :]:
                    _score_failed(other, error)
                raise
            except ProfileGymError:  # the episode says what happened
                continue

    def _score_one(self, episode: Episode) -> None:
        try:
            (reward,) = self._rewards([episode])
            episode.score(_finite(reward, episode))
        except Exception as error:
            raise _score_failed(episode, error) from error

    def _rewards(self, episodes: list[Episode]) -> list[Reward]:
        return _as_many(rewards_of(self._reward(episodes)), episodes)


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Episode options as the environment was given them; a misspelt one is refused, with its near-miss."""
    for name in options:
        if name not in EPISODE_OPTIONS:
            near = get_close_matches(name, EPISODE_OPTIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(EPISODE_OPTIONS)}"
            raise OptionError(f"no option {name!r}{hint}")
    check_options(**options)
    return options


def _as_many(answers: Iterable[T], asked: Sequence[object]) -> list[T]:
    given = list(answers)
    if len(given) != len(asked):
        raise ValueError(f"it gave {len(given)} answers for {len(asked)} episodes")
    return given


def _finite(reward: Reward, episode: Episode) -> Reward:
    if reward.total is not None and not isfinite(reward.total):
        raise RewardError(f"the reward of episode {episode.id} is {reward.total!r}")
    return reward


def _failed(episode: Episode, error: Exception, kind: type[ProfileGymError], what: str) -> ProfileGymError:
    why = f"{what}: {type(error).__name__}: {error}"
    episode.fail(why)
    return error if isinstance(error, ProfileGymError) else kind(why)


_search_failed = partial(_failed, kind=RetrievalError, what="the retriever failed")
_score_failed = partial(_failed, kind=RewardError, what="the reward function failed")
