"""The baseline, and the rewards that set an answer beside it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_question
from matching import names, naming
from test_judge import Script

from profilegym import Aspect, AspectMatch, Episode, Question, Reward, Rubric, Verdict, make_reward
from profilegym.envs.reward import rewards_of
from profilegym.errors import JudgeError, OptionError, RewardError
from profilegym.rewards.baseline import BaselineStore, Policy
from profilegym.rewards.gain import gain, lift, win
from profilegym.rewards.judge import LLMJudge

PILOT = Policy("pilot", "1")
TEA = replace(
    make_question(), rubric=Rubric("", (Aspect("drink", accepted=("tea",)), Aspect("pet", accepted=("Milo",))))
)


class Judge:
    """Scores by the answer's length in tenths; cannot judge an answer that says so; counts what it was asked."""

    name = "length"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def score(self, question: Question, answer: str) -> Verdict:
        raise NotImplementedError("rewards ask for many")

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict | RewardError]:
        self.asked += [answer for _, answer in pairs]
        return [
            JudgeError("no verdict")
            if "fail" in answer
            else Verdict("length", len(answer) / 10, (AspectMatch("a", 1),))
            for _, answer in pairs
        ]


class FirstIsBest(Judge):
    async def prefer(self, question: Question, first: str, second: str) -> int:
        return 1


def answered(answer: str, question: Question = TEA) -> Episode:
    episode = Episode(question)
    episode.write(f"<answer>{answer}</answer>")
    return episode


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines.sqlite")


def test_a_baseline_is_written_once_and_read_by_whoever_opens_the_file(store: BaselineStore, tmp_path: Path) -> None:
    store.add(TEA, PILOT, ["water", "tea"])
    store.add(TEA, PILOT, ["other", "words", "now"])

    assert BaselineStore(tmp_path / "baselines.sqlite").answers(TEA, PILOT) == ["water", "tea"]


def test_another_version_of_the_policy_has_no_baseline_yet(store: BaselineStore) -> None:
    store.add(TEA, PILOT, ["water"])

    with pytest.raises(RewardError, match=naming("q1", "pilot@2", 1)):
        store.answers(TEA, Policy("pilot", "2"))


def test_a_question_with_another_rubric_is_another_question(store: BaselineStore) -> None:
    store.add(TEA, PILOT, ["water"])

    with pytest.raises(RewardError, match=naming("q1", "pilot@1")):
        store.answers(make_question(), PILOT)


def test_a_baseline_is_judged_once_by_each_judge(store: BaselineStore) -> None:
    store.add(TEA, PILOT, ["water", "tea"])
    judge = Judge()

    first = asyncio.run(store.verdicts(TEA, PILOT, judge))
    again = asyncio.run(store.verdicts(TEA, PILOT, judge))

    assert first == again
    assert [verdict.score for verdict in again] == [0.5, 0.3]
    assert judge.asked == ["water", "tea"]


def test_a_verdict_that_could_not_be_had_is_asked_for_again(store: BaselineStore) -> None:
    store.add(TEA, PILOT, ["fail", "tea"])
    judge = Judge()

    for _ in range(2):
        with pytest.raises(RewardError, match=naming("q1", "no verdict")):
            asyncio.run(store.verdicts(TEA, PILOT, judge))

    assert judge.asked == ["fail", "tea", "fail"]


def test_gain_and_lift_set_the_score_beside_the_mean_baseline(store: BaselineStore) -> None:
    store.add(TEA, PILOT, ["1", "123"])  # 0.1 and 0.3
    episodes = [answered("12345"), answered("1")]

    gains = rewards_of(gain(Judge(), baselines=store, policy="pilot@1")(episodes))
    lifts = rewards_of(lift(Judge(), baselines=store, policy="pilot@1", floor=0.25)(episodes))

    assert [reward.total for reward in gains] == [pytest.approx(0.3), pytest.approx(-0.1)]
    assert gains[0].parts == {"score": 0.5, "baseline": pytest.approx(0.2)}
    assert [reward.total for reward in lifts] == [pytest.approx(2), pytest.approx(0.4)]


