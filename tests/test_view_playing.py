"""Games in the browser, and branches of what was recorded."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import unescape
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
from viewing import ORACLE, Viewer, add, lines_of, play, viewing

from profilegym import Question, Trajectory, TrajectoryReader, load_questions
from profilegym.agents.models.model import register_model
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.apps.view.games import LiveGames, rebuild_episode
from profilegym.apps.view.library import Library
from profilegym.apps.view.play_options import PlayOptions
from profilegym.envs.data.profile_controls import swapped
from profilegym.envs.trajectory import Segment
from profilegym.errors import DataError

QUESTIONS = load_questions(ORACLE.data)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(tmp_path_factory.mktemp("played"))


@pytest.fixture
def runs(played: Path, tmp_path: Path) -> Path:
    shutil.copytree(played, tmp_path / "runs" / "oracle")
    return tmp_path / "runs"


@pytest.fixture
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer.enter()


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def branches(runs: Path) -> list[Trajectory]:
    return list(TrajectoryReader(runs / "oracle" / "branches.jsonl"))


def two_searches(runs: Path) -> tuple[int, Trajectory]:
    for row, record in enumerate(lines_of(runs / "oracle"), 1):
        if len(record["searches"]) >= 2:
            return row, Trajectory.from_json(json.dumps(record))
    raise AssertionError("the oracle always searches twice for two hops")


def begin(viewer: Viewer, **form: Any) -> str:
    return viewer.post("/run/oracle/live", {"question": QUESTIONS.ids[1], **form}).headers["location"]


def branch(viewer: Viewer, row: int, **form: Any) -> str:
    answer = viewer.post(f"/run/oracle/trajectories/{row}/branch", form)
    assert answer.status == 303, words(answer.text)
    return answer.headers["location"]


def test_a_question_is_played_to_its_verdict_and_kept(viewer: Viewer, runs: Path) -> None:
    seat = begin(viewer)
    viewer.post(seat, {"do": "search", "text": "my sister"})
    during = words(viewer.get(seat).text)
    viewer.post(seat, {"do": "answer", "text": "I could not find out."})
    after = viewer.get(seat).text

    assert "3 searches left" in during
    assert "found for my sister" in during
    assert "Evidence" not in during
    assert "Verdict by rubric" in words(after)
    (kept,) = branches(runs)
    assert (kept.agent, kept.answer) == ("human", "I could not find out.")
    assert [search.query for search in kept.searches] == ["my sister"]
    (address,) = re.findall(r'href="(/run/oracle/branches/\d+)"', after)
    assert "I could not find out." in words(viewer.get(address).text)


def test_evidence_stays_hidden_while_the_game_is_on(viewer: Viewer) -> None:
    question = QUESTIONS[1]
    seat = begin(viewer)
    for _ in range(2):
        viewer.post(seat, {"do": "take"})
        page = unescape(viewer.get(seat).text)
        if "Verdict" in page:
            break
        assert not [aspect.title for aspect in question.rubric.aspects if aspect.title in page]
        assert 'class="evidence"' not in page


def test_the_policy_is_asked_without_taking_its_turn(viewer: Viewer) -> None:
    seat = begin(viewer)
    viewer.post(seat, {"do": "ask"})
    asked = viewer.get(seat).text
    viewer.post(seat, {"do": "take"})
    taken = viewer.get(seat).text

    assert "would write:" in asked
    assert "turn 1" not in asked
    assert "would write:" not in taken
    assert "turn 1" in taken


def test_a_turn_is_taken_back_and_a_branch_goes_on_alone(viewer: Viewer) -> None:
    seat = begin(viewer)
    viewer.post(seat, {"do": "search", "text": "my sister"})
    apart = viewer.post(seat, {"do": "branch"}).headers["location"]
    viewer.post(seat, {"do": "undo"})

    assert "my sister" in viewer.get(apart).text
    assert "my sister" not in viewer.get(seat).text
    for one in (seat, apart):
        links = re.findall(r'<a href="(/live/\w+)"( aria-current="page")?>(\d)</a>', viewer.get(one).text)
        assert [(link, number) for link, _, number in links] == [(seat, "1"), (apart, "2")]
        assert [link for link, here, _ in links if here] == [one]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"do": "answer", "text": " "}, "the answer is empty"),
        ({"do": "search", "text": ""}, "the search is empty"),
        ({"do": "undo"}, "no turn to take back"),
        ({"do": "dance"}, "unknown action"),
        ({}, "unknown action"),
    ],
)
def test_a_slip_is_told_and_changes_nothing(viewer: Viewer, form: dict[str, str], told: str) -> None:
    seat = begin(viewer)

    viewer.post(seat, form)

    page = viewer.get(seat).text
    assert told in words(page)
    assert 'role="alert"' in page
    assert page.count('class="who"') == 1


def test_pages_are_served_while_a_model_thinks(runs: Path) -> None:
    asked, go_on = Event(), Event()

    def think(question: Question, said: Sequence[Segment]) -> str:
        asked.set()
        assert go_on.wait(20)
        return "<answer>At last.</answer>"

    register_model("slow", lambda: ScriptedModel("slow", think))
    with viewing(runs) as viewer, ThreadPoolExecutor() as threads:
        seat = begin(viewer.enter(), model="slow")
        moved = threads.submit(viewer.post, seat, {"do": "take"})
        assert asked.wait(20)
        during = viewer.get("/")
        go_on.set()
        moved.result(20)

        assert during.status == 200
        assert "At last." in viewer.get(seat).text


def test_a_model_that_cannot_be_had_is_told_and_the_game_goes_on(viewer: Viewer) -> None:
    seat = begin(viewer, model="scripted:nobody")

    viewer.post(seat, {"do": "take"})
    failed = words(viewer.get(seat).text)
    viewer.post(seat, {"do": "answer", "text": "On my own, then."})

    assert "no script 'nobody'" in failed
    assert "Verdict by rubric" in words(viewer.get(seat).text)


@pytest.mark.parametrize(
    "form", [{"top_k": "0"}, {"top_k": "9" * 5000}, {"top_k": "many"}, {"profile": "everybody's"}, {"agent": "nobody"}]
)
def test_a_choice_that_cannot_work_is_refused_by_name(viewer: Viewer, form: dict[str, str]) -> None:
    answer = viewer.post("/run/oracle/live", {"question": QUESTIONS.ids[0], **form})

    assert answer.status == 400
    (value,) = form.values()
    assert value in unescape(answer.text)


def test_a_recorded_trajectory_told_again_is_the_same_at_every_step(runs: Path) -> None:
    for record in lines_of(runs / "oracle"):
        trajectory = Trajectory.from_json(json.dumps(record))
        question = QUESTIONS.find(trajectory.question_id)
        turns = sum(segment.author == "policy" for segment in trajectory.segments)
        for turn in range(turns):
            episode = rebuild_episode(trajectory, question, ORACLE, turn)
            assert episode.segments == trajectory.segments[: 2 * turn + 1]
            assert episode.searches == trajectory.searches[: len(episode.searches)]
            assert (episode.turn, episode.needs, episode.seed) == (turn, "text", trajectory.seed)


def test_tokens_are_told_again_as_they_were_drawn(runs: Path) -> None:
    _, trajectory = two_searches(runs)
    record = json.loads(trajectory.to_json())
    for number, segment in enumerate(record["segments"]):
        segment["tokens"] = [number, number + 1]
        if segment["author"] == "policy":
            segment["logprobs"] = [-0.5, -0.25]
    trajectory = Trajectory.from_json(json.dumps(record))

    episode = rebuild_episode(trajectory, QUESTIONS.find(trajectory.question_id), ORACLE, 2)

    assert episode.segments[:4] == trajectory.segments[:4]


@pytest.mark.parametrize("agent", ["rag", "rag-random"])
def test_what_was_searched_before_the_first_turn_is_told_again_too(tmp_path: Path, agent: str) -> None:
    run = play(tmp_path / "run", replace(ORACLE, agent=agent))
    record = lines_of(run)[-1]
    trajectory = Trajectory.from_json(json.dumps(record))
    question = QUESTIONS.find(trajectory.question_id)
    searched = swapped(question, "random" if agent == "rag-random" else "own", QUESTIONS)

    episode = rebuild_episode(trajectory, searched, ORACLE, 0)

    assert episode.segments == trajectory.segments[:1]
    assert episode.searches == trajectory.searches


def test_what_cannot_be_told_again_word_for_word_is_refused(runs: Path) -> None:
    _, trajectory = two_searches(runs)
    question = QUESTIONS.find(trajectory.question_id)

    with pytest.raises(DataError, match="recipe"):
        rebuild_episode(trajectory, question, replace(ORACLE, max_searches=3), 1)
    with pytest.raises(DataError, match=r"'d\d+'"):
        rebuild_episode(trajectory, swapped(question, "empty", QUESTIONS), ORACLE, 1)


def test_a_branch_that_changes_nothing_ends_as_its_parent(viewer: Viewer, runs: Path) -> None:
    row, parent = two_searches(runs)

    for turn in range(3):
        branch(viewer, row, turn=turn, how="ask")

    for turn, again in enumerate(branches(runs)):
        assert again.segments == parent.segments
        assert again.verdict == parent.verdict
        assert again.parent == {"id": parent.id, "step": turn}
        assert again.baseline == parent.baseline


def test_a_turn_that_the_form_sends_back_is_the_one_that_was_recorded(viewer: Viewer, runs: Path) -> None:
    records = lines_of(runs / "oracle")
    record = next(record for record in records if record["searches"])
    place = next(place for place, segment in enumerate(record["segments"]) if segment["author"] == "policy")
    query = "می\u200cخواهم 👨\u200d👩\u200d👧 ⟨U+0041⟩"
    written = f"\n<think>{'so ' * 10_000}</think>\r\n<search>{query}</search>"
    record["segments"][place]["text"], record["searches"][0]["query"] = written, query
    add(runs / "oracle", record)
    row = len(records) + 1

    page = viewer.get(f"/run/oracle/trajectories/{row}/branch?turn=0").text
    shown = unescape(page.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0])
    assert shown.startswith("\n")  # which a browser leaves out
    branch(viewer, row, turn=0, how="model", text=shown.removeprefix("\n").replace("\n", "\r\n"))

    (made,) = branches(runs)
    assert made.segments[place].text == written.partition("</search>")[0] + "</search>"
    assert made.searches[0].query == query


def test_a_branch_is_linked_to_its_parent_and_both_are_shown_side_by_side(viewer: Viewer, runs: Path) -> None:
    row, parent = two_searches(runs)

    address = branch(viewer, row, turn=1, how="model", text="<think>Let me try.</think><search>entirely else</search>")

    (made,) = branches(runs)
    assert made.segments[:3] == parent.segments[:3]
    assert made.searches[1].query == "entirely else"
    page = viewer.get(address).text
    assert f'href="/run/oracle/trajectories/{row}"' in page
    diff = viewer.get(f"{address}/diff").text
    assert words(diff).count(": the same") == 3
    assert "entirely else" in "".join(re.findall(r"<ins>(.*?)</ins>", diff, re.DOTALL))
    assert re.findall(r"<del>", diff)


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ({"profile": "empty"}, lambda hits, own: hits == []),
        ({"profile": "random"}, lambda hits, own: 0 < len(hits) <= 3),
        ({"top_k": "5"}, lambda hits, own: len(hits) == 5),
        ({"retriever": "recency", "top_k": "1"}, lambda hits, own: hits == [own[-1]] or len(hits) == 1),
    ],
)
def test_from_the_branch_on_everything_may_be_other(
    viewer: Viewer, runs: Path, form: dict[str, str], shown: Any
) -> None:
    row, parent = two_searches(runs)
    own = [document.id for document in QUESTIONS.find(parent.question_id).profile.documents]

    seat = branch(viewer, row, turn=1, how="me", text="<search>my dog, my music and my food</search>", **form)
    viewer.post(seat, {"do": "answer", "text": "Enough."})

    (made,) = branches(runs)
    assert shown([document for document, _ in made.searches[1].hits], own)
    assert made.segments[:3] == parent.segments[:3]
    assert {name: str(value) for name, value in (made.parent or {}).items() if name in form} == form
    address = f"/run/oracle/branches/{len(branches(runs))}"
    assert viewer.get(address).status == 200
    assert all(value in words(viewer.get(f"{address}/diff").text) for value in form.values())


def test_a_branch_by_a_model_with_a_key_is_kept_without_the_key(viewer: Viewer, runs: Path) -> None:
    model = "openai:m,base_url=http://127.0.0.1:9/v1,api_key=sk-SECRET"
    row, _ = two_searches(runs)
    branch(viewer, row, turn=1, how="me", text="<answer>Enough.</answer>", model=model)

    assert branches(runs)[0].parent == {**(branches(runs)[0].parent or {}), "model": model.rpartition(",")[0]}
    assert all("SECRET" not in file.read_text("utf-8", "replace") for file in (runs / "oracle").iterdir())


def test_a_branch_of_a_branch_goes_on(viewer: Viewer, runs: Path) -> None:
    row, _ = two_searches(runs)
    first = branch(viewer, row, turn=1, how="model", text="<search>entirely else</search>")

    answer = viewer.post(f"{first}/branch", {"turn": 2, "how": "model", "text": "<answer>Done.</answer>"})

    second = branches(runs)[-1]
    assert answer.status == 303
    assert second.parent == {"id": branches(runs)[0].id, "step": 2}
    assert second.segments[:5] == branches(runs)[0].segments[:5]


def test_a_branch_of_a_branch_is_played_as_that_was(viewer: Viewer, runs: Path) -> None:
    row, _ = two_searches(runs)
    other = {"profile": "random", "top_k": "2", "retriever": "recency"}
    first = branch(viewer, row, turn=0, how="me", text="<search>my dog</search>", **other)
    viewer.post(first, {"do": "answer", "text": "Enough."})
    (address,) = re.findall(r'href="(/run/oracle/branches/\d+)"', viewer.get(first).text)[:1]

    form = viewer.get(f"{address}/branch?turn=1").text
    viewer.post(f"{address}/branch", {"turn": 1, "how": "model", "text": "<answer>Done.</answer>"})

    made = branches(runs)[-1]
    assert '<option value="random" selected>' in form
    assert 'name="retriever" value="recency"' in form
    assert made.parent == {
        "id": branches(runs)[0].id, "step": 1, "profile": "random", "retriever": "recency", "top_k": 2
    }  # fmt: skip
    assert "Options that differ from the run" in viewer.get(f"/run/oracle/branches/{len(branches(runs))}/diff").text


def test_evidence_is_what_was_found_among_the_own_posts_before_another_persons_were_searched(
    viewer: Viewer, runs: Path
) -> None:
    row, parent = two_searches(runs)
    question = QUESTIONS.find(parent.question_id)
    (first, *_) = [aspect.documents[0] for aspect in question.rubric.aspects if aspect.documents]
    everything = " ".join(document.text for document in QUESTIONS[0].profile.documents)

    seat = branch(viewer, row, turn=1, how="me", text=f"<search>{everything}</search>", profile="random", top_k=100)
    viewer.post(seat, {"do": "answer", "text": "Enough."})
    over, page = words(viewer.get(seat).text), words(viewer.get("/run/oracle/branches/1").text)

    (made,) = branches(runs)
    assert first in [document for document, _ in made.searches[0].hits]
    assert len(made.searches[1].hits) > 50
    for told in (over, page):
        assert told.count("evidence for:") == 1
    assert page.count("found, d") == over.count("found The") + over.count("found My") == 1


def test_a_branch_of_a_live_game_names_what_it_came_from(viewer: Viewer, runs: Path) -> None:
    row, recorded = two_searches(runs)
    fresh, from_record = begin(viewer), branch(viewer, row, turn=1, how="me", text="<search>my dog</search>")
    for seat in (fresh, from_record):
        twin = viewer.post(seat, {"do": "branch"}).headers["location"]
        for one in (seat, twin):
            viewer.post(one, {"do": "answer", "text": "Enough."})
            viewer.get(one)

    first, second, third, fourth = branches(runs)
    assert [first.parent, second.parent] == [None, {"id": first.id, "step": 0}]
    assert third.parent == fourth.parent == {"id": recorded.id, "step": 1}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"turn": "9", "how": "ask"},
        {"turn": "9" * 5000, "how": "ask"},
        {"turn": "-1", "how": "ask"},
        {"turn": "0", "how": "?"},
    ],
)
def test_a_branch_from_nowhere_is_refused(viewer: Viewer, runs: Path, form: dict[str, str]) -> None:
    row, _ = two_searches(runs)

    assert viewer.post(f"/run/oracle/trajectories/{row}/branch", form).status == 400
    assert not (runs / "oracle" / "branches.jsonl").exists()


def test_nothing_is_written_through_a_link(viewer: Viewer, runs: Path, tmp_path: Path) -> None:
    seat = begin(viewer)
    (runs / "oracle" / "branches.jsonl").symlink_to(tmp_path / "outside")

    viewer.post(seat, {"do": "answer", "text": "Out with it."})

    assert "leads out of" in viewer.get(seat).text
    assert not (tmp_path / "outside").exists()


def test_a_game_is_found_by_several_pages_at_once(runs: Path) -> None:
    games, run = LiveGames(), Library([runs]).find("oracle")
    choice = PlayOptions.of_run(run.played_with)
    first = asyncio.run(games.begin(run, QUESTIONS.ids[1], choice))
    ids = [first.id, games.branch_game(first).id]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pages:
            found = list(pages.map(lambda place: games.family(games.find(ids[place % 2])), range(20_000)))
    finally:
        sys.setswitchinterval(interval)

    assert all(family == ids for family in found)


def test_a_game_that_cannot_be_saved_is_told_and_stays(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("profilegym.apps.view.games.TrajectoryWriter", refuse)
    game = begin(viewer)

    assert viewer.post(game, {"do": "answer", "text": "walnuts"}).status == 303
    assert "the game cannot be saved: [Errno 13] Permission denied" in words(viewer.get(game).text)


def test_a_form_without_bounds_is_refused(viewer: Viewer) -> None:
    assert viewer.post(begin(viewer), {"do": "answer", "text": "x" * 2_000_000}).status == 400


def test_a_trajectory_of_code_that_is_not_here_cannot_be_branched_into_running_it(runs: Path, tmp_path: Path) -> None:
    proof, module = tmp_path / "proof", tmp_path / "sly.py"
    module.write_text(f"open({str(proof)!r}, 'w')\n")
    _, parent = two_searches(runs)
    add(runs / "oracle", {**json.loads(parent.to_json()), "id": "x:0", "agent": f"{module}:make"})
    recipe = runs / "oracle" / "recipe.yaml"
    recipe.write_text(re.sub(r"(agent|retriever|model|judge): .*", rf"\1: {module}:make", recipe.read_text()))

    with viewing(runs) as viewer:
        viewer.enter()
        branch(viewer, 25, turn=1, how="me", text="<answer>Done.</answer>")

    assert branches(runs)[-1].answer == "Done."
    assert not proof.exists()


def test_several_tools_are_called_by_forms(viewer: Viewer, runs: Path) -> None:
    question = QUESTIONS[1]
    newest = question.profile.documents[-1]
    seat = begin(viewer, tools="search_profile+read_around+latest")
    during = viewer.get(seat).text
    viewer.post(seat, {"do": "call", "tool": "latest", "arg.n": "1", "arg.before": ""})
    viewer.post(seat, {"do": "call", "tool": "latest", "arg.n": "<b>"})
    refused = viewer.get(seat).text
    viewer.post(seat, {"do": "call", "tool": "read_around", "arg.id": newest.id, "arg.before": "2"})
    viewer.post(seat, {"do": "answer", "text": "I could not find out."})

    assert 'name="arg.before"' in during
    assert "a whole number" in words(refused)
    assert "<b>" not in refused.partition("<h1>")[2].partition('class="steps"')[0]
    (kept,) = branches(runs)
    assert [(search.tool, search.arguments) for search in kept.searches] == [
        ("latest", {"n": 1}),
        ("read_around", {"id": newest.id, "before": 2}),
    ]


def test_a_game_without_tools_refuses_a_call(viewer: Viewer) -> None:
    seat = begin(viewer)
    viewer.post(seat, {"do": "call", "tool": "latest", "arg.n": "1"})

    assert "no tools to call" in words(viewer.get(seat).text)


def test_a_game_branches_off_a_call_and_goes_on(runs: Path) -> None:
    asked = replace(
        ORACLE, agent="scripted:searcher", model="scripted:searcher", tools="search_profile+read_around", cites=True
    )
    play(runs / "tools", asked)
    with viewing(runs) as viewer:
        viewer.enter()
        row, record = next((n, r) for n, r in enumerate(lines_of(runs / "tools"), 1) if len(r["searches"]) > 2)
        page = viewer.get(f"/run/tools/trajectories/{row}").text
        form = {"turn": 1, "how": "me", "text": record["segments"][3]["text"], "top_k": 1}
        answer = viewer.post(f"/run/tools/trajectories/{row}/branch", form)
        seat = answer.headers["location"]
        viewer.post(seat, {"do": "call", "tool": "search_profile", "arg.query": "my"})
        viewer.post(seat, {"do": "answer", "text": "Tea."})

    (branched,) = TrajectoryReader(runs / "tools" / "branches.jsonl")
    assert [s.hits for s in branched.searches[:2]] == [
        tuple((hit["document"], hit["score"]) for hit in search["hits"]) for search in record["searches"][:2]
    ]
    assert (branched.searches[2].tool, len(branched.searches[2].hits)) == ("search_profile", 1)
    assert re.findall(r'<a href="#hit-1-1">', page)
