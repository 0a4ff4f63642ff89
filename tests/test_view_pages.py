"""What the viewer's pages show of a run."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
from viewing import ORACLE, Viewer, add, lines_of, play, viewing

from profilegym import Trajectory, load_questions
from profilegym.apps.view.figures import card_of
from profilegym.apps.view.library import Library
from profilegym.evaluation.branch import Changes, branch
from profilegym.evaluation.evaluate import Speed
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.rejudge import rejudge
from profilegym.evaluation.run import RunDirectory

MANY = replace(ORACLE, agent="rag", data="world:seed=7,users=40/test", limit=36)  # questions of six people


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "oracle")
    play(folder / "rag", replace(ORACLE, agent="rag", seeds=2))
    return folder


@pytest.fixture(scope="module")
def viewer(runs: Path) -> Iterator[Viewer]:
    with viewing(runs) as viewer:
        yield viewer.enter()


def words(page: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def rows(page: str) -> list[int]:
    return [int(row) for row in re.findall(r'href="/run/\w+/trajectories/(\d+)"', page)]


def gain_of(record: Any) -> float:
    baseline = (record["baseline"] or {}).get("score")
    return float("nan") if baseline is None else record["verdict"]["score"] - baseline


def two_searches(runs: Path) -> tuple[int, Trajectory]:
    """The line and the record of an episode that searched twice."""
    for row, record in enumerate(lines_of(runs / "oracle"), 1):
        if len(record["searches"]) >= 2:
            return row, Trajectory.from_json(json.dumps(record))
    raise AssertionError("the oracle always searches twice for two hops")


def test_a_run_is_listed_with_its_judge_its_intervals_and_the_number_of_people(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "rag", MANY)
    summary = json.loads((run / "summary.json").read_text())

    with viewing(tmp_path / "runs") as viewer:
        page = words(viewer.enter().get("/").text)

    assert "rag with scripted:oracle, data world:seed=7,users=40/test" in page
    for name in ("score", "gain"):
        low, high = (f"{summary[name][end]:.3f}" for end in ("low", "high"))
        assert f"[{low}, {high}; 6 people] of {summary[name]['n']}" in page
    assert "score by rubric" in page


def test_a_run_of_few_people_is_listed_without_an_interval(viewer: Viewer) -> None:
    assert "[no interval; 2 people] of 12" in words(viewer.get("/").text)


@pytest.mark.parametrize("agent", ["rag", "pr2"])  # pr2's scores are ones alone
def test_figures_are_the_same_before_there_is_a_summary(agent: str, tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one", replace(MANY, agent=agent))
    with viewing(tmp_path / "runs") as viewer:
        told = words(viewer.enter().get("/run/one").text)
        (run / "summary.json").unlink()
        alone = words(viewer.get("/run/one").text)

    assert re.findall(r"\[[^\]]*\] of \d+", alone) == re.findall(r"\[[^\]]*\] of \d+", told) != []


def test_figures_grow_while_a_run_is_still_being_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profilegym.apps.view.index._BATCH", 1)
    run = play(tmp_path / "runs" / "one")
    (run / "summary.json").unlink()
    library = Library([tmp_path / "runs"])

    cards = [card_of(library, library.find("one"), seconds=0) for _ in range(24)]

    assert [card.episodes for card in cards] == list(range(1, 25))
    assert [card.gain.n if card.gain else 0 for card in cards] == [0] * 12 + list(range(1, 13))
    assert cards[0].note.endswith("% indexed")
    assert cards[-1].note == "12 questions"


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ("kind=baseline", lambda record: record["kind"] == "baseline"),
        ("searches=1&kind=personalised", lambda record: len(record["searches"]) == 1),
        ("ended=answered", lambda record: record["ended"] == "answered"),
        ("judged=unscored", lambda record: record["verdict"] is None),
        ("words=zzzz", lambda record: False),
        ("score_from=0.4&score_to=0.9", lambda record: 0.4 <= record["verdict"]["score"] <= 0.9),
        ("score_from=much&score_to=nan", lambda record: True),
        ("gain_from=0.01", lambda record: gain_of(record) > 0),
        ("gain_to=0&kind=personalised", lambda record: gain_of(record) <= 0),
    ],
)
def test_the_table_is_narrowed_in_the_server(viewer: Viewer, runs: Path, asked: str, holds: Any) -> None:
    page = viewer.get(f"/run/rag/trajectories?{asked}").text

    assert rows(page) == [row for row, record in enumerate(lines_of(runs / "rag"), 1) if holds(record)][:50]


def test_words_find_what_was_asked_searched_or_answered(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)

    for text in (trajectory.searches[1].query, str(trajectory.answer), trajectory.segments[0].text[-60:]):
        page = viewer.get(f"/run/oracle/trajectories?words={'+'.join(re.findall('[a-zA-Z]+', text)[-3:])}").text
        assert row in rows(page)


@pytest.mark.parametrize("column", ["score", "gain", "searches"])
def test_the_table_is_sorted_either_way_and_what_is_unknown_stands_last(
    viewer: Viewer, runs: Path, column: str
) -> None:
    def value(row: int) -> Any:
        record = lines_of(runs / "oracle")[row - 1]
        score, baseline = record["verdict"]["score"], (record["baseline"] or {}).get("score")
        gain = None if baseline is None else score - baseline
        return {"score": score, "gain": gain, "searches": len(record["searches"])}[column]

    for down in ("", "&down=1"):
        values = [value(row) for row in rows(viewer.get(f"/run/oracle/trajectories?sort={column}{down}").text)]
        known = [value for value in values if value is not None]
        assert values == [*sorted(known, reverse=bool(down)), *[None] * (24 - len(known))]


@pytest.mark.parametrize("column", ["ended", "marks"])
def test_the_table_is_sorted_by_how_episodes_ended_and_by_their_alarms(tmp_path: Path, column: str) -> None:
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    add(run, {**last, "id": "x:pr2:0", "ended": "budget", "flags": ["odd", "odder"]})

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get(f"/run/one/trajectories?sort={column}&down=1").text

    assert rows(page)[0] == 25
    assert "odd, odder" in page


@pytest.mark.parametrize(
    "asked", ["sort=row;drop", "page=0", "page=9999999999", "page=x", "hops=two", "down=maybe", "kind='"]
)
def test_an_address_that_makes_no_sense_is_no_error(viewer: Viewer, asked: str) -> None:
    assert viewer.get(f"/run/oracle/trajectories?{asked}").status == 200


def test_a_trajectory_shows_what_each_search_found_and_why(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)
    question = load_questions(ORACLE.data).find(trajectory.question_id)

    page = viewer.get(f"/run/oracle/trajectories/{row}").text

    for search in trajectory.searches:
        assert f"found for {search.query} " in words(page).replace("  ", " ")
        for document, score in search.hits:
            assert f"{document} · score {score:.3f}" in words(page)
    marked = set(re.findall(r"<mark>([^<]*)</mark>", page)) - {"matches the query"}
    assert marked
    for aspect in question.rubric.aspects:
        assert aspect.title in unescape(page)
        for document in aspect.documents:
            assert f"evidence for: {aspect.title}" in words(page)
            assert f"found, {document}" in words(page)


def test_a_trajectory_shows_whose_words_are_in_the_loss(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)

    page = viewer.get(f"/run/oracle/trajectories/{row}").text

    turns = sum(segment.author == "policy" for segment in trajectory.segments)
    assert page.count("in the loss") == turns
    assert "This run did not train" in page


def test_the_baseline_stands_beside_prompt_by_prompt_and_answer_by_answer(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)
    steps = len(trajectory.segments)

    page = viewer.get(f"/run/oracle/trajectories/{row}").text

    beside = re.findall(r'<section class="step beside (\w+)"', page)
    assert beside == ["environment", *["none"] * (steps - 2), "policy"]
    assert str((trajectory.baseline or {})["answer"]) in words(page)


def test_a_run_that_was_played_again_with_other_posts_shows_those(runs: Path, tmp_path: Path) -> None:
    _, trajectory = two_searches(runs)
    parent = RecordedRun(RunDirectory(runs / "oracle"))
    asyncio.run(branch(parent, Changes(0, profile="random"), RunDirectory(tmp_path / "again"), Speed()))
    again = next(r for r, line in enumerate(lines_of(tmp_path / "again"), 1) if line["id"] == trajectory.id)

    with viewing(tmp_path) as viewer:
        page = viewer.enter().get(f"/run/again/trajectories/{again}").text
        profile = viewer.get(f"/run/again/trajectories/{again}/profile").text

    assert "evidence for" not in page
    assert f"Profile of {trajectory.user_id}" not in profile


@pytest.mark.parametrize("damage", ["a folder", "a link to elsewhere"])
def test_an_index_that_cannot_be_built_hides_no_other_run(damage: str, tmp_path: Path) -> None:
    for name in ("one", "two", "broken"):
        play(tmp_path / "runs" / name, replace(ORACLE, limit=1))
    spoilt = tmp_path / "runs" / "broken" / ".trajectories.index"
    spoilt.mkdir() if damage == "a folder" else spoilt.symlink_to(tmp_path / "elsewhere")

    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        listed, compared = viewer.get("/"), viewer.get("/compare?a=one&b=two")
        refused, state = viewer.get("/compare?a=one&b=broken"), viewer.get("/state")

    assert [page.status for page in (listed, compared, refused, state)] == [200] * 4
    assert re.findall(r'<h2><a href="/run/(\w+)"', listed.text) == ["two", "one"]
    assert str(spoilt) in listed.text
    assert str(spoilt) in refused.text
    assert "difference" in words(compared.text)


DOUBLED = "".join(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("recipe.yaml", "settings: {data: 2024-02-31}"),
        ("recipe.yaml", "settings: &a {b: *a}"),
        ("recipe.yaml", f"settings: {'[' * 3000}"),
        ("recipe.yaml", f"settings:\n  a0: &a0 [x, x]\n{DOUBLED}"),
        ("summary.json", '{"score": "x"}'),
        ("summary.json", '{"score": {"mean": Infinity, "low": null}, "alarms": [{"raised": true}]}'),
        ("summary.json", '{"alarms": 3}'),
        ("metrics.jsonl", '{"step": "x"}\n{"step": 1}\n{"step": [1]}\nnull\n{"step": 1e400}\n'),
    ],
    ids=range(8),
)
def test_a_file_of_a_run_that_makes_no_sense_hides_no_other_run(file: str, content: str, tmp_path: Path) -> None:
    play(tmp_path / "one")
    play(tmp_path / "two")
    (tmp_path / "one" / file).write_text(content)

    with viewing(tmp_path) as viewer:
        viewer.enter()
        pages = [viewer.get(path) for path in ("/", "/state", "/run/two", "/run/one")]

    assert [page.status for page in pages[:3]] == [200] * 3
    assert pages[3].status < 500


def test_the_whole_profile_is_one_click_away(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)
    profile = load_questions(ORACLE.data).find(trajectory.question_id).profile

    page = words(viewer.get(f"/run/oracle/trajectories/{row}/profile").text)

    assert all(" ".join(document.text.split()) in page for document in profile.documents)
    assert page.count("· shown") == len({d for search in trajectory.searches for d, _ in search.hits})


def test_tokens_are_shown_with_their_probability_and_the_advantage(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    segments = [dict(segment) for segment in last["segments"]]
    segments[1] |= {"tokens": [11, 22, 33], "logprobs": [-0.1, -1.0, -5.0]}
    add(run, {**last, "id": "x:pr2:0", "segments": segments, "advantage": 1.5})

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get("/run/one/trajectories/25").text
        tokens = viewer.get("/run/one/trajectories/25/tokens?step=1").text
        none = viewer.get("/run/one/trajectories/25/tokens?step=0")

    assert "mean token probability 0.13" in words(page)
    assert "+1.500" in words(page)
    assert [f"probability {p}" in tokens for p in ("0.905", "0.368", "0.007")] == [True] * 3
    assert "carries the advantage +1.500" in words(tokens)
    assert none.status == 404


@pytest.mark.slow
def test_tokens_of_several_turns_that_are_opened_at_once_are_all_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    segments = [{**segment, "tokens": [11, 22], "logprobs": [-0.1, -1.0]} for segment in last["segments"]]
    add(run, {**last, "id": "x:pr2:0", "model": "pilot", "segments": segments})
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from viewing import viewing
with viewing(Path({str(run)!r})) as viewer, ThreadPoolExecutor() as threads:
    paths = [f"/run/one/trajectories/25/tokens?step={{step}}" for step in range({len(segments)})]
    print(*("was not found" in page.text for page in threads.map(viewer.enter().get, paths)))
"""

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert told.split() == ["False"] * len(segments)


