"""The page of results: made from runs, and what it says of a claim hangs on their figures alone."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from matching import naming
from tiny_policy import make_tiny_policy

from profilegym.evaluation.intervals import Interval

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from profilegym.evaluation.multi_seed import QuestionFigures, Selection, difference, mean, ratio  # noqa: E402
from profilegym.studies import arms, results  # noqa: E402
from profilegym.studies.arms import ARMS, MAIN, ONE_SHOT, Bench  # noqa: E402
from profilegym.studies.page import count, figure, more, no_worse  # noqa: E402
from profilegym.studies.paper import Paper  # noqa: E402
from profilegym.training.recipe import load_recipe  # noqa: E402
from profilegym.world.pilot import demonstrations  # noqa: E402

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
UNREAD = shutil.ignore_patterns("checkpoints", "final", "best", "elsewhere", "greedy", "report.*")
ONE = ["training", "--only", MAIN, "--seeds", "1"]


def small(policy: Path) -> list[str]:
    data = "{train: 'world:users=40/train', validation: 'world:users=40/validation', test: %s}"
    tests = "{test: 'world:seed=5,users=40/test', test_unseen: 'world:seed=5,users=40/test_unseen'}"
    return [
        f"model=hf:{policy}",
        f"reward={Path(__file__).parent / 'tiny_policy.py'}:by_chance",
        f"data={data % tests}",
        "generation={turn_tokens: 12, max_tokens: 30}",
        "optimiser={steps: 2, questions: 2}",
        "watch={evaluate: 2, questions: 36, save: 2}",
        "conclusion={controls: [none, rag, pr2], questions: 36}",
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the page, and one recipe trained at one seed; the work is done in there."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").mkdir()
    shutil.copy(PAGE, folder / "docs" / "results.md")
    make_tiny_policy(folder / "policy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(arms, "OTHER_TOOLS", {"k = 1": {"top_k": 1}, "random": {"retriever": "random"}})
        results.main([*ONE, "--set", *small(folder / "policy")])
        yield folder


@pytest.fixture
def bench(checkout: Path, tmp_path: Path) -> Bench:
    """Of a copy, to which runs can be added."""
    shutil.copytree(checkout / "runs/results/training", tmp_path / "runs", ignore=UNREAD)
    return Bench(tmp_path / "runs", small(checkout / "policy"))


def page(checkout: Path) -> str:
    return (checkout / "docs" / "results.md").read_text("utf-8")


def row(text: str, heading: str, *cells: str) -> list[str]:
    """Of the table under a heading, the row that starts with these cells."""
    section = text.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    (found,) = re.findall(rf"^\| {re.escape(' | '.join(cells))} \| (.*) \|$", section, re.MULTILINE)
    return [cell.strip() for cell in str(found).split(" | ")]


def test_the_page_shows_the_figures_of_the_runs_own_summaries(checkout: Path) -> None:
    evaluations = checkout / "runs/results/training/pr2-world-0/evaluations"
    for test in ("test", "test_unseen"):
        for who in ("trained", "none", "untrained", "oracle"):
            summary = json.loads((evaluations / test / who / "summary.json").read_text())
            shown = row(page(checkout), "PR2 beside its controls", f"`{who}`", test)
            assert shown[:2] == ["1", figure(Interval(**summary["score"]))]

    for step in (0, 2):
        summary = json.loads((evaluations / f"step-{step}" / "summary.json").read_text())
        shown = row(page(checkout), "While it learns", str(step))
        assert shown[:2] == ["1", figure(Interval(**summary["score"]))]
        assert shown[-1] == figure(Interval(**summary["by_hops"]["2"]["searches"]))


def test_what_is_not_run_names_the_command_that_runs_it(checkout: Path) -> None:
    shown = row(page(checkout), "The rollout without the profile", "`delta`")

    assert shown[0] == "not run: `python -m profilegym.studies.results training --only pr2-world-delta`"
    assert "- test, less `delta`, no worse by more than 0.02: not known" in page(checkout)


def test_it_goes_on_where_it_was_and_leaves_the_rest_of_the_page_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(*_: Any, **__: Any) -> None:
        raise AssertionError("this is there already")

    before = page(checkout)
    monkeypatch.setattr(subprocess, "run", played)
    monkeypatch.setattr(arms, "play", played)
    results.main([*ONE, "--set", *small(checkout / "policy")])

    assert page(checkout) == before
    outside = re.compile(r"<!-- training -->.*<!-- /training -->", re.DOTALL)
    assert outside.sub("", before) == outside.sub("", PAGE.read_text("utf-8"))


def test_runs_of_other_settings_are_never_shown(checkout: Path) -> None:
    other = [*small(checkout / "policy"), "optimiser.learning_rate=0.5"]

    with pytest.raises(SystemExit, match=naming("pr2-world-0", "optimiser")):
        results.main([*ONE[:-1], "0", "--set", *other])


def test_a_training_run_that_fails_ends_it_with_its_command(checkout: Path) -> None:
    with pytest.raises(SystemExit, match=naming("train pr2-world-code seed=0 optimiser.stepz=1", 1)):
        results.main(["training", "--only", "pr2-world-code", "--seeds", "1", "--set", "optimiser.stepz=1"])


def test_a_page_without_the_place_is_refused_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text("# Results\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match=naming("training")):
        results.main(ONE)
    assert not (tmp_path / "runs").exists()


def another(bench: Bench, arm: str, seed: int, score: float) -> None:
    """The run that there is as if another had given it, with so much for each answer of the trained policy."""
    folder = bench._folder / f"{arm}-{seed}"
    if not folder.exists():
        shutil.copytree(bench._folder / f"{MAIN}-0", folder)
    settings = {"settings": bench.recipe(arm, seed).model_dump()}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    for file in folder.glob("evaluations/*/trained/trajectories.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            line["verdict"] = {"judge": "rubric", "score": score, "aspects": []}
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("without", "verdict"),
    [
        ((0.3, 0.31, 0.29), "**supported**, +0.300 ["),
        ((0.9, 0.1, 0.5), "**inconclusive**, +0.100 ["),
        ((0.8, 0.81, 0.79), "**contradicted**, -0.200 ["),
    ],
)
def test_a_claim_is_told_from_all_seeds_of_both_recipes(without: list[float], verdict: str, bench: Bench) -> None:
    for seed, score in enumerate(without):
        another(bench, MAIN, seed, 0.6)
        another(bench, "pr2-world-no-baseline", seed, score)

    text = Paper(bench).write()

    assert f"- test, less without them, more than 0: {verdict}" in text
    assert row(text, "The rollout without the profile", "`joint`", "test")[:2] == ["3", "0.600 [0.600, 0.600; 6]"]
    assert row(text, "The rollout without the profile", "without it", "test")[0] == "3"


def test_the_best_number_of_posts_is_neither_the_fewest_nor_the_most(bench: Bench) -> None:
    for arm, score in (
        ("pr2-world-top-k-1", 0.2),
        (MAIN, 0.5),
        ("pr2-world-top-k-5", 0.7),
        ("pr2-world-top-k-10", 0.3),
    ):
        another(bench, arm, 0, score)
    inside = Paper(bench).write()
    another(bench, "pr2-world-top-k-10", 0, 0.9)
    at_the_end = Paper(Bench(bench._folder, bench._changes)).write()

    assert "- test, 5 less 1, more than 0: **supported**, +0.500" in inside
    assert "- test, 5 less 10, more than 0: **supported**, +0.400" in inside
    assert "- test, 5 less 10, more than 0: **contradicted**, -0.200" in at_the_end


def test_a_trained_one_shot_rag_stands_beside_trained_pr2(bench: Bench) -> None:
    another(bench, MAIN, 0, 0.6)
    missing = Paper(bench).write()
    another(bench, ONE_SHOT, 0, 0.5)

    text = Paper(Bench(bench._folder, bench._changes)).write()

    assert "| `rag`, trained | not run: `python -m profilegym.studies.results training --only rag-world` |" in missing
    assert "- test, less `rag`, trained, more than 0: not known" in missing
    told = row(text, "PR2 beside its controls", "`rag`, trained", "test")
    assert told[:2] == ["1", "0.500 [0.500, 0.500; 6]"]
    assert told[-1].startswith("+0.100 [")
    assert "- test, less `rag`, trained, the best control, more than 0: **supported**, +0.100" in text
    assert "- test, less `rag`, trained, more than 0: **supported**, +0.100" in text


def test_the_policy_is_played_greedily_before_training_and_after_it(checkout: Path) -> None:
    run = checkout / "runs/results/training/pr2-world-0"

    shown = row(page(checkout), "Greedy", "0", "test")

    summaries = [
        json.loads((run / "greedy/test" / who / "summary.json").read_text()) for who in ("untrained", "trained")
    ]
    assert shown[1:3] == [figure(Interval(**summary["score"])) for summary in summaries]
    settings = yaml.safe_load((run / "greedy/test/trained/recipe.yaml").read_text())["settings"]
    as_drawn = yaml.safe_load((run / "evaluations/test/trained/recipe.yaml").read_text())["settings"]
    assert settings == as_drawn | {"temperature": 0.0}
    assert (
        row(page(checkout), "Greedy", "1", "test")[2]
        == row(page(checkout), "PR2 beside its controls", "`trained`", "test")[1]
    )


def test_the_page_says_that_the_pilot_has_only_ever_seen_three_posts(checkout: Path) -> None:
    section = page(checkout).partition("### Posts a search\n")[2].partition("\n### ")[0]

    assert "only ever been shown three posts" in section
    assert demonstrations._SHOWN == 3


def test_three_posts_are_what_the_main_recipe_shows() -> None:
    three, main = (load_recipe(name).model_dump() for name in ("pr2-world-top-k-3", MAIN))

    assert {name for name in main if main[name] != three[name]} == {"about"}


@pytest.mark.parametrize("arm", ARMS)
def test_every_recipe_differs_from_the_main_one_in_what_it_is_there_for(arm: str) -> None:
    bench = Bench(Path())
    of, main = (bench.recipe(name).model_dump() for name in (arm, MAIN))

    assert len({name for name in main if main[name] != of[name]} - {"about", "group"}) == (0 if arm == MAIN else 1)


def played(**seeds: dict[str, float]) -> dict[int, dict[str, QuestionFigures]]:
    """Questions a0, a2, b0 …: of a person, and of so many hops."""
    return {
        int(seed[1:]): {
            name: QuestionFigures(name[0], int(name[1]), {"score": value}) for name, value in values.items()
        }
        for seed, values in seeds.items()
    }


def test_a_difference_is_taken_where_both_have_played() -> None:
    one = played(s0={"a0": 0.5, "a2": 0.9, "b0": 0.7}, s1={"a0": 0.4})
    other = played(s0={"a0": 0.1, "b0": 0.3, "b2": 0.0}, s2={"a0": 1.0})

    assert difference(Selection(one), Selection(other)).mean == pytest.approx(0.4)
    assert difference(Selection(one), Selection(other)).n == 2
    assert ratio(Selection(one), Selection(other)).mean == pytest.approx(3.0)


def test_questions_of_other_hops_are_set_beside_each_other_as_they_are() -> None:
    one = Selection(played(s0={"a0": 0.5, "a2": 0.9, "b0": 0.7, "b2": 0.5}), hops=2)

    found = difference(one, Selection(one.runs, hops=0))

    assert mean(one).mean == pytest.approx(0.7)
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high, found.people) == (None, None, 2)


@pytest.mark.parametrize(
    ("interval", "gained", "kept"),
    [
        ((0.1, 0.3), "supported", "supported"),
        ((-0.01, 0.3), "inconclusive", "supported"),
        ((-0.1, 0.3), "inconclusive", "inconclusive"),
        ((-0.03, -0.01), "contradicted", "inconclusive"),
        ((-0.3, -0.1), "contradicted", "contradicted"),
        ((None, None), "inconclusive", "inconclusive"),  # too few people
    ],
)
def test_gains_and_no_loss_are_told_by_one_rule_and_a_margin_that_is_told(
    interval: tuple[float | None, float | None], gained: str, kept: str
) -> None:
    found = Interval(0.1, *interval, n=9, people=9)

    assert more("people", found).startswith(f"people, more than 0: **{gained}**, +0.100 [")
    assert no_worse("people", found).startswith(f"people, no worse by more than 0.02: **{kept}**, +0.100 [")
    assert more("people", Interval(None, None, None, 0, 0)) == "people, more than 0: not known"


def test_a_share_is_told_from_its_bound() -> None:
    assert more("test", Interval(0.95, 0.91, 0.97, 9, 9), 0.9) == (
        "test, more than 0.9: **supported**, 0.950 [0.910, 0.970; 9]"
    )
    assert "**inconclusive**" in more("test", Interval(0.95, 0.89, 0.97, 9, 9), 0.9)


def test_the_verdicts_of_a_page_are_counted() -> None:
    page = "\n".join(more("test", Interval(0.0, low, low + 1, 9, 9)) for low in (0.1, 0.2, -0.5, -3.0))

    assert count(f"**supported** is a word here\n{page}").startswith(
        "4 verdicts: 2 supported, 1 contradicted, 1 inconclusive."
    )
