"""What a training run tells when it ends."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, browser
from test_report import Page
from tiny_policy import make_tiny_policy, recipe

from profilegym.evaluation.alarms import SIGNS
from profilegym.evaluation.compare import Comparison, Row
from profilegym.evaluation.intervals import Interval
from profilegym.training.metrics import read_metrics
from profilegym.training.recipe import load_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("websockets")

from profilegym.training.report.comparison import contenders, differences, most_changed  # noqa: E402
from profilegym.training.report.conclude import conclude  # noqa: E402
from profilegym.training.report.curves import drawn, panels, smoothed  # noqa: E402
from profilegym.training.report.report import write_report  # noqa: E402
from profilegym.training.train import train  # noqa: E402

DATA = {
    "train": "world:seed=1,users=12/train",
    "validation": "world:seed=1,users=12/validation",
    "test": {"people": "world:seed=5,users=12/test", "words": "world:seed=5,users=12/test_unseen"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run by a policy that knows nothing, beside an oracle that knows everything."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    asked = recipe(
        make_tiny_policy(tmp_path_factory.mktemp("policy")),
        about="A run <with> a mark",
        data=DATA,
        optimiser={"steps": 2, "questions": 2, "learning_rate": 1e-3},
        watch={"evaluate": 1, "questions": 3},
        conclusion={"controls": ["none", "pr2"], "oracle": "scripted:oracle", "questions": 6},
    )
    out = tmp_path_factory.mktemp("run")
    train(asked, out, lambda step, metrics: None)
    conclude(asked, out, lambda told: None)
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


def test_the_page_holds_every_contenders_score_on_every_test_set(folder: Path, page: str) -> None:
    for test in DATA["test"]:
        assert f"<h2>On {test}</h2>" in page
        for who in ("trained", "none", "untrained", "oracle"):
            summary = json.loads((folder / "evaluations" / test / who / "summary.json").read_text())
            assert re.search(rf'<th scope="row">{who}</th><td>{summary["score"]["mean"]:.3f} ', page), (test, who)


def test_it_opens_with_what_was_learned_and_says_what_the_judge_is(folder: Path, page: str) -> None:
    summary = json.loads((folder / "summary.json").read_text())

    (lead,) = re.findall('<p class="lead">(.*?)</p>', page)
    assert lead.startswith(f"After 2 steps the policy scores {summary['score']['mean']:.2f} instead of ")
    assert "times on questions of 0, 1 and 2 hops" in lead
    assert "Beside what it was before training: " in page
    assert "it is no language model" in page


def test_gain_is_told_over_its_own_answers_and_over_the_starting_policys(folder: Path, page: str) -> None:
    own = json.loads((folder / "evaluations/people/trained/summary.json").read_text())
    start = json.loads((folder / "evaluations/people/none/summary.json").read_text())

    rows = {row[0]: row[1:] for row in re.findall(r'<th scope="row">(the [^<]*)</th><td>([^ ]+) .*?<td>([^ ]+) ', page)}
    assert rows["the trained policy&#x27;s own"][0] == f"{own['baseline']['mean']:.3f}"
    assert rows["the starting policy&#x27;s"][0] == f"{start['score']['mean']:.3f}"


def test_the_same_questions_are_shown_before_and_after(page: str) -> None:
    assert page.count("<h3>Before training</h3>") == page.count("<h3>After training</h3>") == 6
    assert re.search(r"On people the score rose in \d+ episodes, stayed in \d+ and fell in \d+", page)


def test_it_neither_runs_nor_fetches_anything(page: str) -> None:
    shown = Page(page)

    assert shown.open == []
    assert not shown.seen & {"script", "img", "link", "iframe", "object", "form", "a"}
    assert not shown.attributes & {"src", "href", "style"}
    assert "A run &lt;with&gt; a mark" in page


def test_the_command_that_it_names_makes_the_run_again(folder: Path, page: str) -> None:
    assert "profilegym train recipe.yaml --out DIR" in page

    again = load_recipe(folder / "recipe.yaml")

    names = [contender.name for contender in contenders(again, "world", folder)]
    assert (again.about, again.optimiser.steps) == ("A run <with> a mark", 2)
    assert names == ["trained", "none", "untrained", "oracle"]


@pytest.mark.parametrize(("of_tests", "played"), [(None, 0.7), (0.0, 0.0)])
def test_all_play_the_tests_at_their_own_temperature(folder: Path, of_tests: float | None, played: float) -> None:
    recipe = load_recipe(
        folder / "recipe.yaml", ["generation.temperature=0.7", f"conclusion.temperature={json.dumps(of_tests)}"]
    )

    assert {contender.settings.temperature for contender in contenders(recipe, "world", folder)} == {played}


def test_all_play_the_tests_with_the_chat_template_of_training(folder: Path) -> None:
    recipe = load_recipe("pr2-lamp-qa-qwen3-4b-1gpu")

    models = {one.name: one.settings.model for one in contenders(recipe, "world", folder)}

    assert models["trained"] == f"hf:{folder}/final,template_enable_thinking=false"
    assert models["untrained"] == "hf:Qwen/Qwen3-4B,template_enable_thinking=false"


def test_every_metric_of_a_run_is_documented(folder: Path) -> None:
    documented = (Path(__file__).parent.parent / "docs" / "training.md").read_text("utf-8")
    table = documented.partition("| metric |")[2].partition("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines()]
    patterns = [
        re.escape(name).replace("N", r"\d").replace("…", ".+") for name in re.findall("`([^`]*)`", " ".join(cells))
    ]

    metrics = {name for step in read_metrics(folder / "metrics.jsonl") for name in step} - {"step"}

    assert len(metrics) > 30
    assert [name for name in metrics if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


def test_a_run_without_test_sets_says_that_nothing_is_known(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes((folder / "metrics.jsonl").read_bytes())
    (tmp_path / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())

    write_report(load_recipe(tmp_path / "recipe.yaml", ["data.test=null"]), tmp_path)

    assert "There are no test results, as data.test is empty" in (tmp_path / "report.html").read_text()


def test_alarms_are_told_with_the_steps_at_which_they_were_seen(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "metrics.jsonl").read_text() + json.dumps({"step": 2, "alarms": ["entropy", "truncated"]}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(lines)
    (tmp_path / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())

    write_report(load_recipe(tmp_path / "recipe.yaml", ["data.test=null"]), tmp_path)

    page = (tmp_path / "report.html").read_text()
    assert "entropy: at 1 of 2 steps, from 2 to 2" in page
    assert SIGNS["truncated"].meaning in page


def test_a_run_that_fell_back_says_from_where_and_to_where(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text('{"step": 1, "score": 0.5}')
    (tmp_path / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())
    longer = load_recipe(
        tmp_path / "recipe.yaml", ["optimiser.steps=9", "watch.stop_on_collapse=true", "data.test=null"]
    )

    def told(**last: Any) -> str:
        lines = (folder / "metrics.jsonl").read_text() + json.dumps({"step": 2} | last) + "\n"
        (tmp_path / "metrics.jsonl").write_text(lines)
        write_report(longer, tmp_path)
        return (tmp_path / "report.html").read_text()

    collapsed = "Stopped at step 2 of 9, as signs of collapse stayed; the policy is that of step 1."
    assert collapsed in told(collapse=["entropy"])
    assert "Stopped at step 2 of 9; the policy is that of step 2." in told(alarms=["entropy"])


def test_a_run_that_chose_its_policy_says_of_which_step_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text('{"step": 1, "evidence": 0.5}')
    (tmp_path / "metrics.jsonl").write_bytes((folder / "metrics.jsonl").read_bytes())
    (tmp_path / "recipe.yaml").write_bytes((folder / "recipe.yaml").read_bytes())

    write_report(load_recipe(tmp_path / "recipe.yaml", ["watch.choose_by=evidence", "data.test=null"]), tmp_path)

    told = "The policy is that of step 1 of 2: it had the highest evidence on the validation questions."
    assert told in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_real_browser_shows_it_without_complaint_on_a_telephone_and_on_a_desk(
    width: int, folder: Path, tmp_path: Path
) -> None:
    with browser(tmp_path) as seen:
        seen.look(width, dark=width == 390)
        seen.go(f"file://{folder / 'report.html'}")

        assert seen.run("document.documentElement.scrollWidth <= innerWidth")
        assert seen.run("document.querySelectorAll('.plots svg').length") >= 4
        assert seen.told == []


def verdicts(before: Sequence[float], control: Sequence[float]) -> list[str]:
    """Of a trained policy that has 0.5, where others differ from it by so much."""
    others = (("untrained", before), ("rag", control))
    rows = [Row("score", "trained", Interval(0.5, 0.4, 0.6, 9), None)]
    rows += [Row("score", who, Interval(0.5 + by[0], 0, 1, 9), Interval(*by, 9, 6)) for who, by in others]  # type: ignore[arg-type,call-arg]
    return list(
        differences(Comparison("rubric", ("trained", "untrained", "rag"), {}, 9, 6, {}, {}, {}, {}, tuple(rows)))
    )


@pytest.mark.parametrize(
    ("by", "verdict"),
    [
        ((-0.2, -0.3, -0.1), "better, +0.20 [+0.10, +0.30; 6 people]"),
        ((0.2, 0.1, 0.3), "worse, -0.20 [-0.30, -0.10; 6 people]"),
        ((-0.1, -0.3, 0.1), "inconclusive, +0.10 [-0.10, +0.30; 6 people]"),
    ],
)
def test_a_difference_is_only_called_one_where_chance_does_not_explain_it(by: Sequence[float], verdict: str) -> None:
    before, control = verdicts(by, (0.0, -0.1, 0.1))

    assert before == f"Beside what it was before training: {verdict}."
    assert control.startswith("Beside rag, the best of the other controls with 0.50: inconclusive, +0.00")


def test_of_ten_episodes_at_most_three_are_there_because_they_fell() -> None:
    rose = {(f"up{n}", "0"): 0.1 * n for n in range(1, 13)}
    fell = {(f"down{n}", "0"): -0.2 * n for n in range(1, 6)}
    again = {("up12", "1"): 0.05}

    shown = most_changed(rose | fell | again)

    assert [name for name, _ in shown] == [f"up{n}" for n in range(12, 5, -1)] + ["down5", "down4", "down3"]


def test_searches_are_drawn_by_hops_and_what_was_not_measured_is_not_drawn() -> None:
    steps: list[dict[str, Any]] = [
        {"step": 0, "validation_score": 0.3},
        *(
            {"step": n, "score": 0.1 * n, "searches_0_hops": 0.5, "searches_2_hops": n, "structure": 0.9}
            for n in (1, 2)
        ),
    ]

    found = {panel.title: [curve.name for curve in panel.curves] for panel in panels(steps)}

    assert found == {"Score": ["with profile"], "Searches": ["0 hops", "2 hops"], "Health": ["broken"]}
    score = next(panels(steps)).curves[0]
    assert list(score.raw) == [(1, 0.1), (2, 0.2)]
    assert list(score.evaluated) == [(0, 0.3)]


def test_a_smoothed_curve_is_the_mean_over_neighbours() -> None:
    points = [(float(step), float(step % 2)) for step in range(60)]

    found = smoothed(points)

    assert [step for step, _ in found] == [step for step, _ in points]
    assert all(abs(value - 0.5) <= 0.1 for _, value in found[3:-3])
    assert smoothed(points[:4]) == tuple(points[:4])


def test_curves_stay_inside_their_frame(folder: Path) -> None:
    for panel in panels(read_metrics(folder / "metrics.jsonl")):
        shown = drawn(panel)
        _, _, width, height = map(float, re.findall(r'viewBox="([^"]*)"', shown)[0].split())
        points = [pair.split(",") for line in re.findall(r'points="([^"]*)"', shown) for pair in line.split()]
        assert points
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)
