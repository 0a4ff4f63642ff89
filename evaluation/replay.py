"""Repeats a run's recorded queries with another retriever, top-k or profile; nothing is generated."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from statistics import fmean

from ..agents.agent import make_agent
from ..agents.replay import recorded_turns
from ..envs.data.leaks import evidence_of
from ..envs.data.profile_controls import ProfileOf, swapped
from ..envs.episode import Episode
from ..envs.episode_options import checked_options
from ..envs.question import Question
from ..envs.retrieval import make_retriever
from ..envs.tools.running import run_call
from ..envs.trajectory import Search, Trajectory
from ..errors import DataError
from .intervals import Interval, mean
from .recorded_run import RecordedRun
from .summary import evidence_recall

BATCH = 256  # episodes searched in one call
_fetch_k = attrgetter("fetch_k")


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as recorded and as replayed, over the episodes where both are known."""

    figure: str
    meaning: str
    recorded: Interval
    replayed: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Replay:
    """`overlap`: the share of the recorded documents that are found again."""

    episodes: int
    users: int
    queries: int
    rows: tuple[Row, ...]
    overlap: Interval


def replay(
    run: RecordedRun, retriever: str | None = None, top_k: int | None = None, profile: ProfileOf | None = None
) -> Replay:
    """Replays the personalised episodes that searched; None keeps the recorded setting."""
    searched = [t for t in run.trajectories() if t.kind == "personalised" and t.searches]
    if not searched:
        raise DataError(f"{run.run.path} holds no episode that searched: there is no query to repeat")
    count = _Figures(run)
    for trajectory, episode in _replayed(run, searched, retriever, top_k, profile or run.profile):
        count.add(trajectory, episode)
    return count.replay()


def _replayed(
    run: RecordedRun, trajectories: Iterable[Trajectory], retriever: str | None, top_k: int | None, profile: ProfileOf
) -> Iterator[tuple[Trajectory, Episode]]:
    """Plays the recorded turns in new episodes, so that documents already shown are skipped as they were."""
    agent, settings = make_agent(run.settings["agent"]), run.settings
    other = None if retriever is None else make_retriever(retriever)
    searcher = other or agent.retriever or make_retriever(settings["retriever"])
    options = {name: settings[name] for name in ("top_k", "max_searches", "protocol")}
    options |= {name: settings.get(name) for name in ("tools", "max_shown", "costs")}
    options |= {name: settings[name] for name in ("hit_chars",) if settings.get(name) is not None}
    options |= {"cites": bool(settings.get("cites"))} | ({} if top_k is None else {"top_k": top_k})
    options = checked_options(options)
    waiting = iter(trajectories)
    while chunk := list(islice(waiting, BATCH)):
        episodes = []
        for trajectory in chunk:
            question = swapped(run.questions.find(trajectory.question_id), profile, run.questions)
            episodes.append(agent.begin(question, **options))
        told = [iter([turn.text for turn in recorded_turns(trajectory)]) for trajectory in chunk]
        while asking := [e for e, turns in zip(episodes, told, strict=True) if _next_search(e, turns)]:
            for fetch_k, group in groupby(sorted(asking, key=_fetch_k), _fetch_k):
                together = list(group)
                found = searcher.search_many([(e.question.profile, e.query) for e in together], fetch_k)
                for episode, hits in zip(together, found, strict=True):
                    episode.add_hits(hits)
        yield from zip(chunk, episodes, strict=True)


def _next_search(episode: Episode, turns: Iterator[str]) -> bool:
    """Plays recorded turns, and their calls, up to the next search; whether there is one."""
    while episode.needs in ("text", "call"):
        if episode.needs == "call":
            run_call(episode)
        elif (turn := next(turns, None)) is not None:
            episode.write(turn)
        else:
            return False
    return episode.needs == "search"


def _reciprocal_rank(trajectory: Trajectory, question: Question) -> float | None:
    evidence = evidence_of(question)
    return fmean(_rank(search, evidence, question) for search in trajectory.searches) if evidence else None


def _rank(search: Search, evidence: set[str], question: Question) -> float:
    if question.profile.user_id != question.user_id:
        return 0.0  # another user's documents may have the same ids
    return next((1 / place for place, (document, _) in enumerate(search.hits, 1) if document in evidence), 0.0)


def _empty(trajectory: Trajectory, question: Question) -> float:
    return fmean(not search.hits for search in trajectory.searches)


_FIGURES: Mapping[str, tuple[Callable[[Trajectory, Question], float | None], str]] = {
    "evidence": (evidence_recall, "share of the evidence documents that some search returned"),
    "rank": (_reciprocal_rank, "reciprocal rank of the first evidence document in a search, 0 where there is none"),
    "empty": (_empty, "share of searches without a hit"),
}


class _Figures:
    """Recorded and replayed figures by user."""

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self._pairs: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in _FIGURES}
        self._overlaps: dict[str, list[float]] = {}
        self._episodes = self._queries = 0
        self._users = set[str]()

    def add(self, trajectory: Trajectory, episode: Episode) -> None:
        before, now = self._run.find(trajectory.question_id), episode.question
        again = episode.trajectory()
        self._episodes += 1
        self._queries += len(again.searches)
        self._users.add(trajectory.user_id)
        for name, (figure, _) in _FIGURES.items():
            then, replayed = figure(trajectory, before), figure(again, now)
            if then is not None and replayed is not None:
                self._pairs[name].setdefault(trajectory.user_id, []).append((then, replayed))
        shown = _shown(trajectory, before)
        if shown:
            overlap = len(shown & _shown(again, now)) / len(shown)
            self._overlaps.setdefault(trajectory.user_id, []).append(overlap)

    def replay(self) -> Replay:
        rows = tuple(self._row(name, meaning) for name, (_, meaning) in _FIGURES.items())
        return Replay(self._episodes, len(self._users), self._queries, rows, mean(self._overlaps, True))

    def _row(self, name: str, meaning: str) -> Row:
        pairs = self._pairs[name]
        return Row(
            name,
            meaning,
            _mean(pairs, lambda then, now: then, fraction=True),
            _mean(pairs, lambda then, now: now, fraction=True),
            _mean(pairs, lambda then, now: now - then),
        )


def _shown(trajectory: Trajectory, question: Question) -> set[tuple[str, str]]:
    return {(question.profile.user_id, document) for search in trajectory.searches for document, _ in search.hits}


def _mean(
    pairs: Mapping[str, list[tuple[float, float]]], value: Callable[[float, float], float], fraction: bool = False
) -> Interval:
    return mean({user: [value(*pair) for pair in of_user] for user, of_user in pairs.items()}, fraction)
