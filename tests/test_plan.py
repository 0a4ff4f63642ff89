"""What a recipe will ask for, and what is wrong with it, before anything of it is loaded."""

from pathlib import Path
from typing import Any

import pytest
from matching import names

from profilegym.training import checks
from profilegym.training.lessons import SFTRecipe
from profilegym.training.plan import plan_of
from profilegym.training.recipe import Recipe, load_recipe
from profilegym.training.settings import check_settings

LARGE = "pr2-lamp-qa-qwen2.5-7b-8gpu"
JUDGE = "openai:m,base_url=http://localhost:1/v1,price_in=2,price_out=10"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def small(*changes: str) -> Recipe:
    return load_recipe("pr2-world", ["conclusion.questions=6", "watch.questions=5", *changes])


def test_a_step_is_its_groups_and_all_steps_are_so_many_times_that() -> None:
    plan = plan_of(
        small("optimiser.questions=3", "optimiser.steps=10", "generation.turn_tokens=64", "generation.max_tokens=100")
    )

    assert plan.step.episodes == 3 * (4 + 1)
    assert plan.step.turns == 3 * (4 * 5 + 1)
    assert plan.step.tokens == 3 * (4 * 100 + 64)  # without the profile there is but one turn
    assert plan.training == plan.step * 10


def test_evaluations_are_counted_before_between_and_after_the_steps() -> None:
    without_tests = ["data.test=null", "optimiser.steps=7"]

    assert plan_of(small("watch.evaluate=3", *without_tests)).evaluations.episodes == 4 * 2 * 5  # at 0, 3, 6 and 7
    assert plan_of(small("watch.evaluate=0", *without_tests)).evaluations.episodes == 0


def test_the_conclusion_plays_every_contender_on_every_test_set_with_and_without_the_profile() -> None:
    plan = plan_of(small("watch.evaluate=0"))

    with_both, only_without = 5, 1  # trained, rag, rag-random, untrained, oracle; none
    assert plan.evaluations.episodes == 2 * 6 * (2 * with_both + only_without)


def test_every_attempt_at_a_lesson_is_counted() -> None:
    content = {"method": "sft", "about": "a test", "data": {"train": "world:users=20/train"}, "optimiser": {"steps": 1}}

    once, thrice = (
        plan_of(check_settings(SFTRecipe, content | {"lessons": {"player": "scripted:oracle"} | more}, "test"))
        for more in ({}, {"attempts": 3})
    )

    assert thrice.training.episodes == 3 * once.training.episodes == 3 * 2 * 72


def test_the_worlds_judge_costs_nothing() -> None:
    everything = plan_of(small()).everything

    assert (everything.judgements, everything.judge_read, everything.cost) == (0, 0, 0)


def test_an_evaluator_is_asked_once_an_aspect_and_costs_what_its_prices_say() -> None:
    step = plan_of(small(f"reward=pr2:{JUDGE}")).step

    assert step.judgements == pytest.approx(step.episodes * 2.6, rel=0.2)
    assert step.judge_read is not None
    assert step.judge_written is not None
    assert step.cost == pytest.approx((2 * step.judge_read + 10 * step.judge_written) / 1e6)


def test_without_prices_there_is_no_cost() -> None:
    plan = plan_of(small(f"reward=pr2:{JUDGE.partition(',price')[0]}"))

    assert plan.everything.cost is None
    assert plan.everything.judge_read


def test_data_on_the_hub_is_counted_by_what_was_published_of_it() -> None:
    plan = plan_of(load_recipe(LARGE))

    assert plan.questions == 7614
    assert plan.step.judgements == pytest.approx(120 * 2.9)
    assert plan.wrong == ()


def test_what_counts_as_a_leak_does_not_change_what_was_published() -> None:
    train = "data.train=lamp-qa:Art_and_Entertainment/train"
    usual, strict = (plan_of(load_recipe(LARGE, [train + leaks])) for leaks in ("", ",leaks=strict"))

    assert strict.questions == usual.questions == 9349
    assert strict.wrong == ()


