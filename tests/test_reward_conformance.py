"""The kit passes what is right, and each check alone catches the fault that it is for."""

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from profilegym import Episode, Question, Reward, Verdict, make_reward
from profilegym.apps.check import check_reward
from profilegym.envs.reward import RewardFunction
from profilegym.errors import RewardError
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import RewardContract, kit
from profilegym.testing.reward import CHECKS


def examine(reward: RewardFunction) -> Iterator[kit.CheckResult]:
    return kit.examine(reward, CHECKS)


def length(episode: Episode) -> Reward:
    return Reward(float(len(episode.answer or "")))


def each(worth: Callable[[Episode], Reward]) -> Callable[[Sequence[Episode]], list[Reward]]:
    return lambda episodes: [worth(episode) for episode in episodes]


def sorted_by_answer(episodes: Sequence[Episode]) -> list[Reward]:
    """Right for one episode, and the same whatever the order of a batch: so it is wrong in one of two orders."""
    return [length(episode) for episode in sorted(episodes, key=lambda episode: episode.id)]


def best_of_batch(episodes: Sequence[Episode]) -> list[Reward]:
    most = max((len(episode.answer or "") for episode in episodes), default=0)
    return [Reward(float(len(episode.answer or "") == most)) for episode in episodes]


def counting() -> Callable[[Sequence[Episode]], list[Reward]]:
    numbers = itertools.count()
    return each(lambda episode: Reward(float(next(numbers))))


class WrongSum:
    parts_sum = True

    def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        return [Reward(1.0, {"one": 0.5}) for _ in episodes]


def refuses(refused: Callable[[Episode], bool]) -> Callable[[Sequence[Episode]], list[Reward]]:
    def score(episode: Episode) -> Reward:
        if refused(episode):
            raise ValueError("not this one")
        return length(episode)

    return each(score)


def marks(episode: Episode) -> Reward:
    episode.malformed += 1
    return length(episode)


@dataclass(frozen=True)
class ZeroOnFailure:
    judge: Any

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        pairs: list[tuple[Question, str]] = [(episode.question, episode.answer or "") for episode in episodes]
        verdicts: list[Verdict | RewardError] = await self.judge.score_many(pairs)
        return [Reward(verdict.score if isinstance(verdict, Verdict) else 0.0) for verdict in verdicts]


FAULTS: dict[str, tuple[Any, set[str]]] = {
    "one for each": (lambda episodes: [length(e) for e in episodes] or [Reward(0.0)], {"one for each"}),
    "scores something": (make_reward("none"), {"scores something"}),
    "order": (sorted_by_answer, {"order"}),
    "batch equals single": (best_of_batch, {"batch equals single"}),
    "deterministic": (counting(), {"deterministic", "order", "batch equals single"}),
    "finite": (each(lambda episode: Reward(1.0, {"part": float("nan")})), {"finite"}),
    "parts add up": (WrongSum(), {"parts add up"}),
    "unscored says why": (
        each(lambda episode: Reward(None) if not episode.answer else length(episode)),
        {"unscored says why"},
    ),
    "nothing hidden": (
        each(lambda episode: Reward(1.0, {episode.question.rubric.aspects[0].title: 1.0})),
        {"nothing hidden"},
    ),
    "looks only": (each(marks), {"looks only"}),
    "failing judge": (ZeroOnFailure(RubricJudge()), {"failing judge"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check(fault: str) -> None:
    reward, caught = FAULTS[fault]

    assert {finding.check.name for finding in examine(reward) if not finding.passed} == caught


@pytest.mark.parametrize(
    ("check", "refused"),
    [
        ("empty answers", lambda episode: episode.answer == ""),
        ("absent answers", lambda episode: episode.answer is None),
        ("hostile answers", lambda episode: "\x00" in (episode.answer or "")),
    ],
)
def test_an_answer_that_is_refused_is_shown(check: str, refused: Callable[[Episode], bool]) -> None:
    found = {finding.check.name: finding.counterexample for finding in examine(refuses(refused))}

    assert "ValueError: 'not this one'" in str(found[check])
    assert found["scores something"] is None


def test_every_promise_is_broken_by_some_reward_here() -> None:
    answers = {"empty answers", "absent answers", "hostile answers"}

    assert {finding.check.name for finding in examine(make_reward("rubric"))} == {*FAULTS, *answers}


def test_a_list_of_numbers_is_no_list_of_rewards() -> None:
    first = next(examine(lambda episodes: [1.0] * len(episodes)))  # type: ignore[list-item]

    assert "Reward" in str(first.counterexample)


class TestRubric(RewardContract):
    """As a plug-in's own tests would have it."""

    def make(self) -> RewardFunction:
        reward: RewardFunction = make_reward("rubric")
        return reward


@pytest.mark.parametrize(
    "spec",
    [
        *("rubric", "score:rubric", "structure", "penalty", "match", "mae", "evidence", "cost:search=0.1", "pr2"),
        *("citations", "citations:precision"),
        *("compose:1*score:rubric+0.1*structure", "tagpr:score:rubric,prmu=match", "tag_format", "tag_set"),
    ],
)
def test_the_shipped_rewards_keep_every_promise(spec: str) -> None:
    assert [finding.check.name for finding in examine(make_reward(spec)) if not finding.passed] == []


def test_an_async_reward_is_waited_for() -> None:
    async def slow(episodes: Sequence[Episode]) -> list[Reward]:
        await asyncio.sleep(0)
        return [length(episode) for episode in episodes]

    assert all(finding.passed for finding in examine(slow))


def test_the_report_card_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_reward("none", as_json=True) == 1

    card = json.loads(capsys.readouterr().out)

    assert (card["reward"], card["passed"]) == ("none", False)
    assert [check["name"] for check in card["checks"] if not check["passed"]] == ["scores something"]


def test_the_report_card_grades(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_reward("rubric") == 0
    assert "Grade: 14 of 14 promises kept" in capsys.readouterr().out