@pytest.mark.parametrize(
    ("baseline", "answer", "reason"),
    [([], "tea", ["q1", "pilot@1"]), (["tea"], "fail", ["no verdict"]), (["fail"], "tea", ["q1", "no verdict"])],
)
def test_what_is_missing_leaves_an_answer_unscored_not_zero(
    store: BaselineStore, baseline: list[str], answer: str, reason: list[str]
) -> None:
    store.add(TEA, PILOT, baseline)

    (reward,) = rewards_of(gain(Judge(), baselines=store, policy="pilot@1")([answered(answer)]))

    assert reward.total is None
    assert names(reward.unscored, *reason)


def test_one_failure_leaves_the_others_scored(store: BaselineStore) -> None:
    rewards = rewards_of(make_reward("score:rubric")([answered("tea"), answered("Milo and tea")]))
    mixed = rewards_of(gain(Judge(), baselines=filled(store), policy="pilot@1")([answered("fail"), answered("tea")]))

    assert [reward.total for reward in rewards] == [0.5, 1]
    assert [reward.total is None for reward in mixed] == [True, False]


def filled(store: BaselineStore) -> BaselineStore:
    store.add(TEA, PILOT, ["tea", "nothing"])  # 0.5 and 0 by the rubric
    return store


@pytest.mark.parametrize(("answer", "wins"), [("tea for Milo", 1), ("tea", 0.75), ("no", 0.25)])
def test_an_answer_wins_ties_or_loses_against_each_baseline(store: BaselineStore, answer: str, wins: float) -> None:
    filled(store)

    (reward,) = rewards_of(win("rubric", baselines=store, policy="pilot@1")([answered(answer)]))

    assert (reward.total, reward.parts) == (wins, {"win": wins})


def test_a_judge_that_goes_by_the_place_sees_only_ties(store: BaselineStore) -> None:
    (reward,) = rewards_of(win(FirstIsBest(), baselines=filled(store), policy="pilot@1")([answered("tea")]))

    assert reward.total == 0.5


@pytest.mark.parametrize(("by_content", "wins"), [(True, 1), (False, 0.5)])
def test_an_evaluator_is_asked_in_both_orders(store: BaselineStore, by_content: bool, wins: float) -> None:
    def reply(prompt: str, _: int) -> str:
        second = by_content and prompt.index("Milo") > prompt.index("nothing")
        return json.dumps({"reason": "so it is", "better": "second" if second else "first"})

    store.add(TEA, PILOT, ["nothing"])
    script = Script(reply)
    (reward,) = rewards_of(win(LLMJudge(script), baselines=store, policy="pilot@1")([answered("for Milo")]))

    assert (reward.total, len(script.calls)) == (wins, 2)


def test_a_win_without_a_baseline_is_unscored(store: BaselineStore) -> None:
    (reward,) = rewards_of(win("rubric", baselines=store, policy="pilot@1")([answered("tea")]))

    assert reward == Reward(None, unscored=str(reward.unscored))
    assert names(reward.unscored, "q1", "pilot@1")


def test_a_spec_names_judge_store_and_policy(store: BaselineStore, tmp_path: Path) -> None:
    filled(store)

    reward = make_reward(f"gain:rubric,baselines={tmp_path / 'baselines.sqlite'},policy=pilot@1")

    assert rewards_of(reward([answered("tea for Milo")]))[0].total == 0.75


def test_what_cannot_work_is_refused_with_what_to_give(store: BaselineStore, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are only words, and enough of them to look like a file " * 9)

    with pytest.raises(OptionError, match=naming("pilot", "NAME@VERSION")):
        gain("rubric", baselines=store, policy="pilot")
    with pytest.raises(OptionError, match=naming("prefer", "gain")):
        win(Judge(), baselines=store, policy="pilot@1")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="floor=0"):
        lift("rubric", baselines=store, policy="pilot@1", floor=0)
    with pytest.raises(RewardError, match=naming(tmp_path / "notes.txt")):
        BaselineStore(tmp_path / "notes.txt")