def test_each_fourth_question_of_published_data_is_counted() -> None:
    plan = plan_of(load_recipe(LARGE, ["data.train=lamp-qa:Art_and_Entertainment/train,every=4"]))

    assert plan.questions == 2338
    assert plan.wrong == ()


def test_what_cannot_be_told_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(package: str) -> Any:
        return None if package in ("vllm", "peft", "wandb") else True

    monkeypatch.setattr(checks, "find_spec", found)
    monkeypatch.setattr(checks, "_gpus", lambda: 0)
    monkeypatch.setattr(checks, "_is_cached", lambda name: False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    here = ["generation.engine=vllm", "generation.vllm_server=null"]
    plan = plan_of(load_recipe(LARGE, [*here, "lora.rank=8", "watch.report_to=[wandb]"]))
    told = "\n".join([*plan.missing, *plan.unknown])

    for part in (
        "vLLM not installed",
        "peft not installed: pip install 'profilegym[train]'",
        "wandb not installed",
        "the records of lamp-qa:Society_and_Culture/train",
        "not downloaded: hf:Qwen/Qwen2.5-7B-Instruct",
        "dense:facebook/contriever-msmarco",
        "OPENAI_BASE_URL of pr2:openai:Qwen/Qwen2.5-32B-Instruct",
        "no GPU here",
    ):
        assert part in told


def test_a_key_that_is_not_set_here_is_named_and_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    plan = plan_of(small("reward=pr2:openai:m"))

    assert "not set here: OPENAI_API_KEY and OPENAI_BASE_URL of pr2:openai:m" in plan.unknown
    assert plan.wrong == ()


def test_a_small_run_needs_nothing_that_is_not_here() -> None:
    pytest.importorskip("trl")

    plan = plan_of(load_recipe("pr2-world-smoke"))
    assert (plan.missing, plan.unknown) == ((), ())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("agent=pr3", "no agent 'pr3'"),
        ("conclusion.controls=[none, nobody]", "no agent 'nobody'"),
        ("conclusion.oracle=scripd:oracle", "no model 'scripd:oracle'"),
        ("retriever=bm52", "no retriever 'bm52'"),
        ("reward=pr2:rubrik", "no judge 'rubrik'"),
        ("judge=rubrik", "no judge 'rubrik'"),
        (f"judge={JUDGE},concurency=3", "concurency"),
        ("model=openai:gpt", "has no weights to train"),
        ("model=hf:./nowhere", "'./nowhere' is neither a folder"),
        ("data.train=world:users=4/tran", "tran"),
        ("data.validation=lamp-qa:Society_and_Cultur/train", "did you mean 'Society_and_Culture'"),
        ("data.test.test=world:users=4/test", "leaves split 'test' empty"),
    ],
)
def test_a_name_or_an_option_that_cannot_work_is_wrong(change: str, told: str) -> None:
    (wrong,) = plan_of(small(change)).wrong

    assert told in wrong


def test_a_step_of_more_questions_than_there_are_is_wrong_but_where_they_are_repeated() -> None:
    few = ["data.train=world:users=20/train", "optimiser.questions=73"]
    servers = ["generation.engine=vllm-server", "generation.vllm_server=http://127.0.0.1:9"]

    (wrong,) = plan_of(small(*few)).wrong

    assert names(wrong, "optimiser.questions=73", "data.train=world:users=20/train", 72)
    assert plan_of(small(*few, *servers)).wrong == plan_of(small(*few, "optimiser.questions=72")).wrong == ()


@pytest.mark.parametrize(("processes", "rows", "fits"), [("2", "null", True), ("3", "null", False), ("2", "5", True)])
def test_processes_must_share_a_step_evenly(
    processes: str, rows: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)

    wrong = plan_of(small("optimiser.questions=8", f"optimiser.rows={rows}")).wrong

    assert (wrong == ()) == fits


def test_a_check_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    plan_of(load_recipe(LARGE))

    assert list(tmp_path.iterdir()) == []
