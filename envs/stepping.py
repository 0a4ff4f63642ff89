"""Takes any number of episodes one step further, with one search call and one reward call for all of them."""

from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from math import isfinite
from time import perf_counter
from typing import Any

from .episode import Episode, check_options
from .errors import OptionError, ProfileGymError, RetrievalError, RewardError
from .question import Profile
from .retrieval import Retriever
from .reward import Reward
from .waiting import wait

RewardFunction = Callable[[Sequence[Episode]], Sequence[Reward] | Awaitable[Sequence[Reward]]]

EPISODE_OPTIONS = ("top_k", "max_searches", "repeat_hits", "hit_chars", "protocol", "kind")
NOT_ASKED = Reward(None, unscored="no reward function was given")


def no_reward(episodes: Sequence[Episode]) -> list[Reward]:
    """For users who score elsewhere: every episode stays unscored, and the environment's reward is 0."""
    return [NOT_ASKED] * len(episodes)


def rewards_of(rewards: Sequence[Reward] | Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    """What a reward function returned, waited for where it is async."""
    if isinstance(rewards, list):  # the common case; to ask for an abstract class takes six times as long
        return rewards
    return wait(_awaited(rewards)) if isinstance(rewards, Awaitable) else rewards


async def _awaited(rewards: Awaitable[Sequence[Reward]]) -> Sequence[Reward]:
    return await rewards


class Stepper:
    """Carries out what episodes ask for. A failure of ours is recorded on every episode it hit, and raised."""

    def __init__(self, retriever: Retriever, reward: RewardFunction) -> None:
        self._retriever = retriever
        self._reward = reward

    def step_one(self, episode: Episode, text: str) -> None:
        episode.write(text)
        if episode.needs == "search":
            start = perf_counter()
            try:
                hits = self._retriever.search(episode.question.profile, episode.query, episode.depth)
                episode.inform(hits, 1e3 * (perf_counter() - start))
            except Exception as error:
                raise _failed([episode], error, RetrievalError, "the retriever failed") from error
        elif episode.needs == "score":
            self._score([episode])

    def step(self, episodes: Sequence[Episode], texts: Sequence[str]) -> list[int]:
        """The places of the episodes that ended."""
        searching, requests, ended = [], [], []
        for place, (episode, text) in enumerate(zip(episodes, texts, strict=True)):
            episode.write(text)
            if episode.needs == "search":
                searching.append(episode)
                requests.append((episode.question.profile, episode.query))
            elif episode.needs == "score":
                ended.append(place)
        if searching:
            self._search(searching, requests)
        if ended:
            self._score([episodes[place] for place in ended])
        return ended

    def _search(self, episodes: list[Episode], requests: list[tuple[Profile, str]]) -> None:
        start = perf_counter()
        try:
            answers = self._retriever.search_many(requests, episodes[0].depth)
            ms = 1e3 * (perf_counter() - start) / len(episodes)
            for episode, hits in zip(episodes, answers, strict=True):
                episode.inform(hits, ms)
        except Exception as error:
            raise _failed(episodes, error, RetrievalError, "the retriever failed") from error

    def _score(self, episodes: list[Episode]) -> None:
        try:
            for episode, reward in zip(episodes, rewards_of(self._reward(episodes)), strict=True):
                if reward.total is not None and not isfinite(reward.total):
                    raise RewardError(f"the reward of episode {episode.id} is {reward.total!r}")
                episode.score(reward)
        except Exception as error:
            raise _failed(episodes, error, RewardError, "the reward function failed") from error


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Episode options as the environment was given them; a misspelt one is refused, with its near-miss."""
    for name in options:
        if name not in EPISODE_OPTIONS:
            near = get_close_matches(name, EPISODE_OPTIONS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(EPISODE_OPTIONS)}"
            raise OptionError(f"no option {name!r}{hint}")
    check_options(**options)
    return options


def _failed(episodes: Sequence[Episode], error: Exception, kind: type[ProfileGymError], what: str) -> ProfileGymError:
    for episode in episodes:
        if episode.needs is not None:
            episode.fail(f"{what}: {type(error).__name__}: {error}")
    return error if isinstance(error, ProfileGymError) else kind(f"{what}: {type(error).__name__}: {error}")
