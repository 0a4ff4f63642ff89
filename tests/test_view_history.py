"""A long history in the viewer: find a turn, see a hit in its conversation, with the evidence marked."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
from test_locomo import long_talk
from viewing import Viewer, lines_of, play, viewing

from profilegym.agents.models.model import register_model
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.agents.turn_format import answer_with
from profilegym.evaluation.evaluate import Settings

register_model("ghent", lambda: ScriptedModel("ghent", lambda question, said: answer_with("in Ghent", "")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    (folder / "talk.json").write_text(json.dumps([long_talk()]), "utf-8")
    play(folder / "runs" / "talk", Settings(agent="rag", model="ghent", data=f"locomo:{folder / 'talk.json'}"))
    return folder / "runs"


@pytest.fixture(scope="module")
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer.enter()


@pytest.fixture(scope="module")
def base(runs: Path) -> str:
    kinds = [line["kind"] for line in lines_of(runs / "talk")]
    return f"/run/talk/trajectories/{kinds.index('personalised') + 1}"


def posts(page: str) -> list[str]:
    """What each visible post says."""
    items = re.findall(r'<li value="\d+"[^>]*?( hidden)?>(.*?)</li>', page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split()) for hidden, text in items if not hidden]


def test_a_history_of_690_turns_stands_by_session(viewer: Viewer, base: str) -> None:
    page = viewer.get(f"{base}/profile").text

    assert len(posts(page)) == 690
    assert len(re.findall(r"<h3>session \d+ · 2023-05-", page)) == 23


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("yacht", ["D7:12"]),
        ("TOM D5:", [f"D5:{place}" for place in range(1, 31, 2)]),
        ("evidence", ["D7:12", "D9:1"]),
        ("evidence shown", ["D7:12"]),
        ("nothing of that kind", []),
    ],
)
def test_a_turn_is_found_by_its_words_its_speaker_its_session_and_its_marks(
    viewer: Viewer, base: str, words: str, found: list[str]
) -> None:
    page = viewer.get(f"{base}/profile?words={words.replace(' ', '+')}").text

    assert [text.split()[0] for text in posts(page)] == found
    assert f"{len(found)} of 690 posts" in page


def test_a_hit_is_shown_in_its_conversation(viewer: Viewer, base: str) -> None:
    page = viewer.get(base).text
    link = re.search(rf'data-load="({base}/profile\?around=D7%3A12&amp;turn=-?\d+)"', page)
    assert link is not None

    near = viewer.get(unescape(link[1])).text

    assert [text.split()[0] for text in posts(near)] == [f"D7:{place}" for place in range(9, 16)]
    assert near.count(' chosen"') == 1
    assert "session 7 · 2023-05-07" in near
    assert "evidence for: Agrees with the reference answer" in near


def test_neighbours_end_with_the_session(viewer: Viewer, base: str) -> None:
    assert [text.split()[0] for text in posts(viewer.get(f"{base}/profile?around=D9:1").text)] == [
        "D9:1",
        "D9:2",
        "D9:3",
        "D9:4",
    ]


def test_a_post_that_is_not_in_the_profile_is_an_error_and_not_a_page(viewer: Viewer, base: str) -> None:
    answer = viewer.get(f"{base}/profile?around=%3Cscript%3E")

    assert answer.status >= 400
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", ["", "/profile", "/profile?words=%22%3E%3Cscript%3E", "/profile?around=D7:12"])
def test_posts_and_words_are_never_markup(viewer: Viewer, base: str, path: str) -> None:
    page = viewer.get(base + path).text

    assert 'alert("1")' not in page
    assert "<script>" not in page


def test_without_a_judge_a_trajectory_still_tells_what_was_wanted_and_which_evidence_was_found(
    viewer: Viewer, base: str
) -> None:
    page = viewer.get(base).text
    verdict = page[page.index('id="verdict"') :]

    assert "Wanted: in Ghent" in verdict
    assert re.search(r"found, D7:12, 2023-05-07", verdict)
    assert re.search(r"not found by any search, D9:1", verdict)
    assert " of 2</span>" not in verdict
