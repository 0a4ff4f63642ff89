"""Advances a batch of episodes by one action each, with one search call and one reward call."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import TypeVar

from ..errors import BudgetSpent, ProfileGymError, RetrievalError, RewardError, ToolError
from .action import Action, Malformed
from .episode import Episode
from .question import Profile
from .retrieval import Retriever
from .reward import Reward, RewardFunction, plain_reward, rewards_of
from .tools.running import run_call

T = TypeVar("T")
_RETRY_THREADS = 32


class BatchStepper:
    """Runs the calls, the searches and the reward function that episodes need.

    Where a batch fails, each of its episodes is retried alone, and only those that fail again are marked as failed.
    `step_one` also raises the error. `step` continues with the other episodes, unless a judge's budget is spent.
    """

    def __init__(self, retriever: Retriever, reward: RewardFunction) -> None:
        self._retriever = retriever
        self._reward = reward

    def step_one(self, episode: Episode, text: str) -> Action:
        action = episode.write(text)
        if episode.needs == "call":
            action = self._call_one(episode) or action
        while episode.needs == "search" or episode.needs == "call":  # the turn may hold several calls
            if episode.needs == "search":
                self.search_one(episode)
            else:
                self._call_one(episode)
        if episode.needs == "score":
            self.score_one(episode)
        return action

    def step(self, episodes: Sequence[Episode], texts: Sequence[str]) -> tuple[list[Action], list[int]]:
        """The action of each episode, and the indices of the episodes that ended."""
        actions, searching, requests, ended, calling = [], [], [], [], []
        for i, (episode, text) in enumerate(zip(episodes, texts, strict=True)):
            actions.append(episode.write(text))
            if episode.needs == "search":
                searching.append(episode)
                requests.append((episode.question.profile, episode.query))
            elif episode.needs == "score":
                ended.append(i)
            elif episode.needs == "call":
                calling.append(i)
        succeeded = True
        if calling:
            called = [episodes[i] for i in calling]
            for i, mistake in zip(calling, self._call(called), strict=True):
                actions[i] = mistake or actions[i]
            searching += [episode for episode in called if episode.needs == "search"]
            succeeded = all(episode.ended != "error" for episode in called)
        if searching:
            if searching[0].tools is None:
                succeeded &= self._search(searching, requests)
            else:
                succeeded &= self._search_by_k(searching)
        if calling or (searching and searching[0].tools is not None):
            succeeded &= self._finish_turns(episodes)
            ended = [i for i, episode in enumerate(episodes) if episode.needs == "score"]
        failed = [] if succeeded else [i for i, episode in enumerate(episodes) if episode.ended == "error"]
        if ended:
            self._score([episodes[i] for i in ended])
        return actions, sorted(ended + failed) if failed else ended

    def _finish_turns(self, episodes: Sequence[Episode]) -> bool:
        """Runs the further calls of turns that hold several, and their searches. True if every one succeeded."""
        succeeded, waiting = True, episodes
        while waiting := [e for e in waiting if e.needs == "search" or e.needs == "call"]:
            if calling := [episode for episode in waiting if episode.needs == "call"]:
                self._call(calling)
            succeeded &= self._search_by_k([episode for episode in waiting if episode.needs == "search"])
            succeeded &= all(episode.ended != "error" for episode in waiting)
        return succeeded

    def _call(self, episodes: Sequence[Episode]) -> list[Malformed | None]:
        """Runs the calls in parallel; each one's mistake, if its tool refused an argument."""
        with ThreadPoolExecutor(min(_RETRY_THREADS, len(episodes))) as threads:
            return list(threads.map(self._try_call, episodes))

    def _try_call(self, episode: Episode) -> Malformed | None:
        """The mistake, where the tool refused an argument. A failure ends the episode."""
        try:
            return run_call(episode)
        except Exception as error:
            _call_failed(episode, error)
            return None

    def _call_one(self, episode: Episode) -> Malformed | None:
        try:
            return run_call(episode)
        except Exception as error:
            raise _call_failed(episode, error) from error

    def _search_by_k(self, episodes: Sequence[Episode]) -> bool:
        """With several tools, a call says how many documents it needs."""
        groups: dict[int, list[Episode]] = {}
        for episode in episodes:
            groups.setdefault(episode.fetch_k, []).append(episode)
        searched = [self._search(group, [(e.question.profile, e.query) for e in group]) for group in groups.values()]
        return all(searched)

    def _search(self, episodes: list[Episode], requests: list[tuple[Profile, str]]) -> bool:
        """True if every search succeeded."""
        start = perf_counter()
        try:
            results = _one_each(self._retriever.search_many(requests, episodes[0].fetch_k), requests)
        except Exception as error:
            if len(episodes) == 1:
                _search_failed(episodes[0], error)
            else:
                self._search_each(episodes, requests)
            return False
        ms = 1e3 * (perf_counter() - start) / len(episodes)
        succeeded = True
        for episode, hits in zip(episodes, results, strict=True):
            try:
                episode.add_hits(hits, ms)
            except Exception as error:
                _search_failed(episode, error)
                succeeded = False
        return succeeded

    def _search_each(self, episodes: list[Episode], requests: list[tuple[Profile, str]]) -> None:
        """In parallel, as a search may wait for a server that is down."""
        batches = [([episode], [request]) for episode, request in zip(episodes, requests, strict=True)]
        if getattr(self._retriever, "runs_inline", False):
            for batch in batches:
                self._search(*batch)
        else:
            with ThreadPoolExecutor(_RETRY_THREADS) as threads:
                list(threads.map(self._search, *zip(*batches, strict=True)))

    def search_one(self, episode: Episode) -> None:
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
                episode.score(plain_reward(reward))
            except Exception as error:
                _score_failed(episode, error)

    def _score_each(self, episodes: list[Episode]) -> None:
        for i, episode in enumerate(episodes):
            try:
                self.score_one(episode)
            except BudgetSpent as error:
                for other in episodes[i + 1 :]:
                    _score_failed(other, error)
                raise
            except ProfileGymError:  # recorded on the episode
                continue

    def score_one(self, episode: Episode) -> None:
        try:
            (reward,) = self._rewards([episode])
            episode.score(plain_reward(reward))
        except Exception as error:
            raise _score_failed(episode, error) from error

    def _rewards(self, episodes: list[Episode]) -> list[Reward]:
        return _one_each(rewards_of(self._reward(episodes)), episodes)


def _one_each(results: Iterable[T], requests: Sequence[object]) -> list[T]:
    listed = list(results)
    if len(listed) != len(requests):
        raise ValueError(f"it gave {len(listed)} results for {len(requests)} episodes")
    return listed


def _failed(episode: Episode, error: Exception, kind: type[ProfileGymError], what: str) -> ProfileGymError:
    """Marks the episode as failed, and gives the error to raise."""
    reason = f"{what}: {type(error).__name__}: {error}"
    episode.fail(reason)
    return error if isinstance(error, ProfileGymError) else kind(reason)


_call_failed = partial(_failed, kind=ToolError, what="the tool failed")
_search_failed = partial(_failed, kind=RetrievalError, what="the retriever failed")
_score_failed = partial(_failed, kind=RewardError, what="the reward function failed")
