"""RPM: its statistics by hand, its models of people as files, and every row of its ablation."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from matching import names, naming

from profilegym import Document, Profile, Question, Trajectory, load_questions, make_retriever
from profilegym.agents.agent import Agent, make_agent
from profilegym.agents.models.model import Turn
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.agents.rollout import Job, Rollout
from profilegym.agents.rpm.build import all_choices, list_features, parse_factors, past_responses
from profilegym.agents.rpm.store import FeatureRetriever, UserModelStore
from profilegym.agents.rpm.user_model import (
    Feature,
    Observation,
    UserModel,
    parse_features,
    read_user_model,
    statistics,
)
from profilegym.envs.trajectory import Segment
from profilegym.errors import DataError, ModelError, OptionError, RetrievalError
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory
from profilegym.testing import AgentContract
from profilegym.testing.agent import CHECKS
from profilegym.world.players.rules import play

UPTO = ("task", "factors", "examples", "thought", "paths")


def seen(*names: str, response: str = "", strength: float | None = None, direction: float | None = None) -> Observation:
    return Observation(tuple(Feature(name, "", name, strength, direction) for name in names), response)


def test_propensity_is_the_share_of_a_response_among_what_holds_the_factor() -> None:
    past = [seen("Loud", response="2"), seen("noisy", "pink", response="2"), seen("loud", response="5"), seen("old")]

    found = statistics(past, ("loud", "noisy"), choices=True)

    assert found.count == 3
    assert found.coverage == 3 / 4
    assert found.propensity == {"2": 2 / 3, "5": 1 / 3}
    assert str(found) == "seen 3 times: 2 (67%), 5 (33%)"


def test_coverage_influence_and_polarity_count_each_thing_once() -> None:
    rated = Observation((Feature("place", "", "p", 1.0, 1.0), Feature("town", "", "p", 0.5, 0.0)), "At the market")
    past = [rated, seen("place", strength=0.25, direction=-0.5), seen("thing", strength=1, direction=1), seen("thing")]

    found = statistics(past, ("place", "town"), choices=False)

    assert found.coverage == 2 / 4
    assert found.influence == (0.75 + 0.25) / 2
    assert found.polarity == (0.5 - 0.5) / 2
    assert found.propensity is None


def test_what_no_rating_tells_is_not_known() -> None:
    found = statistics([seen("place"), seen("thing", strength=1, direction=1)], ("place",), choices=False)

    assert (found.influence, found.polarity) == (None, None)
    assert str(found) == "coverage 0.50"


def test_features_are_read_as_models_write_them() -> None:
    reply = "- Loud | the whole street | noise | 0.5 | -2\n\n2. pink\n | nothing\nloud | again | noise"

    assert parse_features(reply) == (Feature("loud", "again", "noise"), Feature("pink", "", "pink"))
    assert parse_features("a | b | c | 0.5 | -2") == (Feature("a", "b", "c", 0.5, -1.0),)
    assert parse_features("a | b | c | nan | high") == (Feature("a", "b", "c"),)


def test_each_feature_belongs_to_one_factor_even_if_the_model_forgets_it() -> None:
    features = [Feature("Loud", "", "noise"), Feature("shrill", "", "noise"), Feature("pink", "", "look")]

    factors = parse_factors("1. Sound: loud; shrill (noise); drums\nVolume: Loud\nnothing", features)

    assert factors == {"Sound": ("loud", "shrill"), "look": ("pink",)}
    assert list_features([*features, Feature("loud", "", "x")]) == "loud (x)\nshrill (noise)\npink (look)"


def test_a_profile_of_labels_is_one_of_choices_and_a_profile_of_titles_is_not() -> None:
    labelled = Profile("u", (Document("a", "Two friends.\nAnd a train.\nTag: dark comedy"), Document("b", "x\nTag: y")))
    rated, titled = (
        Profile("u", (Document("a", "It rattles.\nRating: 2 of 5"),)),
        Profile("u", (Document("a", "x", None, "X"),)),
    )

    first = past_responses(labelled)[0]
    assert (first.text, first.response) == (
        "Two friends. And a train.",
        "dark comedy",
    )
    assert past_responses(rated)[0].response == "2"
    assert past_responses(titled)[0].response == "X"
    assert [all_choices(past_responses(p)) for p in (labelled, rated, titled, Profile("u", ()))] == [
        True,
        True,
        False,
        False,
    ]


@cache
def person() -> Question:
    return load_questions("world-lamp-3:users=20/test")[0]


def asking(failing_after: int = 10**6) -> tuple[Callable[[str], Awaitable[Turn]], list[str]]:
    """The world's rules behind one call, and what they were asked; they break down after so many."""
    prompts: list[str] = []

    async def ask(prompt: str) -> Turn:
        await asyncio.sleep(0)
        if len(prompts) >= failing_after:
            raise ModelError("the endpoint is down")
        prompts.append(prompt)
        return Turn(play(person(), [Segment("environment", prompt)]), prompt_tokens=10, completion_tokens=2, cost=0.5)

    return ask, prompts