def test_a_verdict_that_came_later_is_shown_as_the_runs_own(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    unscored: dict[str, Any] = {
        "verdict": None,
        "reward": {"total": None, "parts": {}, "unscored": "the judge was away"},
    }
    add(run, {**last, **unscored})
    with viewing(tmp_path / "runs") as viewer:
        before = words(viewer.enter().get("/run/one/trajectories/25").text)
        asyncio.run(rejudge(RunDirectory(run)))
        after = words(viewer.get("/run/one/trajectories/25").text)

        table = words(viewer.get("/run/one/trajectories?judged=unscored").text)

    assert "No trajectory matches" in table
    assert "Unscored: the judge was away" in before
    assert f"score {last['verdict']['score']:.3f}" in after
    assert "Later verdict by rubric" in after


def test_figures_with_later_verdicts_are_those_of_the_run_had_it_been_scored_at_once(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    with viewing(tmp_path / "runs") as viewer:
        whole = words(viewer.enter().get("/run/one").text)
        none: dict[str, Any] = {
            "verdict": None,
            "reward": {"total": None, "parts": {}, "unscored": "the judge was away"},
        }
        lines = [{**line, **none, "baseline": {"answer": "", "score": None}} for line in lines_of(run)]
        (run / "trajectories.jsonl").write_text("")
        add(run, *lines)
        unscored = words(viewer.get("/run/one").text)
        asyncio.run(rejudge(RunDirectory(run), "rubric"))
        (run / "summary.json").unlink(missing_ok=True)
        healed = words(viewer.get("/run/one").text)

    figures = re.findall(r"\[[^\]]*\] of \d+", whole)
    assert len(figures) == 2
    assert re.findall(r"\[[^\]]*\] of \d+", unscored) == []
    assert re.findall(r"\[[^\]]*\] of \d+", healed) == figures


def test_a_line_that_is_written_is_there_at_the_next_look(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    last = lines_of(run)[-1]
    with viewing(tmp_path / "runs") as viewer:
        viewer.enter()
        stamp = json.loads(viewer.get("/state?run=one").text)["stamp"]
        assert "new:pr2:0" not in viewer.get("/run/one/trajectories?words=fresh").text
        add(run, {**last, "id": "new:pr2:0", "answer": "Something fresh."})
        assert json.loads(viewer.get("/state?run=one").text)["stamp"] != stamp
        page = viewer.get("/run/one/trajectories?words=fresh").text

    assert rows(page) == [25]


def test_a_run_appears_while_it_writes_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with viewing(tmp_path / "runs") as viewer:
        empty = viewer.enter().get("/").text
        run = tmp_path / "runs" / "new"
        run.mkdir()
        (run / "recipe.yaml").write_text("settings: {agent: pr2, data: world}\n")
        begun = viewer.get("/run/new").text
        (run / "recipe.yaml").write_text("settings: {agent: rag, data: world}\n")
        changed = viewer.get("/run/new").text
        (run / "trajectories.jsonl").write_text('{"schema": 1, "id": "ha')
        half = viewer.get("/run/new/trajectories")

    assert "No runs yet" in empty
    assert "profilegym eval" in empty
    assert "No episode has ended yet" in begun
    assert ["<dd>pr2</dd>" in begun, "<dd>rag</dd>" in changed] == [True, True]
    assert half.status == 200
    assert "No episode has ended yet" in half.text


def test_curves_are_drawn_of_every_number_of_a_training_run(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "training"
    run.mkdir(parents=True)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(300):
            values = {"oddity": 2.0, "score": step / 300, "loss": -1.0, "words": "x", "alarms": ["length"] * (step > 9)}
            file.write(json.dumps({"step": step, **values}) + "\n")
        file.write('{"step": 300, "sco')

    (run / "recipe.yaml").write_text("settings: {episode: {top_k: 5}, data: {train: world}, optimiser: {steps: 300}}\n")

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get("/run/training").text

    drawn = re.findall(r"<figcaption>(\w+) <b>|(All other curves)", page)
    assert [name or more for name, more in drawn] == ["score", "loss", "All other curves", "oddity"]
    assert "loss: from −1 to −1" in page
    assert "At step 299 the run raised these alarms: length" in words(page)
    assert "score: from 0 to 0.9967" in page
    assert "steps 0 to 299" in words(page)
    assert "optimiser.steps 300" in words(page)


def test_runs_within_a_run_stand_with_it(tmp_path: Path) -> None:
    for name in ("one", "one/evaluations/step-1", "one/evaluations/step-2", "two"):
        play(tmp_path / "runs" / name)

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get("/").text

    assert re.findall(r"<h2><a[^>]*>([^<]*)</a>", page) == ["two", "one"]
    assert re.findall(r'class="word"><a href="[^"]*">([^<]*)</a>', page) == [
        "one~evaluations~step-2",
        "one~evaluations~step-1",
    ]
    assert "2 runs inside it" in words(page)


def test_a_run_in_stages_tells_of_its_last_one_and_leads_to_what_was_played_before_and_after(tmp_path: Path) -> None:
    whole = tmp_path / "runs" / "whole"
    last = play(whole / "grpo")
    (last / "recipe.yaml").write_text("settings: {episode: {top_k: 3}, data: {train: world}, optimiser: {steps: 2}}\n")
    for stage in ("sft", "grpo"):
        for who in ("trained", "untrained"):
            play(whole / stage / "evaluations" / "test" / who)
    (whole / "recipe.yaml").write_text("settings: {method: stages, stages: {sft: {}, grpo: {}, later: {}}}\n")
    (whole / "summary.json").write_text("{}")
    score = json.loads((last / "summary.json").read_text())["score"]["mean"]

    with viewing(tmp_path / "runs") as viewer:
        listed = viewer.enter().get("/").text
        page = viewer.get("/run/whole").text
        led = re.findall(r'href="(/compare\?[^"]*)">([^<]*)<', page)
        compared = viewer.get(led[0][0].replace("&amp;", "&")).text

    told = f"score by rubric, on the test questions, stage grpo {score:.3f}"
    assert told in words(listed)
    assert told in words(page)
    assert set(re.findall(r'href="/run/([^/"?]*)/(?:trajectories|branches|live)["?]', page)) == {"whole~grpo"}
    assert "5 runs inside it" in words(listed)
    assert 'href="/run/whole~sft~evaluations~test~trained"' in page
    assert [name for _, name in led] == ["test, grpo", "test, sft"]
    assert "difference" in words(compared)
    assert re.findall("<option selected>([^<]*)<", compared) == [
        f"whole~grpo~evaluations~test~{who}" for who in ("untrained", "trained")
    ]


def test_a_training_run_without_tests_is_told_by_its_rollouts(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "training")
    (run / "recipe.yaml").write_text("settings: {episode: {top_k: 3}, data: {train: world}, optimiser: {steps: 2}}\n")
    summary = json.loads((run / "summary.json").read_text())
    with viewing(tmp_path / "runs") as viewer:
        tested = words(viewer.enter().get("/run/training").text)
        (run / "summary.json").write_text('{"tests": {}}')
        alone = words(viewer.get("/run/training").text)
        (run / "summary.json").unlink()
        (run / "trajectories.jsonl").unlink()
        lessons = words(viewer.get("/run/training").text)

    score = f"{summary['score']['mean']:.3f}"
    assert f"score by rubric, on the test questions {score}" in tested
    assert f"score by rubric, of its rollouts {score}" in alone
    assert "score by no judge yet –" in lessons


def test_the_weights_that_a_run_keeps_can_be_chosen_by_name(tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "one")
    kept = [run / "final", run / "checkpoints/checkpoint-9", run / "checkpoints/checkpoint-10"]
    for folder in kept:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    with viewing(tmp_path / "runs") as viewer:
        page = viewer.enter().get("/run/one/trajectories/20/branch?turn=0").text

    assert re.findall(r'<option value="(hf:[^"]+)"', page) == [f"hf:{folder}" for folder in kept]
    assert '<option value="recency">' in page


def test_two_runs_are_compared_on_the_questions_of_both_the_greatest_difference_first(
    viewer: Viewer, runs: Path
) -> None:
    page = viewer.get("/compare?a=rag&b=oracle").text

    differences = [float(cell.replace("−", "-")) for cell in re.findall(r'<td class="\w*">([+−]?\d\.\d\d)</td>', page)]
    assert len(differences) == 12
    assert differences == sorted(differences, key=lambda value: -abs(value))
    scores = {
        name: json.loads((runs / name / "summary.json").read_text())["score"]["mean"] for name in ("rag", "oracle")
    }
    assert f"difference {scores['oracle'] - scores['rag']:+.3f}" in words(page)


def test_runs_by_different_judges_are_compared_with_a_warning(tmp_path: Path) -> None:
    play(tmp_path / "one")
    other = play(tmp_path / "two")
    text = (other / "trajectories.jsonl").read_text().replace('"judge":"rubric"', '"judge":"openai:x"')
    (other / "trajectories.jsonl").write_text(text)

    with viewing(tmp_path) as viewer:
        page = words(viewer.enter().get("/compare?a=one&b=two").text)

    assert "scored by rubric, the second by openai:x: what differs may be the judges" in page


@pytest.mark.parametrize("export", ["", "/export"])
def test_what_an_agent_reports_of_itself_is_counted_and_listed(export: str, tmp_path: Path) -> None:
    run = play(tmp_path / "runs" / "r2p", replace(ORACLE, agent="r2p", limit=1))
    last = lines_of(run)[-1]
    usage = {"turns": 2, "notes": {"model": "small"}, "interventions": []}
    add(run, {**last, "id": "x:r2p:0", "usage": usage})
    reported = last["usage"]["interventions"]

    with viewing(tmp_path / "runs") as viewer:
        page = words(viewer.enter().get(f"/run/r2p/trajectories/2{export}").text)
        other = words(viewer.get(f"/run/r2p/trajectories/3{export}").text)

    assert reported
    assert f"interventions {len(reported)} {' '.join(reported)}" in page
    assert "turns 2 notes {'model': 'small'} interventions 0" in other


def test_an_export_needs_nothing_else(viewer: Viewer, runs: Path) -> None:
    row, trajectory = two_searches(runs)

    answer = viewer.get(f"/run/oracle/trajectories/{row}/export")

    assert answer.headers["content-disposition"].startswith("attachment")
    assert not re.search(
        r"""(src|href)\s*=|url\(|@import""", re.sub(r"<script>.*?</script>", "", answer.text, flags=re.S)
    )
    assert "default-src 'none'" in unescape(answer.text)
    assert str(trajectory.answer) in words(answer.text)


def test_a_redacted_export_holds_no_four_words_of_any_post(runs: Path) -> None:
    with viewing(runs, redact=True) as viewer:
        viewer.enter()
        exports = {
            row: viewer.get(f"/run/{name}/trajectories/{row}/export").text
            for name in ("oracle", "rag")
            for row in range(1, 25)
        }
        exports[0] = viewer.get("/run/oracle/trajectories/20/export?redact=0").text

    record = lines_of(runs / "oracle")
    asked = [load_questions(ORACLE.data).find(line["question_id"]) for line in record]
    posts = {
        tuple(run) for question in asked for document in question.profile.documents for run in runs_of(document.text)
    }
    questions = {tuple(run) for question in asked for run in runs_of(question.text)}
    for page in exports.values():
        body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.S)
        said = {tuple(run) for text in re.split(r"<[^>]+>", unescape(body)) for run in runs_of(text)}
        assert said & (posts - questions) == set()
        assert "[withheld]" in page or "<ol" not in body


POST = "My nurse is called Petulo, a name that suits very well."


def data_with(date: Any) -> str:
    """A question whose rubric quotes a post; a date that is no date spoils it."""
    profile = [{"id": "a", "text": POST, "date": date}]
    rubric = {"aspects": [{"title": POST, "accepted": ["tea"]}]}
    return json.dumps({"id": "q", "user_id": "ann", "text": "Tea?", "profile": profile, "rubric": rubric}) + "\n"


@pytest.mark.parametrize("date", [None, [POST]], ids=["known", "cannot be loaded"])
def test_a_redacted_export_quotes_no_post_in_reasons_errors_or_usage(date: Any, tmp_path: Path) -> None:
    data, run = tmp_path / "q.jsonl", play(tmp_path / "runs" / "one", replace(ORACLE, limit=1))
    data.write_text(data_with(date))
    asked = lines_of(run)[-1] | {"data": f"jsonl:{data}", "question_id": "q", "user_id": "ann", "searches": []}
    judged = {"judge": "m", "score": 1.0, "aspects": [{"title": "Tea", "match": 2, "reason": f"It says {POST}"}]}
    unscored: Any = {"total": None, "parts": {}, "unscored": f"no verdict in the evaluator's reply: {POST!r}"}
    add(
        run,
        {**asked, "id": "q:pr2:0", "verdict": judged},
        {**asked, "id": "q:pr2:1", "verdict": None, "reward": unscored},
        {**asked, "id": "q:pr2:2", "verdict": None, "error": POST},
        {**asked, "id": "q:pr2:3", "usage": {"interventions": [POST], "note": POST}},
    )

    with viewing(tmp_path / "runs", redact=True) as viewer:
        viewer.enter()
        pages = [viewer.get(f"/run/one/trajectories/{row}/export") for row in range(3, 7)]

    for page in pages:
        assert page.status == 200
        assert "[withheld]" in page.text
        assert "nurse is called Petulo" not in page.text


def runs_of(text: str) -> list[list[str]]:
    found = [word.casefold() for word in re.findall(r"\w+", text)]
    return [found[start : start + 4] for start in range(len(found) - 3)]
