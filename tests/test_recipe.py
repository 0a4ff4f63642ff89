"""Recipes: what they extend, what they change, and what is refused before anything is loaded."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from matching import naming

from profilegym.apps.recipes import run_recipes
from profilegym.errors import OptionError
from profilegym.evaluation.run import RunDirectory
from profilegym.training.recipe import Recipe, load_recipe
from profilegym.training.settings import check_settings, head_of, recipe_names
from profilegym.training.stages import StagedRecipe, load_any, stages_of
from profilegym.world.pilot.train import RECIPE

ROOT = Path(__file__).parent.parent
SMALLEST = {
    "about": "a test",
    "reward": "rubric",
    "data": {"train": "world:seed=1/train", "validation": "world:seed=1/validation"},
    "optimiser": {"steps": 1},
}


def problem_of(**changes: Any) -> str:
    with pytest.raises(OptionError) as error:
        check_settings(Recipe, SMALLEST | changes, "mine.yaml")
    return str(error.value)


def loaded(name: str) -> Any:
    """With all of its stages, where it has some."""
    recipe = load_any(name)
    if isinstance(recipe, StagedRecipe):
        assert stages_of(recipe, Path("out"))
    return recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_with_the_package_loads_and_opens_with_what_it_is(name: str) -> None:
    recipe = loaded(name)

    assert recipe.about
    (file,) = Path(__file__).parent.parent.glob(f"*/recipes/{name}.yaml")
    assert file.read_text().startswith("# ")


GPUS = [name for name in recipe_names() if "CUDA_VISIBLE_DEVICES=" in head_of(name)]
LAUNCHED = [name for name in GPUS if "accelerate launch" in head_of(name)]


def number_of_processes(name: str) -> int:
    """As its line for `accelerate launch` says."""
    (found,) = re.findall(rf"recipes {re.escape(name)} --accelerate\)\" --num_processes (\d+)", head_of(name))
    return int(found)


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_processes_of_a_recipe_that_is_launched_share_a_step(name: str) -> None:
    recipe, processes = load_recipe(name), number_of_processes(name)

    rows = recipe.optimiser.rows
    assert rows is not None
    for sequences in (recipe.group.size, recipe.group.personalised):  # played, and sent to the trainer
        assert recipe.optimiser.questions * sequences % (rows * processes) == 0


@pytest.mark.parametrize("name", GPUS)
def test_a_recipe_for_gpus_shows_the_lines_to_type(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_recipes(name, [])

    told = capsys.readouterr().out
    assert f"profilegym train {name}" in told
    assert yaml.safe_load(told)["about"] == load_recipe(name).about  # a comment and settings: a recipe


@pytest.mark.parametrize(
    ("changes", "file"),
    [
        ([], "ddp.yaml"),
        (["generation.engine=vllm-server", "generation.vllm_server=http://gpu:8000", "advantage=joint"], "fsdp2.yaml"),
        (["generation.engine=vllm-server", "generation.vllm_server=http://gpu:8000", "lora.rank=8"], "ddp.yaml"),
    ],
    ids=["the local engine", "all weights, and servers that write", "adapters, and servers that write"],
)
def test_the_accelerate_file_of_a_recipe_is_one_that_it_can_be_launched_with(
    changes: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file

    run_recipes("pr2-world", changes, accelerate=True)

    path = Path(capsys.readouterr().out.strip())
    assert path.name == file
    started = load_config_from_file(str(path))
    assert started.mixed_precision == "no"  # any other would stand in for the recipe's `precision: float32`
    assert (started.distributed_type == "FSDP") == (file == "fsdp2.yaml")


def test_a_recipe_that_runs_in_one_process_has_no_accelerate_file() -> None:
    with pytest.raises(OptionError, match=naming("method=stages", "grpo")):
        run_recipes(next(name for name in recipe_names() if name.startswith("prlm")), [], accelerate=True)


@pytest.mark.parametrize("name", recipe_names())
def test_the_documentation_lists_every_recipe_with_what_it_is(name: str) -> None:
    listed = (Path(__file__).parent.parent / "docs" / "training.md").read_text("utf-8")

    assert f"| `{name}` | {loaded(name).about}" in listed


@pytest.mark.slow
def test_loading_a_recipe_loads_no_model_library() -> None:
    script = (
        "import sys; from profilegym.training.recipe import load_recipe; load_recipe('pr2-world');"
        "sys.exit(' '.join({'torch', 'transformers', 'trl', 'openai'} & set(sys.modules)) or None)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert loaded.returncode == 0, loaded.stderr


def test_a_recipe_that_extends_another_lists_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: pr2-world\nepisode: {top_k: 7}\ndata: {test: {test_unseen: null}}\n")

    base, mine = load_recipe("pr2-world"), load_recipe(tmp_path / "mine.yaml")

    assert mine.episode.top_k == 7
    assert mine.optimiser == base.optimiser
    assert list(mine.data.test) == ["test"]


def test_what_is_extended_is_looked_for_beside_the_recipe_first(tmp_path: Path) -> None:
    (tmp_path / "pr2-world").write_text("extends: pr2-world-smoke\nseed: 3\n")
    (tmp_path / "mine.yaml").write_text("extends: pr2-world\nabout: mine\n")

    mine = load_recipe(tmp_path / "mine.yaml")

    assert (mine.about, mine.seed, mine.optimiser.steps) == ("mine", 3, 2)


def test_recipes_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")

    with pytest.raises(OptionError, match=naming(tmp_path / "a.yaml", tmp_path / "b.yaml")):
        load_recipe(tmp_path / "a.yaml")


def test_a_run_can_be_made_again_from_its_own_directory(tmp_path: Path) -> None:
    recipe = load_recipe("pr2-world-delta", ["optimiser.steps=7"])
    with RunDirectory(tmp_path).writing(recipe.model_dump()):
        pass

    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_settings_are_changed_key_by_key_and_null_takes_one_back_to_its_default() -> None:
    recipe = load_recipe("pr2-world", ["optimiser.steps=5", "lora.rank=8", "conclusion.oracle=null", "seed=4"])

    assert (recipe.optimiser.steps, recipe.optimiser.questions, recipe.seed) == (5, 16, 4)
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha) == (8, 32)
    assert recipe.conclusion.oracle is None


@pytest.mark.parametrize("change", ["optimiser.steps", "seed=[1"])
def test_a_change_that_cannot_be_read_is_refused(change: str) -> None:
    with pytest.raises(OptionError, match=naming(repr(change))):
        load_recipe("pr2-world", [change])


@pytest.mark.parametrize(("asked", "near"), [("pr2-wrold", "pr2-world"), ("zebra", "pr2-world")])
def test_an_unknown_recipe_is_refused_with_the_nearest_one(asked: str, near: str) -> None:
    with pytest.raises(OptionError, match=naming(asked, near)):
        load_recipe(asked)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(OptionError, match=naming("there is no file", "'runs/mine.yaml'")):
        load_recipe("runs/mine.yaml")


def test_a_recipe_of_another_method_is_refused_for_that_alone() -> None:
    with pytest.raises(OptionError, match=naming(RECIPE, "method='pilot'", "'grpo'")) as error:
        load_recipe(RECIPE)

    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["- a list", "a: [", "just words"])
def test_a_file_that_holds_no_settings_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(OptionError, match=naming(tmp_path / "mine.yaml")):
        load_recipe(tmp_path / "mine.yaml")


SERVED = {"engine": "vllm-server", "vllm_server": "http://gpu:8000"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"advantge": "delta"}, "no setting 'advantge'; did you mean 'advantage'?"),
        ({"optimiser": {"steps": 1, "learning_rat": 1}}, "'optimiser.learning_rat'; did you mean 'learning_rate'?"),
        ({"lora": {"dropuot": 0.1}}, "no setting 'lora.dropuot'; did you mean 'dropout'?"),
        ({"group": {"zebra": 1}}, "no setting 'group.zebra'; known: personalised, baseline"),
        ({"optimiser": {}}, "optimiser.steps is missing"),
        ({"optimiser": {"steps": 0}}, "optimiser.steps=0: "),
        ({"advantage": "detla"}, "advantage='detla': Input should be 'joint', 'delta', 'code', 'none',"),
        ({"group": {"personalised": 1}}, "group.personalised=1: "),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_nearest_right_one(changes: Any, told: str) -> None:
    assert told in problem_of(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"advantage": "delta", "group": {"baseline": 0}}, "group.baseline must be at least 1"),
        ({"advantage": "none", "train_baseline": "all"}, "train_baseline=all needs advantage=joint"),
        ({"advantage": "code", "scale_rewards": "none"}, "scale_rewards=none cannot be"),
        ({"train_baseline": "positive", "group": {"baseline": 0}}, "train_baseline=positive needs a baseline"),
        ({"optimiser": {"steps": 1, "rows": 7}}, "optimiser.rows=7 does not divide a step's 40 sequences"),
        ({"generation": {"engine": "vllm-server"}}, "needs generation.vllm_server"),
        ({"generation": SERVED, "optimiser": {"steps": 1, "kl": 0.1}}, "optimiser.kl=0.1"),
        ({"generation": SERVED, "optimiser": {"steps": 1, "loss": "grpo"}}, "optimiser.loss=grpo"),
        ({"generation": SERVED | {"top_p": 0.9}}, "generation.top_p=0.9"),
        ({"generation": SERVED, "resample_zero_variance": 2}, "resample_zero_variance=2"),
        ({"generation": SERVED, "advantage": "joint+turn"}, "advantage=joint+turn"),
        (
            {"generation": SERVED, "optimiser": {"steps": 1, "rows": 5}},
            "optimiser.rows=5 does not divide a step's 32 sequences (8 questions x 4)",
        ),
        ({"generation": SERVED, "lora": {"bits": 4}}, "lora.bits=4 must be 16"),
        ({"generation": SERVED | {"vllm_server": "http://a|http://b"}}, "set lora for several"),
        (
            {"generation": {"vllm_server": "http://gpu:8000"}},
            "generation.engine=vllm-server, not by transformers",
        ),
        ({"watch": {"evaluate": 0, "save": 3}, "trl": {"num_iterations": 2}}, "watch.save=3 is no multiple of trl.num"),
        ({"episode": {"costs": "latest=0.1"}}, "'latest' is not offered"),
        ({"generation": {"turn_tokens": 300, "max_tokens": 200}}, "turn_tokens=300 is more than an episode's"),
        ({"data": {"train": "world/train"}}, "watch.evaluate=50 needs data.validation"),
        ({"watch": {"evaluate": 0, "stop_on_collapse": True}}, "which needs watch.evaluate above 0"),
        ({"watch": {"evaluate": 0, "choose_by": "evidence"}}, "watch.choose_by='evidence' compares evaluations"),
        (
            {"data": {"train": "world/train", "validation": "lamp-qa:Society_and_Culture/validation"}},
            "lamp-qa:Society_and_Culture/validation has no metric of its own: set judge",
        ),
        ({"data": SMALLEST["data"] | {"test": {"mine": "jsonl:mine.jsonl"}}}, "jsonl:mine.jsonl has no metric"),  # type: ignore[operator]
    ],
)
def test_an_impossible_combination_is_refused(changes: Any, told: str) -> None:
    assert told in problem_of(**changes)


def test_evaluations_play_with_all_options_of_the_episodes() -> None:
    given = ["top_k=2", "max_searches=5", "hit_chars=40", "protocol=tools", "max_shown=4", "cites=true", "costs=null"]

    asked = load_recipe("pr2-world-smoke", [f"episode.{one}" for one in given])

    assert asked.playing("world", None).options == asked.episode.made


@pytest.mark.parametrize(
    "changes",
    [
        {"judge": "openai:m,api_key=sk-SECRET"},
        {"reward": "pr2:openai:m,base_url=http://localhost:1/v1,api_key=sk-SECRET"},
        {"model": "openai:m,api_key=sk-SECRET"},
        {"conclusion": {"oracle": "openai:m,api_key=sk-SECRET"}},
        {"model": "vllm:http://me:sk-SECRET@localhost:1"},
    ],
)
def test_a_key_in_a_recipe_is_refused_and_not_repeated(changes: Any) -> None:
    problem = problem_of(**changes)

    assert f"{next(iter(changes))}" in problem
    assert "set OPENAI_API_KEY instead" in problem
    assert "SECRET" not in problem


def test_what_the_recipe_file_of_a_run_holds_is_all_that_was_resolved(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).writing(load_recipe("pr2-world-top-k-5").model_dump()):
        pass

    written = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["settings"]
    assert "extends" not in written
    assert written["episode"]["top_k"] == 5
    assert written["group"] == {"personalised": 4, "baseline": 1}
