"""The engine that plays many episodes at once."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matching import names

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.models.model import Turn, make_model
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.agents.pr2 import PR2
from profilegym.agents.rollout import Job, JobFeed, Rollout
from profilegym.agents.turn_format import call_tool
from profilegym.envs.chat import Sampling
from profilegym.envs.episode import Episode
from profilegym.envs.tools import Tool, Toolset
from profilegym.errors import BudgetSpent
from profilegym.rewards.judge import Score

DATA = "world:seed=7,users=20/test"
WAIT = 60  # seconds, so that what would wait for ever fails


def play(rollout: Rollout, jobs: Sequence[Job]) -> list[pg.Trajectory]:
    async def all_of_them() -> list[pg.Trajectory]:
        return [trajectory async for trajectory in rollout.run(jobs)]

    return asyncio.run(asyncio.wait_for(all_of_them(), WAIT))


def jobs(agent: str = "pr2", limit: int = 24) -> list[Job]:
    return [Job(question, make_agent(agent), data=DATA) for question in pg.load_questions(DATA)[:limit]]


def rollout(model: object = "scripted:oracle", **options: object) -> Rollout:
    return Rollout(
        make_model(model),  # type: ignore[arg-type]
        pg.make_retriever("bm25"),
        pg.make_reward("rubric"),
        **options,  # type: ignore[arg-type]
    )


class Session:
    """One conversation; a test says how it speaks."""

    def __init__(self, question: pg.Question) -> None:
        self.question = question

    async def generate(self, said: object, sampling: Sampling, stop: object) -> Turn:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


class With:
    """A model whose conversations are of one kind."""

    name = "with"

    def __init__(self, kind: type[Session]) -> None:
        self.kind = kind

    def open(self, question: pg.Question, seed: int | None) -> Session:
        return self.kind(question)

    async def close(self) -> None:
        """Nothing is held."""


def test_the_oracle_scores_at_least_95_percent() -> None:
    trajectories = play(rollout(), jobs())

    scores = [trajectory.reward.total for trajectory in trajectories if trajectory.reward]

    assert len(scores) == 24
    assert sum(score or 0 for score in scores) / 24 >= 0.95


def test_a_trajectory_says_who_played_and_what_it_took() -> None:
    (trajectory,) = play(rollout(), jobs(limit=1))

    assert (trajectory.agent, trajectory.model, trajectory.data) == ("pr2", "scripted:oracle", DATA)
    assert trajectory.usage is not None
    assert trajectory.usage["turns"] == sum(segment.author == "policy" for segment in trajectory.segments)
    assert trajectory.usage["completion_tokens"] is None


def test_searches_of_episodes_that_wait_together_are_made_in_one_call() -> None:
    bm25 = pg.make_retriever("bm25")
    sizes = []

    class Counting:
        runs_inline = True
        search = bm25.search

        def search_many(self, requests: Sequence[tuple[pg.Profile, str]], k: int) -> list[list[pg.Hit]]:
            sizes.append(len(requests))
            return list(bm25.search_many(requests, k))

    play(Rollout(make_model("scripted:oracle"), Counting(), pg.make_reward("rubric")), jobs())

    assert max(sizes) == 16  # all with one or two hops
    assert len(sizes) <= 4


def test_one_failing_episode_is_recorded_and_the_rest_go_on() -> None:
    questions = pg.load_questions(DATA)

    def script(question: pg.Question, said: object) -> str:
        if question.id == questions[1].id:
            raise ValueError("out of order")
        return "<answer>walnuts</answer>"

    trajectories = play(rollout(ScriptedModel("broken", script)), jobs(limit=4))

    failed = [trajectory for trajectory in trajectories if trajectory.ended == "error"]
    assert [(t.question_id, t.error) for t in failed] == [(questions[1].id, "ValueError: out of order")]
    assert failed[0].reward is not None
    assert failed[0].reward.total is None
    assert len(trajectories) == 4


def test_a_retriever_that_fails_for_one_profile_fails_one_episode() -> None:
    bm25 = pg.make_retriever("bm25")
    bad = pg.load_questions(DATA)[7].profile.user_id

    class Moody:
        runs_inline = True

        def search(self, profile: pg.Profile, query: str, k: int) -> list[pg.Hit]:
            if profile.user_id == bad:
                raise ValueError("corrupt index")
            return list(bm25.search(profile, query, k))

        def search_many(self, requests: Sequence[tuple[pg.Profile, str]], k: int) -> list[list[pg.Hit]]:
            return [self.search(profile, query, k) for profile, query in requests]

    trajectories = play(Rollout(make_model("scripted:oracle"), Moody(), pg.make_reward("rubric")), jobs())

    assert {t.user_id for t in trajectories if t.ended == "error"} == {bad}
    assert all(t.error == "ValueError: corrupt index" for t in trajectories if t.ended == "error")
    assert sum(t.ended == "answered" for t in trajectories) >= 18


def test_a_reward_that_fails_leaves_the_answer_unscored() -> None:
    async def reward(episodes: Sequence[Episode]) -> list[pg.Reward]:
        raise RuntimeError("no judge today")

    (trajectory,) = play(Rollout(make_model("scripted:oracle"), pg.make_retriever("bm25"), reward), jobs(limit=1))

    assert trajectory.ended == "answered"
    assert trajectory.reward is not None
    assert trajectory.reward.total is None
    assert "no judge today" in str(trajectory.reward.unscored)


def without_a_match(episodes: Sequence[Episode]) -> list[pg.Reward]:
    return [pg.Reward(next(score for score in (0.0, 1.0) if score > 1))]


async def cancelled_inside(*_: object) -> list[pg.Reward]:
    waiting = asyncio.ensure_future(asyncio.sleep(60))
    waiting.cancel()
    await waiting
    return []


@pytest.mark.parametrize(
    ("reward", "told"), [(without_a_match, "StopIteration"), (cancelled_inside, "cancelled")], ids=["stop", "cancel"]
)
def test_a_reward_that_ends_in_no_ordinary_error_leaves_the_answer_unscored(reward: Any, told: str) -> None:
    rollout = Rollout(Replies(["<answer>yes</answer>"] * 3), pg.make_retriever("bm25"), reward)

    trajectories = play(rollout, jobs("none", limit=3))

    assert [t.ended for t in trajectories] == ["answered"] * 3
    assert all(t.reward and t.reward.total is None and told in str(t.reward.unscored) for t in trajectories)


def test_a_retriever_that_finds_no_next_item_fails_the_episode_at_once() -> None:
    class Unlucky(pg.BaseRetriever):
        def search(self, profile: pg.Profile, query: str, k: int) -> list[pg.Hit]:
            return [pg.Hit(next(one for one in profile.documents if one.id == query), 1.0)]

    rollout = Rollout(Replies(["<search>tea</search>"] * 3), Unlucky())

    trajectories = play(rollout, jobs(limit=3))

    assert [t.ended for t in trajectories] == ["error"] * 3
    assert all("StopIteration" in str(t.error) for t in trajectories)


@pytest.mark.parametrize("fails", ["tool", "model"])
def test_a_plug_in_that_is_cancelled_inside_ends_its_episode_alone(fails: str) -> None:
    async def about(profile: pg.Profile) -> str:
        """Facts about the person."""
        return str(await cancelled_inside())

    class Chosen(Session):
        async def generate(self, *_: object) -> Turn:
            if self.question.id != jobs()[1].question.id:
                return Turn("<answer>walnuts</answer>")
            return Turn(call_tool("about", {})) if fails == "tool" else Turn(str(await cancelled_inside()))

    trajectories = play(rollout(With(Chosen), options={"tools": Toolset([Tool.of(about)])}), jobs(limit=3))

    assert sorted(str(t.ended) for t in trajectories) == ["answered", "answered", "error"]
    assert [names(t.error, "cancelled") for t in trajectories if t.ended == "error"] == [True]


@pytest.mark.parametrize(("score", "kept"), [(np.float32(0.5), 0.5), (float("nan"), None)])
def test_a_judge_s_score_is_recorded_as_a_number_or_not_at_all(score: Any, kept: float | None) -> None:
    class Judge:
        name = "mine"

        async def score_many(self, pairs: Sequence[tuple[pg.Question, str]]) -> list[pg.Verdict]:
            return [pg.Verdict("mine", score, (pg.AspectMatch("tea", 1),))] * len(pairs)

    reward = Score(Judge())  # type: ignore[arg-type]
    rollout = Rollout(Replies(["<answer>yes</answer>"] * 3), pg.make_retriever("bm25"), reward)

    trajectories = play(rollout, jobs("none", limit=3))

    records = [json.loads(trajectory.to_json()) for trajectory in trajectories]
    assert [record["reward"]["total"] for record in records] == [kept] * 3
    assert all(names(record["reward"]["unscored"], "nan") for record in records if kept is None)


def test_answers_that_end_together_are_scored_in_one_call() -> None:
    sizes = []

    async def reward(episodes: Sequence[Episode]) -> list[pg.Reward]:
        sizes.append(len(episodes))
        return [pg.Reward(1.0)] * len(episodes)

    play(Rollout(Replies(["<answer>yes</answer>"] * 24), pg.make_retriever("bm25"), reward), jobs("none"))

    assert sizes == [24]


def test_no_more_episodes_are_open_than_allowed() -> None:
    drawn = 0

    async def count() -> int:
        nonlocal drawn

        def drawing() -> object:
            nonlocal drawn
            for job in jobs():
                drawn += 1
                yield job

        async for _ in rollout(in_flight=3).run(drawing()):  # type: ignore[arg-type]
            return drawn
        return 0

    assert asyncio.run(count()) == 3


def test_an_episode_that_takes_too_long_is_given_up_unscored() -> None:
    class Hanging(Session):
        async def generate(self, *_: object) -> Turn:
            await asyncio.Event().wait()
            raise AssertionError

    (trajectory,) = play(rollout(With(Hanging), deadline=0.05), jobs(limit=1))

    assert trajectory.ended == "error"
    assert names(trajectory.error, 0.05)


def test_a_spent_budget_ends_the_run() -> None:
    def script(question: pg.Question, said: object) -> str:
        raise BudgetSpent("budget of 1 spent")

    with pytest.raises(BudgetSpent):
        play(rollout(ScriptedModel("poor", script)), jobs())


def test_a_judge_s_spent_budget_ends_the_run_and_what_ended_before_is_kept() -> None:
    spent_at, judged = 6, 0

    async def reward(episodes: Sequence[Episode]) -> list[pg.Reward]:
        nonlocal judged
        judged += len(episodes)
        if judged > spent_at:
            raise BudgetSpent("budget of 1 spent")
        return [pg.Reward(1.0)] * len(episodes)

    rollout = Rollout(make_model("scripted:oracle"), pg.make_retriever("bm25"), reward, in_flight=3)
    kept: list[pg.Trajectory] = []

    async def until_it_ends() -> None:
        async for trajectory in rollout.run(jobs()):
            kept.append(trajectory)

    with pytest.raises(BudgetSpent):
        asyncio.run(until_it_ends())

    assert len(kept) == spent_at
    assert all(trajectory.reward and trajectory.reward.total == 1.0 for trajectory in kept)


def test_answers_that_are_with_the_judge_when_the_budget_is_spent_are_kept() -> None:
    questions = pg.load_questions(DATA)
    asked = asyncio.Event()

    async def reward(episodes: Sequence[Episode]) -> list[pg.Reward]:
        if episodes[0].question.id == questions[0].id:
            await asked.wait()
            await asyncio.sleep(0)
            return [pg.Reward(1.0)]
        asked.set()
        raise BudgetSpent("budget of 1 spent")

    ids = [question.id for question in questions]

    class OneAfterTheOther(Session):
        """Answers the later the further down the list its question is."""

        async def generate(self, *_: object) -> Turn:
            for _breath in range(10 * ids.index(self.question.id)):
                await asyncio.sleep(0)
            return Turn("<answer>walnuts</answer>")

    rollout = Rollout(With(OneAfterTheOther), pg.make_retriever("bm25"), reward)
    kept: list[str] = []

    async def until_it_ends() -> None:
        async for trajectory in rollout.run(jobs(limit=4)):
            kept.append(trajectory.question_id)

    with pytest.raises(BudgetSpent):
        asyncio.run(until_it_ends())

    assert kept == ids[:1]


def test_an_episode_that_cannot_begin_is_recorded_and_the_rest_go_on() -> None:
    questions = pg.load_questions(DATA)

    class Picky(PR2):
        def begin(self, question: pg.Question, **options: object) -> Episode:
            if question.id == questions[1].id:
                raise ValueError("not this one")
            return super().begin(question, **options)

    asked = [Job(question, Picky(), data=DATA) for question in questions[:3]]
    trajectories = {trajectory.id: trajectory for trajectory in play(rollout(seed=3), asked)}

    assert trajectories.keys() == {job.id for job in asked}
    failed = trajectories[asked[1].id]
    assert (failed.ended, failed.error, failed.kind) == ("error", "ValueError: not this one", "personalised")
    assert (failed.agent, failed.model, failed.seed) == ("pr2", "scripted:oracle", asked[1].seed(3))
    assert failed.reward is not None
    assert (failed.reward.total, failed.reward.unscored) == (None, "ValueError: not this one")
    assert pg.Trajectory.from_json(failed.to_json()) == failed


def test_a_retriever_s_timeout_is_not_told_as_the_episode_s_deadline() -> None:
    class Slow:
        runs_inline = True
        search = None

        def search_many(self, requests: object, k: int) -> list[list[pg.Hit]]:
            raise TimeoutError("the index did not answer")

    (trajectory,) = play(
        Rollout(Replies(["<search>tea</search>"]), Slow(), pg.make_reward("rubric")),  # type: ignore[arg-type]
        jobs(limit=1),
    )

    assert (trajectory.ended, trajectory.error) == ("error", "TimeoutError: the index did not answer")


@pytest.mark.parametrize("marked", [False, True])
def test_a_plain_reward_is_called_in_a_thread_unless_it_is_marked_instant(marked: bool) -> None:
    where = set[bool]()

    class Plain:
        runs_inline = marked

        def __call__(self, episodes: Sequence[Episode]) -> list[pg.Reward]:
            where.add(threading.current_thread() is threading.main_thread())
            return [pg.Reward(1.0)] * len(episodes)

    trajectories = play(Rollout(make_model("scripted:oracle"), pg.make_retriever("bm25"), Plain()), jobs(limit=3))

    assert where == {marked}
    assert [trajectory.reward and trajectory.reward.total for trajectory in trajectories] == [1.0] * 3


def test_the_budget_of_tokens_holds_where_a_model_does_not_say_what_it_wrote() -> None:
    allowed = []

    class Silent(Session):
        async def generate(self, said: object, sampling: Sampling, stop: object) -> Turn:
            allowed.append(sampling.max_tokens)
            return Turn("<search>tea</search>")

    (trajectory,) = play(rollout(With(Silent), max_tokens=20, sampling=Sampling(max_tokens=8)), jobs(limit=1))

    assert trajectory.ended == "length"
    assert allowed == [8, 8, 4]


def test_an_agent_that_asks_again_within_a_turn_gets_nothing_beyond_the_budget_of_tokens() -> None:
    allowed = []

    class Silent(Session):
        async def generate(self, said: object, sampling: Sampling, stop: object) -> Turn:
            allowed.append(sampling.max_tokens)
            return Turn("<search>tea</search>")

    (trajectory,) = play(rollout(With(Silent), max_tokens=8, sampling=Sampling(max_tokens=5)), jobs("r2p", limit=1))

    assert (trajectory.ended, trajectory.error) == ("budget", None)
    assert allowed == [5, 3]


def test_a_script_spends_no_tokens() -> None:
    trajectories = play(rollout(max_tokens=20, sampling=Sampling(max_tokens=8)), jobs())

    assert max(len(trajectory.searches) for trajectory in trajectories) > 2
    assert {trajectory.ended for trajectory in trajectories} == {"answered"}


def test_the_same_run_gives_the_same_trajectories() -> None:
    first, second = play(rollout(), jobs()), play(rollout(), jobs())

    assert first == second


def test_every_job_has_a_seed_of_its_own() -> None:
    trajectories = play(rollout(seed=3), jobs())

    assert len({trajectory.seed for trajectory in trajectories}) == 24
    assert {t.seed for t in play(rollout(seed=4), jobs())}.isdisjoint(t.seed for t in trajectories)


def test_jobs_may_arrive_while_others_are_played() -> None:
    async def story() -> list[str]:
        feed, asked, played = JobFeed(), jobs(), list[str]()

        async def arrive() -> None:
            for job in asked[:-1]:
                feed.put([job])
                await asyncio.sleep(0.001)
            feed.put(asked[-1:], urgent=True)

        arriving = asyncio.create_task(arrive())
        async for trajectory in rollout(in_flight=2).run(feed):
            played.append(trajectory.id)
            if len(played) == len(asked):
                feed.close()
        await arriving
        return played

    assert sorted(asyncio.run(story())) == sorted(job.id for job in jobs())


def test_urgent_jobs_are_next_and_a_closed_feed_has_none() -> None:
    feed, asked = JobFeed(), jobs(limit=4)
    feed.put(asked[:2])
    feed.put(asked[2:3], urgent=True)

    assert [feed.take(), len(feed)] == [asked[2], 2]
    feed.close()
    feed.put(asked[3:])
    assert [feed.take(), len(feed)] == [None, 0]