def test_a_users_model_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    ask, prompts = asking()

    user = asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit:rules", ask))

    (path,) = tmp_path.rglob("*.json")
    assert path.parent.name == "kit-rules"
    assert read_user_model(path) == user
    assert {factor.name for factor in user.factors} == {"loud", "heavy", "small", "old", "pink", "price"}
    assert all(sum((factor.statistics.propensity or {}).values()) == pytest.approx(1) for factor in user.factors)
    assert user.memories[0].path.endswith(f"leads to {user.memories[0].response}.")
    assert (user.cost.calls, user.cost.cost) == (len(prompts), len(prompts) * 0.5)


@pytest.mark.slow
def test_a_kill_loses_only_what_was_being_asked(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal
from profilegym import load_questions
from profilegym.agents.models.model import Turn
from profilegym.world.players.rules import play
from profilegym.agents.rpm.store import UserModelStore
from profilegym.envs.trajectory import Segment

question, asked = load_questions("world-lamp-3:users=20/test")[0], []

async def ask(prompt):
    asked.append(prompt)
    if len(asked) > 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return Turn(play(question, [Segment("environment", prompt)]), prompt_tokens=10, completion_tokens=2, cost=0.5)

asyncio.run(UserModelStore({str(tmp_path)!r}).get(question.profile, "kit", ask))
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)

    ask, prompts = asking()
    user = asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit", ask))

    assert killed.returncode == -signal.SIGKILL
    assert len(prompts) == 81 - 30
    assert (user.cost.calls, user.cost.cost) == (81, 81 * 0.5)


def test_a_line_that_was_left_half_written_is_asked_again(tmp_path: Path) -> None:
    profile = person().profile
    ask, before = asking(failing_after=30)
    with pytest.raises(ModelError):
        asyncio.run(UserModelStore(tmp_path).get(profile, "kit", ask))
    (calls,) = tmp_path.rglob("*.calls.jsonl")
    calls.write_text(calls.read_text("utf-8")[:-20], "utf-8")

    ask, after = asking()
    user = asyncio.run(UserModelStore(tmp_path).get(profile, "kit", ask))

    assert len(set(before) & set(after)) == 1
    assert user.cost.calls == 81


def test_a_file_with_another_persons_model_is_not_taken(tmp_path: Path) -> None:
    ask, _ = asking()
    ann, bob = (Profile(name, person().profile.documents[:3]) for name in ("ann", "bob"))
    asyncio.run(UserModelStore(tmp_path).get(ann, "kit", ask))
    (written,) = tmp_path.rglob("ann-*.json")
    store = UserModelStore(tmp_path)
    written.rename(store._path(bob, "kit"))  # as where the names of two files meet

    with pytest.raises(RetrievalError, match=naming("bob")):
        store.find(bob)
    assert asyncio.run(store.get(bob, "kit", ask)).user_id == "bob"


def test_many_who_want_a_model_at_once_have_it_made_once(tmp_path: Path) -> None:
    ask, prompts = asking()
    store, profile = UserModelStore(tmp_path), person().profile

    async def all_at_once() -> list[UserModel]:
        return await asyncio.gather(*(store.get(profile, "kit", ask) for _ in range(5)))

    users = asyncio.run(all_at_once())

    assert len({id(user) for user in users}) == 1
    assert len(prompts) == len(set(prompts)) == users[0].cost.calls


def test_posts_that_say_the_same_are_asked_about_once(tmp_path: Path) -> None:
    said = person().profile.documents[0]
    twice = Profile("twice", (said, replace(said, id="again")))
    ask, prompts = asking()

    user = asyncio.run(UserModelStore(tmp_path).get(twice, "kit", ask))

    assert len(user.memories) == 2
    assert len(prompts) == len(set(prompts)) == user.cost.calls == 3


def test_what_is_kept_is_asked_of_nobody_and_a_longer_past_pays_for_what_is_new(tmp_path: Path) -> None:
    profile = person().profile
    shorter = Profile(profile.user_id, profile.documents[:-1])
    ask, _ = asking()
    asyncio.run(UserModelStore(tmp_path).get(shorter, "kit", ask))

    again, nothing = asking()
    asyncio.run(UserModelStore(tmp_path).get(shorter, "kit", again))
    longer, more = asking()
    asyncio.run(UserModelStore(tmp_path).get(profile, "kit", longer))

    assert nothing == []
    assert sum("List what in it may have" in prompt for prompt in more) == 1


