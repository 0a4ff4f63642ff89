"""The index that stands beside a file of trajectories."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Trajectory, load_questions
from profilegym.apps.view.entry import Entries
from profilegym.apps.view.index import Index
from profilegym.apps.view.questions import Questions
from profilegym.errors import DataError
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.run import RunDirectory

DATA = "world:seed=7,users=20/test"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a small run of the oracle: 12 baselines, then 12 personalised episodes."""
    out = tmp_path_factory.mktemp("run")
    asyncio.run(evaluate(Settings(model="scripted:oracle", data=DATA, limit=12), RunDirectory(out)))
    return (out / "trajectories.jsonl").read_text("utf-8").splitlines(keepends=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trajectories.jsonl"


def index_of(file: Path) -> Index:
    return Index(file, Entries(Questions(DATA).find, max_searches=4))


def ids(index: Index) -> list[str]:
    return [row["id"] for row in index.ask("SELECT id FROM lines ORDER BY row")]


def changed(line: str, **fields: Any) -> str:
    return json.dumps(json.loads(line) | fields) + "\n"


def test_a_line_is_found_again_as_the_trajectory_that_was_written(file: Path, lines: list[str]) -> None:
    file.write_text("".join(lines), "utf-8")
    index = index_of(file)

    progress = index.refresh()

    assert (progress.lines, progress.share) == (24, 1.0)
    assert [index.trajectory(row) for row in range(1, 25)] == [Trajectory.from_json(line) for line in lines]


def test_it_keeps_what_a_table_sorts_by(file: Path, lines: list[str]) -> None:
    file.write_text("".join(lines), "utf-8")
    index = index_of(file)
    index.refresh()

    for row in index.ask("SELECT * FROM lines WHERE kind = 'personalised'"):
        trajectory = index.trajectory(row["row"])
        question = load_questions(DATA).find(trajectory.question_id)
        assert trajectory.verdict is not None
        assert trajectory.baseline is not None
        assert row["score"] == trajectory.verdict.score
        assert row["gain"] == trajectory.verdict.score - trajectory.baseline["score"]
        assert (row["hops"], row["searches"]) == (question.rubric.hops, len(trajectory.searches))


@pytest.mark.parametrize("column", ["question", "queries", "answer"])
def test_questions_queries_and_answers_can_be_searched(file: Path, lines: list[str], column: str) -> None:
    file.write_text("".join(lines), "utf-8")
    index = index_of(file)
    index.refresh()
    last = index.trajectory(24)
    words = {
        "question": load_questions(DATA).find(last.question_id).text,
        "queries": last.searches[0].query,
        "answer": last.answer,
    }[column]

    found = index.ask("SELECT rowid FROM words WHERE words MATCH ?", (f'{column} : "{words}"',))

    assert 24 in [row["rowid"] for row in found]


def test_it_takes_in_what_the_file_has_grown_by(file: Path, lines: list[str]) -> None:
    file.write_text("".join(lines[:10]), "utf-8")
    index_of(file).refresh()
    with file.open("a", encoding="utf-8") as end:
        end.write("".join(lines[10:]))

    read = 0

    def counted(trajectory: Trajectory) -> Any:
        nonlocal read
        read += 1
        return Entries(Questions(DATA).find, 4)(trajectory)

    again = Index(file, counted)
    again.refresh()

    assert read == 14
    assert len(ids(again)) == 24


def test_a_half_written_line_waits_for_its_end(file: Path, lines: list[str]) -> None:
    file.write_text("".join(lines[:3]) + lines[3][:200], "utf-8")
    index = index_of(file)
    assert index.refresh().lines == 3
    with file.open("a", encoding="utf-8") as end:
        end.write(lines[3][200:])

    assert index.refresh().lines == 4
    assert index.ask("SELECT * FROM bad") == []


def test_a_line_that_is_no_trajectory_is_named_and_the_rest_go_on(file: Path, lines: list[str]) -> None:
    file.write_text(lines[0] + "{nonsense\n" + lines[1], "utf-8")
    index = index_of(file)

    index.refresh()

    assert ids(index) == [json.loads(line)["id"] for line in lines[:2]]
    with pytest.raises(DataError, match="line 2"):
        index.trajectory(2)
    assert index.text(2) == b"{nonsense\n"


@pytest.mark.parametrize(
    "odd",
    [
        {"advantage": 10**30}, {"malformed": 10**30}, {"flags": ["\ud800"]}, {"flags": [{"a": 1}]}, {"kind": 3},
        {"ended": 3}, {"agent": ["pr2"]}, {"advantage": "x"}, {"reward": {"total": 1, "parts": {"judge": "y"}}},
        {"verdict": {"judge": "j", "score": "x", "aspects": []}},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_that_no_table_can_hold_is_named_and_the_rest_go_on(
    file: Path, lines: list[str], odd: dict[str, Any]
) -> None:
    file.write_text("".join((*lines[:3], changed(lines[2], **odd), *lines[3:])), "utf-8")
    index = index_of(file)

    index.refresh()

    assert ids(index) == [json.loads(line)["id"] for line in lines]
    assert [row["row"] for row in index.ask("SELECT row FROM bad")] == [4]
    with pytest.raises(DataError, match=naming("line 4")):
        index.trajectory(4)


def test_an_episode_played_again_takes_the_place_of_the_first(file: Path, lines: list[str]) -> None:
    file.write_text(lines[0] + lines[1] + changed(lines[0], answer="Better."), "utf-8")
    index = index_of(file)

    index.refresh()

    row = index.row_of(json.loads(lines[0])["id"])
    assert row == 3
    assert len(ids(index)) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[5:],  # shorter
        lambda lines: [changed(lines[0], id="other"), *lines[1:], *lines],  # longer, but begun anew
        lambda lines: [*lines[:-1], changed(lines[-1], id="x"), *lines],  # another line where it had been read to
    ],
    ids=["shorter", "begun anew", "another end"],
)
def test_a_file_that_is_another_is_indexed_anew(
    file: Path, lines: list[str], change: Callable[[list[str]], list[str]]
) -> None:
    file.write_text("".join(lines), "utf-8")
    index = index_of(file)
    index.refresh()
    new = change(lines)
    file.write_text("".join(new), "utf-8")

    index.refresh()

    assert set(ids(index)) == {json.loads(line)["id"] for line in new}


def test_a_line_of_five_megabytes_is_taken_in_as_any_other(file: Path, lines: list[str]) -> None:
    file.write_text(changed(lines[0], answer="word " * 1_000_000) + lines[1], "utf-8")
    index = index_of(file)

    index.refresh(seconds=5)

    assert len(ids(index)) == 2
    assert len(index.trajectory(1).answer or "") == 5_000_000


def test_a_line_beyond_all_bounds_is_passed_over(file: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profilegym.apps.view.index.LONGEST", 20_000)
    file.write_text(lines[0] + changed(lines[1], answer="x" * 50_000) + lines[2], "utf-8")
    index = index_of(file)

    index.refresh()

    assert len(ids(index)) == 2
    with pytest.raises(DataError, match=naming("line 2", "20,000")):
        index.trajectory(2)


def test_half_characters_and_unknown_questions_are_no_obstacle(file: Path, lines: list[str]) -> None:
    file.write_text(changed(lines[0], answer="\ud800 alone", question_id="of another data set"), "utf-8")
    index = index_of(file)

    index.refresh()

    (row,) = index.ask("SELECT * FROM lines")
    assert (row["question_id"], row["hops"]) == ("of another data set", None)


def test_two_at_once_make_one_index(file: Path, lines: list[str]) -> None:
    file.write_text("".join(lines), "utf-8")
    first, second = index_of(file), index_of(file)

    async def both() -> None:
        await asyncio.gather(asyncio.to_thread(first.refresh, 5), asyncio.to_thread(second.refresh, 5))

    asyncio.run(both())

    assert len(ids(first)) == len(ids(second)) == 24
    assert first.ask("SELECT count(*) AS n FROM words")[0]["n"] == 24


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path, lines: list[str]) -> None:
    file = tmp_path / "trajectories.jsonl"
    file.write_text(lines[0], "utf-8")
    (tmp_path / ".trajectories.index").mkdir()

    with pytest.raises(DataError, match=naming(tmp_path / ".trajectories.index", "unable to open database file")):
        index_of(file).refresh()


def test_what_looks_like_tokens_in_a_text_stays_text(file: Path, lines: list[str]) -> None:
    odd = '"tokens":[1,2],"logprobs":[0.5'
    last = json.loads(lines[-1])
    segments = [{**segment, "tokens": [1, 2], "logprobs": [-0.5, -0.5]} for segment in last["segments"]]
    line = json.dumps(last | {"answer": odd, "segments": segments}, separators=(",", ":")) + "\n"
    file.write_text(line + lines[0], "utf-8")
    index = index_of(file)

    index.refresh()

    assert [row["answer"] for row in index.ask("SELECT answer FROM words")] == [odd, json.loads(lines[0])["answer"]]
    assert index.trajectory(1) == Trajectory.from_json(line)


@pytest.mark.parametrize("name", ["tokens", "logprobs"])
@pytest.mark.parametrize("value", [[[1, 2], [3]], [["a", "]"], ["b"]], ["]", "["], [{"a": [1]}], [], [[]]])
def test_fields_of_an_imported_record_may_have_the_names_of_tokens(
    file: Path, lines: list[str], name: str, value: Any
) -> None:
    record = json.loads(lines[0]) | {"source": {"file": "a.jsonl", name: value}}
    file.write_text(json.dumps(record, separators=(",", ":")) + "\n", "utf-8")
    index = index_of(file)

    index.refresh()

    assert index.ask("SELECT problem FROM bad") == []
    trajectory = index.trajectory(1)
    assert trajectory.source is not None
    assert trajectory.source[name] == value


def half(index: bytes) -> bytes:
    return index[: len(index) // 2]


def without_its_second_page(index: bytes) -> bytes:
    return index[:4096] + b"\x55" * 4096 + index[8192:]


def no_index(index: bytes) -> bytes:
    return b"this is no database, but it is long enough to be one" * 40


@pytest.mark.parametrize("spoilt", [half, without_its_second_page, no_index])
@pytest.mark.parametrize("refreshed", [True, False], ids=["refreshed", "asked"])
def test_a_damaged_index_is_built_again(
    file: Path, lines: list[str], spoilt: Callable[[bytes], bytes], refreshed: bool
) -> None:
    file.write_text("".join(lines), "utf-8")
    index = index_of(file)
    index.refresh()
    index.path.write_bytes(spoilt(index.path.read_bytes()))

    if refreshed:
        index.refresh()

    assert ids(index) == [json.loads(line)["id"] for line in lines]
    assert index.trajectory(24) == Trajectory.from_json(lines[-1])


def test_the_damaged_index_of_the_other_run_of_a_comparison_is_built_again(tmp_path: Path, lines: list[str]) -> None:
    first, second = (tmp_path / name for name in ("first.jsonl", "second.jsonl"))
    for file in (first, second):
        file.write_text("".join(lines), "utf-8")
        index_of(file).refresh()
    index_of(second).path.write_bytes(half(index_of(second).path.read_bytes()))

    (both,) = index_of(first).ask("SELECT count(*) AS n FROM lines JOIN other.lines USING (id)", (), index_of(second))

    assert both["n"] == 24
