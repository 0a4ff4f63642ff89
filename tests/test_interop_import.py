"""Episodes that other frameworks recorded, imported for the viewer."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import process_time
from typing import Any

import pyarrow
import pytest
from matching import naming
from pyarrow import parquet
from typer.testing import CliRunner

from profilegym import Trajectory, TrajectoryReader, load_questions
from profilegym.apps.cli import app
from profilegym.apps.view.details import details_of
from profilegym.apps.view.library import Library
from profilegym.errors import DataError, OptionError, UnknownName
from profilegym.evaluation.compare import compare
from profilegym.evaluation.imported import BAD, QUESTIONS
from profilegym.evaluation.judge_scores import judge_scores
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.run_groups import find_groups

PROMPT = (
    "Answer the given question. You must reason inside <think> and </think>. For example, <answer> Beijing </answer>. "
    "Question: who wrote Hamlet?\n"
)
RESULTS = (
    '\n\n<information>Doc 1(Title: "Hamlet") A play by Shakespeare.\nwritten about 1600\n'
    'Doc 2(Title: "Elsinore") A castle.</information>\n\n'
)
SEARCH = "<think>I look.</think>\n<search> hamlet author </search>"
ANSWER = "<think>Found.</think>\n<answer> Shakespeare </answer>"
SEARCH_R1 = PROMPT + SEARCH + RESULTS + ANSWER


def run_import(form: str, path: Path, out: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["import", form, str(path), "--out", str(out), *more])


def imported(form: str, path: Path, out: Path) -> list[Trajectory]:
    result = run_import(form, path, out)
    assert result.exit_code == 0, result.output
    reader = TrajectoryReader(out / "trajectories.jsonl")
    found = list(reader)
    assert reader.bad_lines == []
    return found


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in records), "utf-8")
    return path


def as_search_r1(folder: Path, line: Mapping[str, Any] | None = None) -> Path:
    if line is None:
        (folder / "one.txt").write_text(SEARCH_R1)
        return folder / "one.txt"
    return write_lines(folder / "run.jsonl", [line])


def as_trl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "completions_00003.parquet")
    return folder


TRL_ROW = {"step": 3, "prompt": PROMPT, "completion": SEARCH + RESULTS + ANSWER, "exact": 1.0, "style": 0.25}


def node(parent: int | None, role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"parent": parent, "message": {"role": role, "content": content}, "sampled": role == "assistant", **more}


def trace(**changed: Any) -> dict[str, Any]:
    """As verifiers 0.4 writes it."""
    return {
        "version": 1,
        "id": "t1",
        "task": {"type": "Colour", "data": {"idx": 0, "id": "hamlet", "prompt": "who?"}, "key": "k"},
        "agent": {"name": "agent", "trainable": True, "config": {"model": "some/model"}},
        "nodes": [
            node(None, "user", PROMPT),
            node(0, "assistant", SEARCH, token_ids=[1, 2, 3], mask=[False, True, True], logprobs=[-0.5, -0.25]),
            node(1, "user", RESULTS),
            node(2, "assistant", ANSWER),
        ],
        "calls": [{"node": 1, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}],
        "rewards": {"exact": {"score": 0.5, "weight": 2.0}},
        "metrics": {"turns": 2.0},
        "info": {"note": "kept"},
        "ok": True,
        "stop_condition": "user_closed",
    } | changed


def episode(*traces: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"id": "e1", "env": {"id": "hamlet"}, "task": traces[0]["task"], "ok": True, "traces": traces} | changed


SAME = {
    "search-r1": lambda folder: as_search_r1(folder),
    "search-r1, in lines": lambda folder: as_search_r1(
        folder, {"prompt": PROMPT, "response": SEARCH + RESULTS + ANSWER}
    ),
    "trl": lambda folder: as_trl(folder, [TRL_ROW]),
    "verifiers": lambda folder: write_lines(folder / "traces.jsonl", [episode(trace())]),
}


@pytest.mark.parametrize("form", SAME)
def test_each_format_gives_the_same_transcript_searches_and_answer(form: str, tmp_path: Path) -> None:
    (found,) = imported(form.partition(",")[0], SAME[form](tmp_path), tmp_path / "run")

    assert [(segment.author, segment.text) for segment in found.segments] == [
        ("environment", PROMPT),
        ("policy", SEARCH),
        ("environment", RESULTS),
        ("policy", ANSWER),
    ]
    (search,) = found.searches
    assert (search.turn, search.query, len(search.hits)) == (0, "hamlet author", 2)
    assert (found.answer, found.ended) == ("Shakespeare", "answered")
    question = load_questions(str(found.data)).find(found.question_id)
    assert question.text == "who wrote Hamlet?"
    assert [(document.title, document.text) for document in question.profile.documents] == [
        ("Hamlet", "A play by Shakespeare.\nwritten about 1600"),
        ("Elsinore", "A castle."),
    ]


@pytest.mark.parametrize("form", SAME)
def test_the_viewer_shows_the_hits_of_an_imported_search(form: str, tmp_path: Path) -> None:
    imported(form.partition(",")[0], SAME[form](tmp_path), tmp_path / "run")
    (run,) = Library([tmp_path / "run"]).runs().values()
    run.index()

    details = details_of(run, "trajectories", 1)

    assert details.problem is None
    (sought,) = [pair.step.sought for pair in details.pairs if pair.step and pair.step.sought]
    shown = ["".join(text for text, _ in hit.pieces) for hit in sought.hits]
    assert shown == ['(Title: "Hamlet") A play by Shakespeare.\nwritten about 1600', '(Title: "Elsinore") A castle.']


def test_the_rewards_advantage_and_other_columns_of_trl_are_kept(tmp_path: Path) -> None:
    rows = [
        TRL_ROW | {"advantage": 0.5, "note": "good"},
        TRL_ROW | {"advantage": -0.5, "note": "bad", "exact": float("nan"), "style": None},
    ]

    first, second = imported("trl", as_trl(tmp_path, rows), tmp_path / "run")

    assert first.reward is not None
    assert (first.reward.total, first.reward.parts) == (1.25, {"exact": 1.0, "style": 0.25})
    assert first.advantage == 0.5
    assert first.source == {
        "format": "trl", "file": "completions_00003.parquet", "row": 1, "step": 3, "fields": {"note": "good"},
    }  # fmt: skip
    assert second.reward is not None
    assert second.reward.total is None
    assert second.question_id == first.question_id
    assert second.id != first.id


def test_messages_and_calls_of_trl_are_turns_and_searches(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "search_profile", "arguments": {"query": "tea"}}}
    row = {
        "step": 1,
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What tea do I like?"}],
        "completion": [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "<information>\n1. Rooibos.\n</information>", "tool_calls": None},
            {"role": "assistant", "content": "Rooibos.", "tool_calls": None},
        ],
        "reward": 1.0,
    }

    (found,) = imported("trl", as_trl(tmp_path, [row]), tmp_path / "run")

    assert found.segments[0].text == "Be brief.\n\nWhat tea do I like?"
    assert '"search_profile"' in found.segments[1].text
    (search,) = found.searches
    assert (search.tool, search.query, search.arguments) == ("search_profile", "tea", {"query": "tea"})
    assert len(search.hits) == 1
    assert found.answer == "Rooibos."


def test_an_odd_row_is_told_and_the_others_are_imported(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "prompt": PROMPT, "completion": [{"role": "assistant", "content": "", "tool_calls": ["x"]}]},
        {"step": 1, "prompt": PROMPT, "completion": [{"role": "assistant", "content": ANSWER, "tool_calls": None}]},
    ]

    result = run_import("trl", as_trl(tmp_path, rows), tmp_path / "run")

    assert result.exit_code == 1
    assert [one.answer for one in TrajectoryReader(tmp_path / "run" / "trajectories.jsonl")] == ["Shakespeare"]
    assert "AttributeError" in (tmp_path / "run" / BAD).read_text()


def test_a_long_run_of_line_breaks_is_read_in_time(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(PROMPT + SEARCH + "\n" * 200_000 + RESULTS + ANSWER)

    start = process_time()
    (found,) = imported("search-r1", tmp_path / "one.txt", tmp_path / "run")

    assert found.answer == "Shakespeare"
    assert process_time() - start < 10  # seconds; with quadratic work it took many minutes


def test_arguments_too_deep_to_read_are_a_query_as_they_stand(tmp_path: Path) -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    call = {"type": "function", "function": {"name": "search_profile", "arguments": deep}}
    asked = [{"role": "user", "content": "What tea do I like?"}]
    row = {"step": 1, "prompt": asked, "completion": [{"role": "assistant", "content": "", "tool_calls": [call]}]}

    (found,) = imported("trl", as_trl(tmp_path, [row]), tmp_path / "run")

    (search,) = found.searches
    assert search.query == deep


def test_tokens_rewards_and_metrics_of_verifiers_are_kept(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "traces.jsonl", [episode(trace())])

    (found,) = imported("verifiers", path, tmp_path / "run")

    assert found.segments[1].tokens == [2, 3]
    assert found.segments[1].logprobs == [-0.5, -0.25]
    assert found.reward is not None
    assert (found.reward.total, found.reward.parts) == (1.0, {"turns": 2.0, "exact": 1.0})
    assert (found.question_id, found.model) == ("hamlet", "some/model")
    assert found.usage == {"prompt_tokens": 5, "completion_tokens": 2}
    assert found.source is not None
    assert found.source["fields"]["info"] == {"note": "kept"}
    assert (found.source["file"], found.source["line"]) == ("traces.jsonl", 1)


def test_seats_branches_and_failures_of_verifiers_are_episodes(tmp_path: Path) -> None:
    control = trace(agent={"name": "control", "trainable": False, "config": {}}, nodes=[node(None, "user", PROMPT)])
    forked = trace(nodes=[*trace()["nodes"], node(2, "assistant", "<answer>Marlowe</answer>")])
    failed = trace(ok=False, rewards={"exact": None}, errors=[{"type": "TaskError", "message": "the judge is down"}])
    lines = [episode(trace(), control), episode(forked, id="e2"), episode(failed, id="e3", ok=False)]

    found = imported("verifiers", write_lines(tmp_path / "traces.jsonl", lines), tmp_path / "run")

    assert [one.kind for one in found] == ["personalised", "baseline", "personalised", "personalised", "personalised"]
    assert [one.answer for one in found[2:4]] == ["Shakespeare", "Marlowe"]
    assert len({one.id for one in found}) == len(found)
    assert found[0].id.rpartition(":")[2] == found[1].id.rpartition(":")[2]
    assert found[-1].ended == "error"
    assert found[-1].reward is not None
    assert found[-1].reward.total is None
    assert "the judge is down" in str(found[-1].reward.unscored)


def test_what_cannot_be_read_is_told_with_file_and_line_and_kept_and_the_rest_is_imported(tmp_path: Path) -> None:
    lines = [episode(trace()), "{cut of", "[]", {"traces": [{"nodes": 7}]}, episode(trace(), id="e2")]
    path, out = write_lines(tmp_path / "traces.jsonl", lines), tmp_path / "run"

    result = run_import("verifiers", path, out)

    assert result.exit_code == 1
    assert len(list(TrajectoryReader(out / "trajectories.jsonl"))) == 2
    for number in (2, 3, 4):
        assert f"{path}, line {number}: " in result.output
    kept = [json.loads(line) for line in (out / BAD).read_text().splitlines()]
    assert [bad["place"] for bad in kept] == ["line 2", "line 3", "line 4"]
    assert kept[0]["text"] == "{cut of"


@pytest.mark.parametrize(
    ("form", "name", "content"),
    [("search-r1", "x.jsonl", b'{"something": 1}\n'), ("trl", "completions_1.parquet", b"PAR1 and no more")],
)
def test_a_record_without_a_transcript_is_told(form: str, name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    result = run_import(form, tmp_path / name, tmp_path / "run", "--json")

    assert result.exit_code == 1
    (bad,) = json.loads(result.stdout)["bad_records"]
    assert bad["file"] == str(tmp_path / name)


def test_an_import_that_is_run_again_adds_nothing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "traces.jsonl", [episode(trace())])

    first = imported("verifiers", path, tmp_path / "run")
    again = imported("verifiers", path, tmp_path / "run")

    assert first == again
    assert len((tmp_path / "run" / QUESTIONS).read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("search-r1", lambda folder: as_search_r1(folder, {"id": "hamlet", "question": PROMPT, "response": ANSWER})),
        ("trl", lambda folder: as_trl(folder, [TRL_ROW]) / "completions_00003.parquet"),
    ],
)
def test_files_of_a_folder_may_have_the_same_questions(form: str, write: Any, tmp_path: Path) -> None:
    (folder := tmp_path / "records").mkdir()
    for name in ("step100", "step200"):
        file = write(folder)
        file.rename(file.with_name(f"{name}{file.suffix}"))

    result = run_import(form, folder, tmp_path / "run")
    again = run_import(form, folder, tmp_path / "run")

    assert result.exit_code == 0, result.output
    assert "2 episodes imported" in result.output
    assert "2 episodes imported" in again.output
    found = list(TrajectoryReader(tmp_path / "run" / "trajectories.jsonl"))
    assert [str((one.source or {})["file"]).partition(".")[0] for one in found] == ["step100", "step200"]
    assert len({one.question_id for one in found}) == 1


def test_a_second_record_with_the_same_id_is_told_and_kept(tmp_path: Path) -> None:
    lines = [episode(trace()), episode(trace(nodes=[node(None, "user", PROMPT), node(0, "assistant", "Marlowe")]))]
    path, out = write_lines(tmp_path / "traces.jsonl", lines), tmp_path / "run"

    result = run_import("verifiers", path, out)

    assert result.exit_code == 1
    assert "traces.jsonl, line 2: an earlier record has the id 'hamlet:agent:e1', too" in result.output
    assert "1 episode imported" in result.output
    (bad,) = [json.loads(line) for line in (out / BAD).read_text().splitlines()]
    assert bad["text"] == f"{PROMPT}Marlowe"


def as_search_r1_lines(folder: Path, odd: Any) -> Path:
    fine = {"question": PROMPT, "response": ANSWER}
    return write_lines(folder / "run.jsonl", [fine, odd if isinstance(odd, str) else fine | odd, fine])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_to_count_is_not_known(value: float, tmp_path: Path) -> None:
    found = [
        *imported("search-r1", as_search_r1_lines(tmp_path, {"reward": value}), tmp_path / "lines")[1:2],
        *imported(
            "trl", as_trl(tmp_path, [TRL_ROW | {"exact": value, "style": value, "advantage": value}]), tmp_path / "t"
        ),
        *imported(
            "verifiers",
            write_lines(tmp_path / "traces.jsonl", [episode(trace(rewards={"exact": {"score": value}}))]),
            tmp_path / "v",
        ),
    ]

    assert len(found) == 3
    for one in found:
        assert one.reward is not None
        assert one.reward.total is None
        assert one.reward.unscored
        assert one.advantage is None


def test_a_record_that_no_line_can_hold_is_told_and_kept_and_the_rest_is_imported(tmp_path: Path) -> None:
    path, out = as_search_r1_lines(tmp_path, {"kl": float("nan")}), tmp_path / "run"

    result, again = run_import("search-r1", path, out), run_import("search-r1", path, out)

    assert (result.exit_code, again.exit_code) == (1, 1)
    assert "run.jsonl, line 2: it cannot be written as JSON" in result.output
    assert "2 episodes imported" in again.output
    assert len(list(TrajectoryReader(out / "trajectories.jsonl"))) == 2
    (bad,) = [json.loads(line) for line in (out / BAD).read_text().splitlines()]
    assert ANSWER in bad["text"]


def test_half_a_character_keeps_no_record_from_being_imported_and_its_question_from_being_read(tmp_path: Path) -> None:
    half = json.loads('"\\ud83d"')
    odd = {"id": f"q{half}", "question": f"Which {half}?", "response": f"{SEARCH}{RESULTS}{half}{ANSWER}"}

    found = imported("search-r1", as_search_r1_lines(tmp_path, odd), tmp_path / "run")

    assert len(found) == 3
    assert load_questions(str(found[1].data)).find(found[1].question_id).text == "Which �?"
    assert found[1].segments[-1].text.startswith(half)


def test_a_transcript_in_another_encoding_is_imported(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(SEARCH_R1.replace("Shakespeare", "Molière").encode("latin-1"))

    (found,) = imported("search-r1", tmp_path / "one.txt", tmp_path / "run")

    assert found.answer == "Moli�re"
    assert load_questions(str(found.data)).find(found.question_id).text == "who wrote Hamlet?"


def test_an_unreadable_record_with_half_a_character_is_kept(tmp_path: Path) -> None:
    result = run_import("search-r1", as_search_r1_lines(tmp_path, '{"foo": "\\ud83d"}'), tmp_path / "run")

    assert result.exit_code == 1
    (bad,) = [json.loads(line) for line in (tmp_path / "run" / BAD).read_text().splitlines()]
    assert json.loads(bad["text"]) == {"foo": "\ud83d"}


def test_a_block_of_results_that_the_policy_wrote_itself_is_its_own_text(tmp_path: Path) -> None:
    forged = "<think>I know.</think><information>Doc 1(Title: x) made up</information><answer>y</answer>"
    (tmp_path / "one.txt").write_text(PROMPT + forged)

    (found,) = imported("search-r1", tmp_path / "one.txt", tmp_path / "run")

    assert [segment.text for segment in found.segments] == [PROMPT, forged]
    assert found.searches == []


CORRECTION = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. "
    "If I want to give the final answer, I should put the answer between <answer> and </answer>. "
    "Let me try again.\n"
)


def test_a_turn_without_an_action_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(PROMPT + "<think>Hm.</think>" + CORRECTION + ANSWER)

    (found,) = imported("search-r1", tmp_path / "one.txt", tmp_path / "run")

    assert [segment.author for segment in found.segments] == ["environment", "policy", "environment", "policy"]
    assert found.malformed == 1
    assert found.answer == "Shakespeare"


@pytest.mark.parametrize("before", ["<information>Doc 1(Title: x) text</information>\n\n", CORRECTION])
def test_a_correction_straight_after_another_block_is_the_environments(before: str, tmp_path: Path) -> None:
    search = "<think>Hm.</think><search>bard</search>\n\n"
    (tmp_path / "one.txt").write_text(PROMPT + search + before + CORRECTION + ANSWER)

    (found,) = imported("search-r1", tmp_path / "one.txt", tmp_path / "run")

    policy = "".join(segment.text for segment in found.segments if segment.author == "policy")
    assert "My previous action" not in policy
    assert found.answer == "Shakespeare"


def test_lines_of_search_r1_have_rewards_answers_and_other_fields(tmp_path: Path) -> None:
    line = {"sequences_str": SEARCH_R1, "reward": 1, "golden_answers": ["Shakespeare", "The Bard"], "step": 7}

    (found,) = imported("search-r1", as_search_r1(tmp_path, line), tmp_path / "run")

    assert found.reward is not None
    assert found.reward.total == 1.0
    question = load_questions(str(found.data)).find(found.question_id)
    assert question.rubric.reference == "Shakespeare; The Bard"
    assert found.source == {"format": "search-r1", "file": "run.jsonl", "line": 1, "fields": {"step": 7}}


def test_two_imports_are_compared_by_their_rewards_on_questions_that_both_have(tmp_path: Path) -> None:
    for run, reward in (("one", 0.25), ("two", 0.75)):
        rows = [
            {"step": 1, "prompt": f"Which tea, {n}?", "completion": ANSWER, "reward": reward}
            for n in (range(3) if run == "one" else range(1, 9))
        ]
        (tmp_path / run).mkdir()
        imported("trl", as_trl(tmp_path / run, rows), tmp_path / f"{run}-run")

    (mean,) = judge_scores(RunDirectory(tmp_path / "one-run")).means
    assert (mean.judge, mean.score.mean, mean.score.n, mean.unscored) == ("the records' own rewards", 0.25, 3, 0)

    found = compare(find_groups([str(tmp_path / "one-run"), str(tmp_path / "two-run")]))

    assert (found.common, found.judge) == (2, "the records' own rewards")
    (score,) = [row for row in found.rows if row.metric == "score" and row.difference is not None]
    assert score.difference is not None
    assert score.difference.mean == 0.5


def test_questions_of_two_imports_with_one_id_and_other_texts_are_not_compared(tmp_path: Path) -> None:
    for run, asked in (("one", PROMPT), ("two", PROMPT.replace("Hamlet", "Faust"))):
        (tmp_path / run).mkdir()
        said = trace(nodes=[node(None, "user", asked), node(0, "assistant", ANSWER)])
        imported("verifiers", write_lines(tmp_path / run / "traces.jsonl", [episode(said)]), tmp_path / f"{run}-run")

    with pytest.raises(OptionError, match=naming("'hamlet'", "one-run", "two-run")):
        compare(find_groups([str(tmp_path / "one-run"), str(tmp_path / "two-run")]))


def test_a_file_that_is_not_there_and_an_unknown_format_are_errors(tmp_path: Path) -> None:
    from profilegym.apps.import_run import run_import as run

    for form in ("trl", "inspect"):  # also where what reads a format is not installed
        with pytest.raises(DataError, match=naming(tmp_path / "nothing")):
            run(form, tmp_path / "nothing", tmp_path / "run")
    with pytest.raises(UnknownName, match=naming("'wandb'")):
        run("wandb", tmp_path, tmp_path / "run")