def test_a_model_made_by_older_prompts_is_made_anew(tmp_path: Path) -> None:
    asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit", asking()[0]))
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | {"prompts": "older", "factors": []}), "utf-8")

    user = asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit", asking()[0]))

    assert len(user.factors) == 6
    assert read_user_model(path) == user


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit", asking()[0]))
    (path,) = tmp_path.rglob("*.json")
    path.write_text('{"schema": 7}', "utf-8")

    with pytest.raises(DataError, match=naming(path, 1)):
        asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit", asking()[0]))


def test_nobody_goes_on_asking_when_one_call_fails(tmp_path: Path) -> None:
    ask, prompts = asking(failing_after=5)

    async def failing() -> int:
        with pytest.raises(ModelError):
            await UserModelStore(tmp_path).get(person().profile, "kit", ask)
        before = len(prompts)
        for _ in range(10):
            await asyncio.sleep(0)
        return len(prompts) - before

    assert asyncio.run(failing()) == 0


def test_features_find_what_other_words_tell(tmp_path: Path) -> None:
    question = person()
    asyncio.run(UserModelStore(tmp_path).get(question.profile, "kit", asking()[0]))

    hits = FeatureRetriever(str(tmp_path)).search(question.profile, "loud pink", 3)
    by_words = make_retriever("bm25").search(question.profile, "loud pink", 3)

    texts = [hit.document.text for hit in hits]
    assert all(any(says in text for says in ("It is loud.", "shout over it", "whole street")) for text in texts)
    assert len({*texts, *(hit.document.text for hit in by_words)}) > 3
    assert all(hit.document in question.profile.documents for hit in hits)
    assert make_retriever(f"features:models={tmp_path}").search(question.profile, "loud pink", 3) == hits


def test_features_of_a_stranger_are_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match=naming(tmp_path, "'world-lamp-3-0-000007'", "profilegym explain")):
        FeatureRetriever(str(tmp_path)).search(person().profile, "loud", 3)


def test_of_several_makers_one_has_to_be_named(tmp_path: Path) -> None:
    question, ask = person(), asking()[0]
    for maker in ("kit:one", "kit:two"):
        asyncio.run(UserModelStore(tmp_path).get(question.profile, maker, ask))

    with pytest.raises(RetrievalError, match=naming("kit-one", "kit-two", "by=")):
        FeatureRetriever(str(tmp_path)).search(question.profile, "loud", 3)
    assert FeatureRetriever(str(tmp_path), by="kit:two").search(question.profile, "loud", 3)


def test_whoever_else_read_a_person_each_model_goes_by_its_own(tmp_path: Path) -> None:
    asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit:other", asking()[0]))

    trajectory, _ = played(f"rpm:models={tmp_path}", person())

    assert trajectory.ended == "answered"
    assert {path.parent.name for path in tmp_path.rglob("*.json")} == {"kit-other", "scripted-world"}


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("It is loud.\nAnswer: 4", "4"),
        ("Answer: 3\nNo, wait.\n**Answer:** 4\n", "4"),
        ("The answer: it depends.\nanswer: dark comedy", "dark comedy"),
        ("4", "4"),
        ("It is loud.\n**Answer**: 4", "4"),
        ("It is loud.\n**Answer: dark comedy**", "dark comedy"),
        ("Answer: **4**", "4"),
        ("Answer: **Tea**, or _rooibos_.", "**Tea**, or _rooibos_."),
        ("<think>\nAnswer: 5? No.\n</think>\n\n4", "4"),
        ("<think>\nIt is loud", ""),
    ],
)
def test_the_answer_is_what_follows_the_last_mark(reply: str, answer: str) -> None:
    async def run() -> Trajectory:
        rollout = Rollout(Replies([reply]), make_retriever("bm25"))
        (trajectory,) = [one async for one in rollout.run([Job(person(), make_agent("rpm:upto=task"))])]
        return trajectory

    assert asyncio.run(run()).answer == answer


def test_what_a_model_thinks_before_it_replies_is_no_feature(tmp_path: Path) -> None:
    ask, _ = asking()

    async def think(prompt: str) -> Turn:
        turn = await ask(prompt)
        return replace(turn, text=f"<think>\nHm | who | knows?\n</think>\n\n{turn.text}")

    plain = asyncio.run(UserModelStore(tmp_path / "plain").get(person().profile, "kit", ask))
    thinking = asyncio.run(UserModelStore(tmp_path / "thinking").get(person().profile, "kit", think))

    assert (thinking.factors, thinking.memories) == (plain.factors, plain.memories)


