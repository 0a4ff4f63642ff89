"""The driver that other trainers and harnesses play episodes with."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pytest
from matching import naming

import profilegym as pg
from profilegym import Document, Episode, Profile, Question, Reward, Trajectory
from profilegym.envs.tools import Tool, Toolset
from profilegym.envs.tools.toolset import tools_of
from profilegym.errors import BudgetSpent, DataError, EpisodeError, OptionError
from profilegym.interop.driver import Attempt, Driver, shared_driver

DATA = "world:users=20/test"
SEARCH = "<think>Let me look.</think>\n<search>food</search>"


def right_answer(driver: Driver, question_id: str) -> str:
    aspects = driver.questions.find(question_id).rubric.aspects
    return "; ".join(aspect.accepted[0] for aspect in aspects)


def answered(attempt: Attempt, text: str) -> Attempt:
    assert attempt.write(f"<answer>{text}</answer>") == ""
    assert attempt.done
    return attempt


def test_an_attempt_is_the_episode_that_the_environment_plays() -> None:
    import gymnasium as gym

    driver = Driver(DATA)
    asked = driver.questions.ids[0]
    env = gym.make("profilegym/ProfileQA-v0", data=DATA)
    first, _ = env.reset(seed=7, options={"question_id": asked})
    found, *_ = env.step(SEARCH)
    _, reward, _, _, info = env.step(f"<answer>{right_answer(driver, asked)}</answer>")

    attempt = driver.attempt(asked)

    assert attempt.prompt == first
    assert attempt.write(SEARCH) == found
    outcome = answered(attempt, right_answer(driver, asked)).outcome()
    assert outcome.reward == outcome.score == reward == 1.0
    assert outcome.unscored is None
    assert outcome.figures["searches"] == 1.0
    record = attempt.trajectory()
    assert record.segments == info["trajectory"].segments
    assert record.searches == [search._replace(ms=record.searches[0].ms) for search in info["trajectory"].searches]


def test_the_control_has_no_searches_and_gives_the_gain() -> None:
    driver = Driver(DATA)
    asked = driver.questions.ids[0]
    own = answered(driver.attempt(asked), right_answer(driver, asked)).outcome()

    control = driver.attempt(asked, "baseline")

    assert control.episode.searches_left == 0
    assert control.trajectory().agent == "none"
    assert own.gain(answered(control, "I do not know.").outcome()) == 1.0


def test_a_call_is_a_turn_and_a_mistake_in_it_is_corrected() -> None:
    attempt = Driver(DATA, protocol="tools").attempt(pg.load_questions(DATA)[0].id)

    corrected = attempt.call("search_profile", {"user": "u2"})
    found = attempt.call("search_profile", {"query": "food"}, "Let me look.")
    attempt.call("answer", {"text": "Soup."})

    assert attempt.outcome().figures["malformed"] == 1.0
    assert "'query'" in corrected
    assert "<information>" in found
    roles = [message["role"] for message in attempt.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [tool["function"]["name"] for tool in attempt.tools] == ["search_profile", "answer"]


def test_calls_need_the_protocol_of_calls() -> None:
    attempt = Driver(DATA).attempt(pg.load_questions(DATA)[0].id)

    with pytest.raises(EpisodeError, match=naming("protocol='tools'")):
        attempt.call("search_profile", {"query": "food"})


class OneBatch:
    """A judge whose calls end only when `size` of them are in flight at once."""

    def __init__(self, size: int) -> None:
        self.barrier = asyncio.Barrier(size)
        self.threads = set[str]()

    async def __call__(self, episodes: Sequence[Episode]) -> list[Reward]:
        self.threads.add(threading.current_thread().name)
        await asyncio.gather(*(asyncio.wait_for(self.barrier.wait(), 30) for _ in episodes))
        return [Reward(0.5, {"score": 0.5}) for _ in episodes]


def test_a_group_waits_for_its_judge_once() -> None:
    driver = Driver(DATA, reward=OneBatch(4))
    group = [answered(driver.attempt(driver.questions.ids[0]), f"Answer {i}.") for i in range(4)]

    assert [attempt.outcome().reward for attempt in group] == [0.5] * 4


def test_in_async_code_other_attempts_go_on_while_a_judge_is_waited_for() -> None:
    driver = Driver(DATA, reward=OneBatch(3))

    async def play(number: int) -> float | None:
        attempt = driver.attempt(driver.questions.ids[number])
        assert "<information>" in await attempt.write_async(SEARCH)
        await attempt.write_async("<answer>Soup.</answer>")
        return (await attempt.outcome_async()).reward

    async def all_of_them() -> list[float | None]:
        return await asyncio.gather(*map(play, range(3)))

    assert asyncio.run(all_of_them()) == [0.5] * 3


async def dead_judge(episodes: Sequence[Episode]) -> list[Reward]:
    raise OSError("connection refused")


async def spent_judge(episodes: Sequence[Episode]) -> list[Reward]:
    raise BudgetSpent("0.10 of 0.10 dollars")


class Slow:
    """A retriever on a server, as it were; it refuses one query."""

    def search(self, profile: Profile, query: str, k: int) -> list[pg.Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[pg.Hit]]:
        if any(query == "forbidden" for _, query in requests):
            raise OSError("the search server is down")
        return [[pg.Hit(document, 1.0) for document in profile.documents[:k]] for profile, _ in requests]


def test_an_outage_of_the_judge_is_unscored() -> None:
    driver = Driver(DATA, reward=dead_judge)

    outcome = answered(driver.attempt(driver.questions.ids[0]), "Soup.").outcome()

    assert outcome.reward is None
    assert outcome.unscored is not None
    assert "connection refused" in outcome.unscored
    assert "score" not in outcome.figures
    assert outcome.gain(outcome) is None


def test_a_spent_budget_is_raised() -> None:
    driver = Driver(DATA, reward=spent_judge)
    attempt = answered(driver.attempt(driver.questions.ids[0]), "Soup.")

    with pytest.raises(BudgetSpent):
        attempt.outcome()


@pytest.mark.parametrize("in_async_code", [False, True])
def test_an_outage_of_the_retriever_ends_the_attempt_unscored(in_async_code: bool) -> None:
    driver = Driver(DATA, retriever=Slow())
    well, badly = (driver.attempt(driver.questions.ids[0]) for _ in range(2))

    def write(attempt: Attempt, query: str) -> str:
        turn = f"<search>{query}</search>"
        return asyncio.run(attempt.write_async(turn)) if in_async_code else attempt.write(turn)

    assert "<information>" in write(well, "food")
    assert write(badly, "forbidden") == ""
    assert badly.done
    assert badly.outcome().reward is None
    assert "the search server is down" in str(badly.outcome().unscored)


def test_what_a_framework_cuts_off_is_truncated_and_what_it_breaks_is_unscored() -> None:
    driver = Driver(DATA)
    cut, broken = (driver.attempt(driver.questions.ids[0]) for _ in range(2))

    cut.stop()
    broken.fail("the sandbox died")

    assert cut.outcome().reward == 0.0
    assert cut.episode.ended == "length"
    assert broken.outcome().reward is None
    assert broken.outcome().unscored == "the sandbox died"


def test_each_attempt_is_recorded_once_when_its_score_is_known() -> None:
    records: list[Trajectory] = []
    driver = Driver(DATA, recorded=records.append)
    attempt = driver.attempt(driver.questions.ids[0], name="7")

    answered(attempt, "Soup.").outcome()
    attempt.stop()

    (record,) = records
    assert record.id == f"{driver.questions.ids[0]}:pr2:7"
    assert record.reward is not None
    assert record.data == DATA


def test_an_attempt_that_is_stopped_in_the_midst_of_a_search_is_truncated() -> None:
    searching, going_on = threading.Event(), threading.Event()

    class Slower(Slow):
        def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[pg.Hit]]:
            searching.set()
            assert going_on.wait(30)
            return super().search_many(requests, k)

    driver = Driver(DATA, Slower())
    attempt = driver.attempt(driver.questions.ids[0])
    writing = threading.Thread(target=attempt.write, args=(SEARCH,))
    writing.start()
    assert searching.wait(30)

    attempt.stop()
    going_on.set()
    writing.join(30)

    assert attempt.outcome().ended == "length"
    assert attempt.trajectory().searches == []


def test_an_attempt_that_is_stopped_in_the_midst_of_a_call_is_scored_and_recorded_once() -> None:
    calling, asked, records = threading.Event(), list[str](), list[Trajectory]()

    async def slow(profile: Profile, word: Annotated[str, "what to look for"]) -> str:
        """Wait."""
        calling.set()
        await asyncio.sleep(0.3)
        return "done"

    async def judge(episodes: Sequence[Episode]) -> list[Reward]:
        asked.extend(episode.id for episode in episodes)
        await asyncio.sleep(0.5)
        return [Reward(0.0)] * len(episodes)

    tools = Toolset([*tools_of("search_profile"), Tool.of(slow)])
    driver = Driver(DATA, reward=judge, tools=tools, recorded=records.append)
    attempt = driver.attempt(driver.questions.ids[0])

    async def play() -> str:
        writing = asyncio.create_task(attempt.write_async('<tool>{"name": "slow", "arguments": {"word": "z"}}</tool>'))
        assert await asyncio.to_thread(calling.wait, 30)
        attempt.stop()
        await writing
        return (await attempt.outcome_async()).ended

    assert asyncio.run(play()) == "length"
    assert len(asked) == len(records) == 1


def test_lists_of_questions_that_look_alike_have_drivers_of_their_own() -> None:
    def listed(word: str) -> list[Question]:
        return [Question("q", "u", "What?", Profile("u", (Document("d1", word),)), pg.Rubric(reference="tea"))]

    ann, bo = listed("rooibos"), listed("espresso")
    first, again, second = (shared_driver(questions, {"reward": "none"}) for questions in (ann, ann, bo))

    assert first is again
    assert first.questions.find("q").profile.documents[0].text == "rooibos"
    assert second.questions.find("q").profile.documents[0].text == "espresso"


def test_tokens_of_an_array_are_recorded() -> None:
    records: list[Trajectory] = []
    driver = Driver(DATA, recorded=records.append)
    tokens, logprobs = np.array([1, 2]), np.array([-0.5, np.nan])

    driver.attempt(driver.questions.ids[0]).write("<answer>Tea.</answer>", tokens, logprobs)  # type: ignore[arg-type]

    again = Trajectory.from_json(records[0].to_json()).segments[-1]
    assert (again.tokens, again.logprobs) == ([1, 2], [-0.5, None])


def test_an_unknown_question_and_a_running_attempt_are_errors() -> None:
    driver = Driver(DATA)

    with pytest.raises(OptionError, match=naming("'control'", "'baseline'")):
        driver.attempt(driver.questions.ids[0], "control")  # type: ignore[arg-type]

    with pytest.raises(DataError, match=naming("nobody")):
        driver.attempt("nobody")
    with pytest.raises(EpisodeError, match=naming("text")):
        driver.attempt(driver.questions.ids[0]).outcome()


def test_tokens_are_kept_as_they_are_given() -> None:
    attempt = Driver(DATA).attempt(pg.load_questions(DATA)[0].id)

    attempt.write(SEARCH, [5, 6, 7], [-0.1, -0.2, -0.3])

    assert attempt.trajectory().segments[1].tokens == [5, 6, 7]
    assert attempt.trajectory().segments[1].logprobs == [-0.1, -0.2, -0.3]


def test_documents_of_others_never_reach_an_attempt() -> None:
    class Stranger(Slow):
        def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[pg.Hit]]:
            return [[pg.Hit(Document("x", "a stranger's post"), 1.0)] for _ in requests]

    attempt = Driver(DATA, retriever=Stranger()).attempt(pg.load_questions(DATA)[0].id)

    assert attempt.write(SEARCH) == ""
    assert attempt.outcome().reward is None
