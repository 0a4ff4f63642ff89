"""Signs that a search agent is going wrong."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from profilegym import Episode, Hit, Question, Reward, Trajectory, load_questions
from profilegym.envs.reward import no_reward
from profilegym.evaluation.alarms import SIGNS, Alarm, Alarms
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory

Ask = Callable[..., Question]
SEARCHES = 3


def played(question: Question, *turns: str, **options: Any) -> Trajectory:
    """An episode of these turns, whose searches find everything."""
    episode = Episode(question, max_searches=SEARCHES, **options)
    for turn in turns:
        episode.write(turn)
        if episode.needs == "search":
            episode.add_hits([Hit(document, 1.0) for document in question.profile.documents])
    if episode.needs == "text":
        episode.truncate()
    episode.score(Reward(1.0))
    return episode.trajectory()


def alarm(name: str, question: Question, *trajectories: Trajectory) -> Alarm:
    counted = Alarms(SEARCHES)
    for trajectory in trajectories:
        counted.add(trajectory, question)
    return next(found for found in counted.report() if found.name == name)


def test_a_sound_episode_raises_no_alarm(ask: Ask) -> None:
    sound = played(ask(), "<search>drinks I like</search>", "<answer>rooibos</answer>")

    counted = Alarms(SEARCHES)
    counted.add(sound, ask())

    assert [found.name for found in counted.report() if found.raised] == []
    assert {found.name for found in counted.report()} == set(SIGNS)


def test_a_query_that_comes_again_in_other_letters_is_repeated(ask: Ask) -> None:
    again = played(ask(), "<search>Tea</search>", "<search>tea!</search>", "<answer>tea</answer>")
    once = played(ask(), "<search>tea</search>", "<answer>tea</answer>")

    found = alarm("repeated queries", ask(), again, once)

    assert (found.count, found.n, found.raised) == (1, 2, True)
    assert found.examples == (again.id,)


def test_queries_without_a_word_are_empty_whether_or_not_they_were_searched_for(ask: Ask) -> None:
    nothing = played(ask(), "<search>?!</search>", "<search> </search>", "<search>tea</search>", "<answer>a</answer>")

    found = alarm("empty queries", ask(), nothing)

    assert (found.count, found.n) == (2, 3)


def test_a_query_that_is_nearly_the_question_is_copied(ask: Ask) -> None:
    question = ask(text="Which of the many teas in my own kitchen cupboard should I drink?")
    copied = played(question, "<search>which of the many teas in my own kitchen cupboard should i drink</search>")
    own = played(question, "<search>teas in my cupboard</search>")

    found = alarm("copied questions", question, copied, own)

    assert (found.count, found.n, found.raised) == (1, 2, False)


def test_the_environments_own_search_for_the_question_is_no_copy(ask: Ask) -> None:
    question = ask()
    episode = Episode(question, max_searches=0, initial_search=True)
    episode.add_hits([])
    episode.write("<answer>tea</answer>")

    assert alarm("copied questions", question, episode.trajectory()).n == 0
    assert alarm("never searches", question, episode.trajectory()).n == 0


def test_never_searching_counts_only_where_a_search_is_needed(ask: Ask) -> None:
    needy = ask()
    easy = replace(needy, rubric=replace(needy.rubric, hops=0))

    assert alarm("never searches", needy, *[played(needy, "<answer>tea</answer>")] * 5).raised
    assert alarm("never searches", easy, played(easy, "<answer>tea</answer>")).n == 0
    assert alarm("never searches", needy, played(needy, "<answer>tea</answer>", kind="baseline")).n == 0


def test_searching_until_it_may_not_is_told_apart_from_needing_it(ask: Ask) -> None:
    searches = [f"<search>word{turn}</search>" for turn in range(SEARCHES)]
    easy = ask()
    hard = replace(easy, rubric=replace(easy.rubric, hops=SEARCHES))

    assert alarm("always searches to the limit", easy, *[played(easy, *searches, "<answer>a</answer>")] * 5).raised
    assert alarm("always searches to the limit", hard, played(hard, *searches, "<answer>a</answer>")).n == 0


def test_information_that_the_policy_writes_is_forged(ask: Ask) -> None:
    forged = played(ask(), "<think><information>1. I love tea</information></think><answer>tea</answer>")

    assert alarm("forged information", ask(), forged).raised


def test_what_did_not_end_well_is_counted(ask: Ask) -> None:
    cut = played(ask(), "I had rather not say.")
    unscored = played(ask(), "<answer>tea</answer>")
    unscored.reward = Reward(None, unscored="the judge is dead")

    assert alarm("truncated", ask(), cut).raised
    assert alarm("malformed", ask(), cut).raised
    assert alarm("unscored", ask(), cut, unscored).count == 1


def test_episodes_that_nobody_meant_to_score_raise_no_alarm_of_being_unscored(ask: Ask) -> None:
    scored_elsewhere = played(ask(), "<answer>tea</answer>")
    [scored_elsewhere.reward] = no_reward([Episode(ask())])
    failed = replace(played(ask(), "<answer>tea</answer>"), reward=None, ended="error")

    found = alarm("unscored", ask(), scored_elsewhere, failed)

    assert (found.count, found.n) == (1, 1)


def test_examples_are_few_and_each_is_named_once(ask: Ask) -> None:
    question = ask()
    many = [played(question, "<search>?</search>", "<search>!</search>", id=f"e{i}") for i in range(20)]

    assert alarm("empty queries", question, *many).examples == ("e0", "e1", "e2", "e3", "e4")


def test_a_run_keeps_its_alarms_in_the_summary(tmp_path: Path) -> None:
    settings = Settings(agent="none", model="scripted:oracle", data="world:seed=7,users=20/test", limit=6)

    summary = asyncio.run(evaluate(settings, RunDirectory(tmp_path)))

    assert {found["name"] for found in summary["alarms"]} == set(SIGNS)
    assert [found["name"] for found in summary["alarms"] if found["raised"]] == []


def test_the_posts_of_another_are_no_evidence_though_their_ids_are_the_same(tmp_path: Path) -> None:
    settings = Settings(agent="rag-random", model="scripted:oracle", data="world:seed=7,users=20/test")

    summary = asyncio.run(evaluate(settings, RunDirectory(tmp_path)))

    ids = {document.id for question in load_questions(settings.data) for document in question.profile.documents}
    assert "d000" in ids
    assert summary["evidence"]["mean"] == 0


def test_few_episodes_that_all_do_the_same_raise_no_alarm() -> None:
    assert [Alarm("never searches", n, n, 0.95, "episodes", "", ()).raised for n in (4, 5)] == [False, True]
    assert Alarm("malformed", 1, 1, 0.05, "turns", "", ()).raised
