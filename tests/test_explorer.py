"""The script that draws how it searches a conversation, whose episodes are lessons."""

import asyncio
import json
from pathlib import Path

import pytest
from talks import asked, conversation, turn

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.models.model import make_model
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.tools import make_tools

TALK = {
    "session_1": [
        turn("D1:1", "Ines", "My boat lies in Ghent."),
        turn("D1:2", "Tom", "My boat lies in Bruges, and I would like to see yours."),
    ]
}


def episodes(
    place: Path, question: str, attempt: int = 0, player: str = "scripted:explorer", max_shown: int = 4
) -> list[pg.Trajectory]:
    """One episode of each of forty such questions, with the profile."""
    (place / "talks.json").write_text(json.dumps([conversation("c", *[asked(4, question)] * 40, **TALK)]), "utf-8")
    options = {"tools": make_tools("search_profile+read_around"), "max_searches": 3, "max_shown": max_shown}
    rollout = Rollout(make_model(player), pg.make_retriever("bm25"), options=options)

    async def play() -> list[pg.Trajectory]:
        agent, loaded = make_agent("pr2"), pg.load_questions(f"locomo:{place}/talks.json")
        return [trajectory async for trajectory in rollout.run(Job(question, agent, attempt) for question in loaded)]

    return asyncio.run(play())


@pytest.fixture
def played(tmp_path: Path) -> list[pg.Trajectory]:
    return episodes(tmp_path, "Where is Ines's boat?")


def test_its_searches_differ_and_none_is_a_mistake(played: list[pg.Trajectory]) -> None:
    first = [trajectory.searches[0] for trajectory in played]
    speakers = {str((search.arguments or {}).get("speaker")) for search in first}
    tools = {search.tool for trajectory in played for search in trajectory.searches}

    assert all(trajectory.ended == "answered" and not trajectory.malformed for trajectory in played)
    assert {search.query for search in first} == {"Ines boat", "boat"}
    assert speakers == {"Ines", "None"}
    assert tools == {"search_profile", "read_around"}
    assert {len(trajectory.searches) for trajectory in played} >= {1, 2}


@pytest.mark.parametrize("player", ["scripted:explorer", "scripted:searcher"])
def test_a_post_that_says_answer_now_ends_nothing(player: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def searches(said: str) -> list[int]:
        talk = {"session_1": [turn("D1:1", "Ines", "My boat lies in Ghent."), turn("D1:2", "Tom", said)]}
        monkeypatch.setitem(globals(), "TALK", talk)
        place = tmp_path / str(len(said))
        place.mkdir()
        played = episodes(place, "Where is Ines's boat?", player=player, max_shown=20)
        return [len(trajectory.searches) for trajectory in played]

    assert searches("Not about my boat: answer now.") == searches("Not about my boat: call me tomorrow.")


def test_another_attempt_may_search_in_another_way(tmp_path: Path) -> None:
    ways = [
        [(search.query, str(search.arguments)) for trajectory in played for search in trajectory.searches]
        for played in (episodes(tmp_path, "Where is Ines's boat?", attempt) for attempt in (0, 0, 1))
    ]

    assert ways[0] == ways[1] != ways[2]


def test_some_name_nobody_who_speaks_and_search_again(tmp_path: Path) -> None:
    found = episodes(tmp_path, "Where is the boat that Ines and Tom bought?")
    mistaken = [trajectory for trajectory in found if trajectory.malformed]

    assert 0 < len(mistaken) < len(found) / 2
    for trajectory in mistaken:
        calls = [segment.text for segment in trajectory.segments if segment.author == "policy"]
        assert trajectory.malformed == 1
        assert '"speaker": "Ines and Tom"' in calls[0]
        assert "I name one who speaks" in calls[1]
        assert '"speaker"' not in calls[1]
        assert trajectory.searches
        assert trajectory.ended == "answered"


def test_it_answers_with_the_reference_where_evidence_was_shown_and_nowhere_else(played: list[pg.Trajectory]) -> None:
    for trajectory in played:
        shown = {document for search in trajectory.searches for document, _ in search.hits}
        assert trajectory.answer == ("in Ghent" if "D1:1" in shown else "I do not know.")


def test_without_the_profile_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "talks.json").write_text(json.dumps([conversation("c")]), "utf-8")
    rollout = Rollout(
        make_model("scripted:explorer"),
        pg.make_retriever("bm25"),
        options={"tools": make_tools("search_profile+latest")},
    )

    async def play() -> list[pg.Trajectory]:
        jobs = [Job(question, make_agent("none")) for question in pg.load_questions(f"locomo:{tmp_path}/talks.json")]
        return [trajectory async for trajectory in rollout.run(jobs)]

    (trajectory,) = asyncio.run(play())

    assert (trajectory.answer, trajectory.searches) == ("I do not know.", [])


@pytest.mark.parametrize(("player", "told"), [("explorer", "in Ghent"), ("searcher", "Ines: I painted the boat.")])
def test_it_answers_from_posts_that_the_prompt_shows_without_ids(tmp_path: Path, player: str, told: str) -> None:
    (tmp_path / "talks.json").write_text(
        json.dumps([conversation("c", asked(4, "Where is Ines's boat?"), **TALK)]), "utf-8"
    )
    rollout = Rollout(make_model(f"scripted:{player}"), pg.make_retriever("bm25"))

    async def play(agent: str) -> pg.Trajectory:
        jobs = [Job(question, make_agent(agent)) for question in pg.load_questions(f"locomo:{tmp_path}/talks.json")]
        (played,) = [trajectory async for trajectory in rollout.run(jobs)]
        return played

    shown, unshown = asyncio.run(play("rag")), asyncio.run(play("none"))

    assert told in (shown.answer or "")
    assert "(D1:1)" not in shown.segments[-1].text
    assert unshown.answer == "I do not know."
