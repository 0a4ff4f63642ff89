"""The scripted player whose episodes the pilot learns from."""

import asyncio
import re
from collections import Counter

import pytest
from matching import naming
from pydantic import ValidationError

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.models.model import make_model
from profilegym.agents.posts_shown import posts_shown
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.grammar import structure
from profilegym.errors import OptionError
from profilegym.rewards.rubric import RubricJudge
from profilegym.training.settings import load_settings
from profilegym.world.data import gold_queries
from profilegym.world.pilot.demonstrations import Habits, demonstrate, lessons
from profilegym.world.pilot.train import RECIPE as PILOT
from profilegym.world.pilot.train import PilotRecipe

DATA = "world:seed=3,users=100/train"
RECIPE = load_settings(PilotRecipe, PILOT)


def played(habits: Habits, agent: str = "pr2", data: str = DATA) -> list[tuple[pg.Question, pg.Trajectory]]:
    questions = pg.load_questions(data)
    return [(questions.find(one.question_id), one) for one in demonstrate(questions, habits, {agent: 1.0}, seed=5)]


def mean_score(episodes: list[tuple[pg.Question, pg.Trajectory]]) -> float:
    scores = [RubricJudge().verdict(question, one.answer or "").score for question, one in episodes]
    return sum(scores) / len(scores)


@pytest.mark.parametrize("agent", ["pr2", "none", "rag", "plan"])
def test_every_demonstration_keeps_to_the_grammar_and_answers(agent: str) -> None:
    episodes = played(RECIPE.habits, agent)

    assert len(episodes) == 360
    assert all(structure(one.segments).ok and one.ended == "answered" and not one.malformed for _, one in episodes)


def test_without_flaws_a_demonstration_is_nearly_perfect() -> None:
    assert mean_score(played(Habits())) > 0.97


def test_with_the_flaws_of_the_recipe_much_is_left_to_learn() -> None:
    assert 0.5 < mean_score(played(RECIPE.last.habits)) < 0.75


def test_the_share_of_each_flaw_is_the_recipes() -> None:
    habits = RECIPE.habits
    seen: Counter[str] = Counter()
    for question, one in played(habits, data="world:seed=3,users=300/train"):
        queries = [search.query for search in one.searches]
        personal = bool(question.rubric.hops)
        seen["personal" if personal else "common"] += 1
        seen["hasty"] += personal and not queries
        seen["copies"] += personal and queries == [question.text]
        seen["stops"] += len(queries) == 1 < len(gold_queries(question.id)) and queries != [question.text]
        seen["long plan"] += len(gold_queries(question.id)) > 1
        seen["needless"] += not personal and queries == [question.text]

    assert seen["hasty"] / seen["personal"] == pytest.approx(habits.hasty, abs=0.05)
    assert seen["copies"] / seen["personal"] == pytest.approx(habits.copies, abs=0.05)
    assert seen["stops"] / seen["long plan"] == pytest.approx(habits.stops, abs=0.05)
    assert seen["needless"] / seen["common"] == pytest.approx(habits.needless, abs=0.05)


def test_an_answer_says_only_what_the_posts_shown_tell_or_everybody_knows() -> None:
    for question, one in played(RECIPE.habits):
        shown, known = posts_shown(one.segments), one.answer or ""
        for aspect in question.rubric.aspects:
            evidence = [question.profile.by_id[document].text for document in aspect.documents]
            if not all(any(text in post for post in shown) for text in evidence):
                assert aspect.accepted[0] not in known


def test_a_quirk_is_repeated_by_those_who_are_tempted_and_by_nobody_else() -> None:
    needless = [pair for pair in played(Habits(needless=1.0)) if not pair[0].rubric.hops]
    tempted = [pair for pair in played(Habits(needless=1.0, tempted=1.0)) if not pair[0].rubric.hops]

    assert mean_score(needless) == 1
    assert mean_score(tempted) < 0.3


def test_the_same_seed_plays_the_same_episodes() -> None:
    first, second = ([one.segments for _, one in played(RECIPE.habits)] for _ in range(2))

    assert first == second


@pytest.mark.parametrize("data", [RECIPE.data, RECIPE.last.data])
def test_the_recipe_learns_from_train_users_only(data: str) -> None:
    users = [int(question_id.split("-")[2]) for question_id in pg.load_questions(data).ids]

    assert {user % 10 for user in users} == {0, 1, 2, 3, 4, 5}
    assert not data.startswith("world:seed=7")  # whose train users are for reinforcement, and test users for scores


def test_what_the_agent_wrote_itself_is_not_learned() -> None:
    questions = pg.load_questions(DATA)
    for _, one in played(RECIPE.habits, "plan")[:50]:
        plan, transcript = lessons(one, questions)
        assert [segment.author for segment in plan] == ["environment", "policy"]
        assert [segment.author for segment in transcript].index("policy") == len(transcript) - 1


def test_a_plan_names_nobody_whom_the_question_does_not_name() -> None:
    questions = pg.load_questions(DATA)
    for question, one in played(RECIPE.habits, "plan"):
        plan, _ = lessons(one, questions)
        names = {aspect.accepted[0] for aspect in question.rubric.aspects if aspect.title.startswith("The name of")}
        assert not any(name in plan[1].text for name in names)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        Habits(hasty=0.5, copies=0.4, stops=0.2)
    (error,) = refused.value.errors()
    assert re.search(naming("hasty", "copies", "stops", 1), error["msg"])
    with pytest.raises(OptionError, match=naming("habits.needles", "needless")):
        load_settings(PilotRecipe, PILOT, ["habits.needles=0.1"])


def test_it_is_a_player_for_lessons_whose_habits_are_options_of_its_spec() -> None:
    questions = pg.load_questions("world:seed=3,users=20,hops=1/train")
    hasty = make_model("profilegym.world.pilot.demonstrations:player,hasty=1.0")

    async def searches() -> int:
        agent = make_agent("pr2")
        played = Rollout(hasty, pg.make_retriever("bm25")).run(Job(question, agent) for question in questions)
        return sum([len(one.searches) async for one in played])

    assert asyncio.run(searches()) == 0
    with pytest.raises(OptionError, match=naming("hsaty", "hasty")):
        make_model("profilegym.world.pilot.demonstrations:player,hsaty=1.0")


def test_a_brief_reader_quotes_what_holds_and_passes_the_other_lines_over() -> None:
    questions = pg.load_questions(DATA)
    brief = make_model("profilegym.world.pilot.demonstrations:player")

    async def thoughts() -> list[str]:
        agent = make_agent("pr2")
        played = Rollout(brief, pg.make_retriever("bm25")).run(Job(question, agent) for question in questions)
        return ["".join(one.text for one in t.segments if one.author == "policy") async for t in played]

    said = asyncio.run(thoughts())

    assert not any(re.search(r"^\d\. no$", text, re.MULTILINE) for text in said)
    assert sum("[20" in text for text in said) > len(said) / 2