class TestRPM(AgentContract):
    folder: Path

    @pytest.fixture(autouse=True)
    def _own_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make(self) -> Agent:
        return make_agent(f"rpm:models={self.folder}")


@pytest.mark.parametrize("upto", UPTO[:-1])
def test_every_row_of_the_ablation_keeps_an_agents_promises(upto: str, tmp_path: Path) -> None:
    for check in CHECKS:
        check.run(make_agent(f"rpm:models={tmp_path / check.name},upto={upto}"))


class Listening:
    """The world's rules, and all prompts that they were given."""

    name = "scripted:world"

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.open = ScriptedModel("world", self._play).open

    def _play(self, question: Question, said: Sequence[Segment]) -> str:
        self.prompts.append(said[-1].text)
        return play(question, said)

    async def close(self) -> None:
        """There is nothing to give back."""


def played(spec: str, question: Question) -> tuple[Trajectory, str]:
    """The trajectory, and the last prompt."""
    model = Listening()

    async def run() -> Trajectory:
        rollout = Rollout(model, make_retriever("bm25"))
        (trajectory,) = [played async for played in rollout.run([Job(question, make_agent(spec))])]
        return trajectory

    return asyncio.run(run()), model.prompts[-1] if model.prompts else ""


def test_each_row_of_the_ablation_adds_to_the_prompt(tmp_path: Path) -> None:
    parts = ("What is known of the person:", "Features of the task:", "Past text:", "step by step", "Reasoning: It is")

    told = {}
    for upto in UPTO:
        trajectory, prompt = played(f"rpm:models={tmp_path},upto={upto}", person())
        told[upto] = ([part in prompt for part in parts], len(trajectory.searches))

    assert told == {
        "task": ([False, False, False, False, False], 0),
        "factors": ([True, True, False, False, False], 0),
        "examples": ([True, True, True, False, False], 1),
        "thought": ([True, True, True, True, False], 1),
        "paths": ([True, True, True, False, True], 1),
    }


def test_making_a_users_model_is_not_charged_to_the_episode(tmp_path: Path) -> None:
    first, _ = played(f"rpm:models={tmp_path}", person())
    second, _ = played(f"rpm:models={tmp_path}", person())

    assert first == second
    assert first.usage is not None
    assert first.usage == second.usage
    assert first.usage["turns"] == 2
    (path,) = tmp_path.rglob("*.json")
    assert read_user_model(path).cost.calls == 81


def test_a_users_model_of_another_maker_can_be_used(tmp_path: Path) -> None:
    asyncio.run(UserModelStore(tmp_path).get(person().profile, "kit:other", asking()[0]))

    trajectory, _ = played(f"rpm:models={tmp_path},by=kit:other", person())
    missing, _ = played(f"rpm:models={tmp_path},by=kit:none", person())

    assert trajectory.ended == "answered"
    assert names(missing.error, "kit:none", "profilegym explain")


def test_someone_without_a_past_gets_the_plain_answer(tmp_path: Path) -> None:
    nobody = replace(person(), profile=Profile("nobody", ()))

    trajectory, prompt = played(f"rpm:models={tmp_path}", nobody)

    assert trajectory.answer == "3"
    assert trajectory.searches == []
    assert "What is known" not in prompt


@pytest.mark.slow
@pytest.mark.parametrize("task", [2, 3, 5])
def test_rpm_beats_its_own_ablation_without_a_language_model(task: int, tmp_path: Path) -> None:
    if task == 5:
        pytest.importorskip("rouge_score")
    means = {}
    for upto in ("task", "paths"):
        settings = Settings(f"rpm:models={tmp_path},upto={upto}", "scripted:world", f"world-lamp-{task}/test", limit=24)
        summary = asyncio.run(evaluate(settings, RunDirectory(tmp_path / upto)))
        means[upto] = summary["score"]["mean"]

    assert means["paths"] > means["task"] + 0.5


def test_an_ablation_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match=naming("upto='all'", "task", "factors", "examples", "thought", "paths")):
        make_agent("rpm:upto=all")


@pytest.mark.slow
def test_rules_read_posts_in_a_transcript_too(tmp_path: Path) -> None:
    scores = {}
    for agent in ("rag", "rag-random", "pr2"):
        settings = Settings(agent, "scripted:world", "world-lamp-3:seed=7/test", limit=60)
        summary = asyncio.run(evaluate(settings, RunDirectory(tmp_path / agent)))
        scores[agent] = summary["score"]["mean"], summary["baseline"]["mean"]

    assert scores["pr2"][0] > scores["rag"][0] > scores["rag"][1] > scores["rag-random"][0]
