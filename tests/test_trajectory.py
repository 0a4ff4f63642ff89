import json
import subprocess
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from conftest import make_question
from hypothesis import given
from hypothesis import strategies as st
from matching import names

from profilegym import (
    AspectMatch,
    Episode,
    Hit,
    Question,
    Reward,
    Trajectory,
    TrajectoryReader,
    TrajectoryWriter,
    Verdict,
)
from profilegym.errors import DataError
from profilegym.training.grpo.sequence import sequence_of

FIELDS = {
    *("schema", "id", "question_id", "user_id", "data", "kind", "agent", "model", "seed", "segments", "searches"),
    *("answer", "ended", "verdict", "reward", "baseline", "advantage", "structure_ok", "malformed", "usage"),
    *("timing", "error", "flags"),
}


@pytest.fixture
def trajectory(ask: Callable[..., Question]) -> Trajectory:
    question = ask()
    episode = Episode(question, seed=7)
    episode.write("<think>Tea 茶 \ud83d?</think><search>tea</search>", tokens=[5, 6], logprobs=[-0.5, -0.25])
    episode.add_hits([Hit(question.profile.documents[0], 1.5)], ms=0.1)
    episode.write("<answer>Rooibos.</answer>")
    verdict = Verdict("rubric", 0.5, (AspectMatch("tea", 1, "names it"),))
    episode.score(Reward(0.5, {"score": 0.5}, verdict, flags=("role", "verdict")))
    return episode.trajectory()


def test_a_line_has_every_field_and_says_null_where_nothing_is_known(trajectory: Trajectory) -> None:
    record = json.loads(trajectory.to_json())

    assert set(record) >= FIELDS
    assert record["schema"] == 1
    assert record["searches"][0]["hits"] == [{"document": "u1-0", "score": 1.5}]
    assert record["reward"] == {"total": 0.5, "parts": {"score": 0.5}, "unscored": None}
    assert record["verdict"]["aspects"] == [{"title": "tea", "match": 1, "reason": "names it"}]
    assert record["flags"] == ["role", "verdict"]
    assert record["segments"][1]["tokens"] == [5, 6]
    assert [record[name] for name in ("agent", "model", "baseline", "advantage", "usage")] == [None] * 5


def test_what_is_written_is_read_back(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "trajectories.jsonl"
    with TrajectoryWriter(path) as writer:
        writer.write(trajectory)
    with TrajectoryWriter(path) as writer:
        writer.write(trajectory)

    reader = TrajectoryReader(path)

    assert list(reader) == [trajectory, trajectory]
    assert reader.bad_lines == []
    assert path.read_bytes().decode("utf-8").count("\n") == 2


LOGPROBS = st.lists(st.none() | st.floats(max_value=0, allow_nan=False), max_size=5)


@given(LOGPROBS)
def test_log_probabilities_survive_a_line_even_where_they_are_infinite(logprobs: list[float]) -> None:
    episode = Episode(make_question())
    episode.write("<answer>Tea.</answer>", tokens=list(range(len(logprobs))), logprobs=logprobs)
    line = episode.trajectory().to_json()

    assert Trajectory.from_json(line).segments[1].logprobs == logprobs
    json.loads(line, parse_constant=pytest.fail)  # no NaN and no Infinity: any reader of JSON can read it


def test_a_log_probability_that_is_no_number_is_written_as_not_known() -> None:
    episode = Episode(make_question())
    episode.write("<answer>Tea.</answer>", tokens=[1, 2, 3], logprobs=[-0.5, float("nan"), -inf])

    assert Trajectory.from_json(episode.trajectory().to_json()).segments[1].logprobs == [-0.5, None, -inf]


def test_a_token_of_probability_0_has_no_known_one_for_a_trainer() -> None:
    episode = Episode(make_question())
    episode.write("<answer>Tea.</answer>", tokens=[1, 2, 3], logprobs=[-0.5, -inf, -0.25], segment_tokens=[[0]])

    row = sequence_of(episode.trajectory(), lambda segment: [0])

    assert (row.completion, row.mask, row.logprobs) == ([1, 2, 3], [1, 1, 1], [-0.5, None, -0.25])


def test_a_number_that_json_does_not_have_is_still_refused_elsewhere(trajectory: Trajectory) -> None:
    trajectory.advantage = inf

    with pytest.raises(ValueError, match="JSON"):
        trajectory.to_json()


def test_a_bad_line_is_named_and_the_rest_go_on(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "trajectories.jsonl"
    good = json.dumps(json.loads(trajectory.to_json()))
    bad = ["{", "[]", '{"schema": 2}', '{"schema": 1}', "\xff", good.replace('"segments": [', '"segments": [7, ')]
    path.write_bytes("\n".join([good, *bad, good, ""]).encode("latin-1"))

    reader = TrajectoryReader(path)

    assert len(list(reader)) == 2
    assert [line.number for line in reader.bad_lines] == [2, 3, 4, 5, 6, 7]
    assert names(reader.bad_lines[2], "schema", 1, 2)


def test_a_line_cut_off_by_a_kill_swallows_nothing(trajectory: Trajectory, tmp_path: Path) -> None:
    path = tmp_path / "trajectories.jsonl"
    with TrajectoryWriter(path) as writer:
        writer.write(trajectory)
    with path.open("ab") as file:
        file.write(b'{"schema": 1, "id": "cut o')
    before = TrajectoryReader(path)
    assert len(list(before)) == 1
    assert [line.number for line in before.bad_lines] == [2]

    with TrajectoryWriter(path) as writer:
        writer.write(trajectory)

    assert len(list(TrajectoryReader(path))) == 2


def test_times_do_not_count_in_a_comparison(trajectory: Trajectory) -> None:
    other = Trajectory.from_json(trajectory.to_json())
    other.timing = {"seconds": 99.0}
    other.search_ms = [99.0]

    assert other == trajectory


def test_something_else_is_no_trajectory() -> None:
    with pytest.raises(DataError):
        Trajectory.from_json("[" * 100_000)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    script = (
        "import sys; from profilegym._util.jsonl import LineWriter\n"
        "for number in range(40):\n"
        "    with LineWriter(sys.argv[1]) as lines: lines.append('\"' + sys.argv[2] * 300_000 + '\"')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(file), letter]) for letter in "abc"]

    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = file.read_text().splitlines()
    assert len(found) == 120
    assert {(len(line), len(set(line.strip('"')))) for line in found} == {(300_002, 1)}
