"""Training in stages: what each begins with, what it names of the others, and what is not done twice."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from matching import naming

from profilegym.apps.train import run_train
from profilegym.envs.data import load_questions
from profilegym.envs.reward import AspectMatch, Verdict
from profilegym.envs.trajectory import Trajectory
from profilegym.errors import DataError, OptionError
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.late_verdicts import LateVerdict, VerdictWriter, verdict_key
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.summary import evidence_recall, score_of
from profilegym.training.lessons import SFTRecipe, lessons
from profilegym.training.plan import plan_of
from profilegym.training.recipe import Recipe
from profilegym.training.reward_models.train import RewardModelRecipe
from profilegym.training.settings import check_settings
from profilegym.training.stages import StagedRecipe, load_any, stages_of

DATA = "world:seed=1,users=40/train"
SFT = {"method": "sft", "data": {"train": DATA}, "lessons": {"player": "scripted:oracle"}, "optimiser": {"steps": 2}}
RM = {"method": "reward-model", "data": {"train": DATA}}
GRPO = {
    "method": "grpo",
    "reward": "rubric",
    "data": {"train": DATA},
    "optimiser": {"steps": 1, "questions": 2},
    "watch": {"evaluate": 0},
}


def staged(**stages: Any) -> StagedRecipe:
    return check_settings(StagedRecipe, {"about": "a test", "method": "stages", "stages": stages}, "mine.yaml")


def written(folder: Path, **stages: Any) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"about": "a test", "method": "stages", "stages": stages}, sort_keys=False))
    return path


def test_a_stage_begins_with_the_newest_policy_unless_it_names_another() -> None:
    mine = staged(one=SFT, two=RM, three=GRPO, four=GRPO | {"model": "hf:{one}/final"}, five=SFT)

    models = [stage.recipe.model for stage in stages_of(mine, Path("out"))]

    assert models == ["pilot", "hf:out/one/final", "hf:out/one/final", "hf:out/one/final", "hf:out/four/final"]


def test_the_policy_of_a_stage_keeps_the_options_of_its_chat_template() -> None:
    mine = staged(one=SFT, two=GRPO).model_copy(update={"model": "hf:some/model,system=Be brief.,template_terse=true"})

    models = [stage.recipe.model for stage in stages_of(mine, Path("out"))]

    assert models == [f"hf:{path},system=Be brief.,template_terse=true" for path in ("some/model", "out/one/final")]


def test_a_stage_can_name_the_folder_of_one_before_it_wherever_a_word_stands() -> None:
    mine = staged(rm=RM, learn=GRPO | {"reward": "prlm:hf:{rm}", "conclusion": {"controls": ["rag", "{rm}.py:make"]}})

    _, stage = stages_of(mine, Path("out"))

    assert isinstance(stage.recipe, Recipe)
    assert stage.recipe.reward == "prlm:hf:out/rm"
    assert stage.recipe.conclusion.controls == ["rag", "out/rm.py:make"]


def test_a_text_that_several_stages_use_is_a_variable() -> None:
    mine = staged(one=SFT | {"data": {"train": "{people}/train"}}, two=GRPO | {"data": {"train": "{people}/test"}})

    stages = stages_of(mine.model_copy(update={"variables": {"people": "world:seed=5"}}), Path("out"))

    assert [stage.recipe.data.train for stage in stages] == ["world:seed=5/train", "world:seed=5/test"]


def test_a_variable_with_the_name_of_a_stage_is_refused() -> None:
    mine = staged(one=SFT).model_copy(update={"variables": {"one": "text"}})

    with pytest.raises(OptionError, match=naming("one")):
        stages_of(mine, Path("out"))


@pytest.mark.parametrize("name", ["later", "learn", "zebra", ""])
def test_a_folder_that_no_stage_before_has_is_refused(name: str) -> None:
    mine = staged(rm=RM, learn=GRPO | {"reward": f"prlm:hf:{{{name}}}"}, later=RM)

    with pytest.raises(OptionError, match=naming("learn", f"{{{name}}}", "rm")):
        stages_of(mine, Path("out"))


def test_what_every_stage_shares_is_said_once() -> None:
    mine = staged(one=SFT, two=GRPO | {"seed": 7, "about": "my own"}).model_copy(update={"seed": 3, "model": "hf:x"})

    one, two = stages_of(mine, Path("out"))

    assert (one.recipe.seed, one.recipe.about, one.recipe.model) == (3, "a test: one", "hf:x")
    assert (two.recipe.seed, two.recipe.about) == (7, "my own")


def test_a_stage_extends_one_before_it_or_any_recipe(tmp_path: Path) -> None:
    second, third = {"extends": "one", "reward": "pr2:rubric"}, {"extends": "pr2-world", "model": None}
    path = written(tmp_path, one=GRPO, two=second, three=third)

    mine = load_any(path, ["stages.one.optimiser.questions=5", "stages.three.optimiser.steps=9"])

    assert isinstance(mine, StagedRecipe)
    one, two, three = (stage.recipe for stage in stages_of(mine, tmp_path))
    assert isinstance(one, Recipe)
    assert isinstance(two, Recipe)
    assert isinstance(three, Recipe)
    assert (one.reward, one.optimiser.questions) == ("rubric", 5)
    assert (two.reward, two.optimiser.questions) == ("pr2:rubric", 2)
    assert (three.optimiser.steps, three.optimiser.questions) == (9, 16)
    assert three.model == f"hf:{tmp_path}/two/final"


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        (GRPO | {"rewrad": "rubric"}, ["'rewrad'", "'reward'"]),
        (SFT | {"optimiser": {"steps": 2, "bach": 3}}, ["'optimiser.bach'", "'batch'"]),
        (SFT | {"lessons": {}}, ["lessons={}", "run", "player"]),
        (SFT | {"lessons": {"run": "a", "player": "b"}}, ["'run'", "'player'"]),
        (SFT | {"lessons": {"run": "a", "attempts": 2}}, ["attempts=2", "player"]),
        (RM | {"kind": "prmu"}, ["prmu", "another"]),
        (RM | {"another": "rag-random"}, ["another"]),
        (RM | {"data": {"train": "jsonl:mine.jsonl"}}, ["jsonl:mine.jsonl"]),
        (SFT | {"data": {"train": "jsonl:mine.jsonl"}}, ["jsonl:mine.jsonl"]),
        (GRPO | {"method": "ppo"}, ["method='ppo'", "grpo", "sft", "reward-model"]),
        (GRPO | {"judge": "openai:m,api_key=sk-SECRET"}, ["stages.it.judge"]),
    ],
)
def test_a_stage_that_cannot_work_is_refused_by_its_name(stage: Any, named: list[str]) -> None:
    with pytest.raises(OptionError, match=naming("it", *named)) as error:
        stages_of(staged(it=stage), Path("out"))

    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "out", "wrong"), [("../up", "out", "../up"), ("a b", "out", "a b"), ("fine", "one,two", "one,two")]
)
def test_names_that_would_not_do_as_folders_or_in_specs_are_refused(name: str, out: str, wrong: str) -> None:
    with pytest.raises(OptionError, match=naming(repr(wrong))):
        stages_of(staged(**{name: SFT}), Path(out))


@pytest.mark.slow
def test_loading_a_recipe_of_stages_loads_no_model_library() -> None:
    script = (
        "import sys; from pathlib import Path; from profilegym.training.stages import load_any, stages_of;"
        "stages_of(load_any('prlm-world-lamp-5'), Path('out'));"
        "sys.exit(' '.join({'torch', 'transformers', 'trl', 'openai'} & set(sys.modules)) or None)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert loaded.returncode == 0, loaded.stderr


def test_a_plan_counts_what_is_played_to_learn_from_and_says_what_is_still_to_be_made(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    mine = staged(
        one=SFT | {"lessons": {"player": "scripted:oracle", "limit": 10}},
        rm=RM | {"kind": "prmu", "another": "rag-random", "limit": 20},
        learn=GRPO | {"reward": "prlm:hf:{rm}"},
    )
    one, rm, learn = stages_of(mine, tmp_path)

    to_come = [str(one.folder), str(rm.folder)]
    plans = [plan_of(one.recipe), plan_of(rm.recipe, to_come), plan_of(learn.recipe, to_come)]

    assert [plan.wrong for plan in plans] == [(), (), ()]
    assert [plan.everything.episodes for plan in plans[:2]] == [2 * 10, 2 * 2 * 20]
    assert f"written by an earlier stage: prlm:hf:{rm.folder}" in plans[2].unknown
    assert any("no reward model in" in problem for problem in plan_of(learn.recipe).wrong)


def fine_tuning(**asked: Any) -> SFTRecipe:
    content = SFT | {"about": "a test", "agent": "rag", "lessons": {"player": "scripted:world", "limit": 12} | asked}
    return check_settings(SFTRecipe, content, "test")


def test_lessons_are_played_with_the_profile_and_without(tmp_path: Path) -> None:
    found = lessons(fine_tuning(), tmp_path)

    assert [lesson.kind for lesson in found].count("baseline") == 12
    assert {lesson.agent for lesson in found} == {"rag", "none"}
    assert Settings.of(RunDirectory(tmp_path / "played").settings).model == "scripted:world"


def test_only_lessons_that_score_enough_are_learned_from(tmp_path: Path) -> None:
    every, good = lessons(fine_tuning(), tmp_path / "a"), lessons(fine_tuning(least=0.9), tmp_path / "b")

    assert 0 < len(good) < len(every)
    assert all((score_of(lesson) or 0) >= 0.9 for lesson in good)


def test_a_share_of_the_lessons_without_the_profile_is_learned_from(tmp_path: Path) -> None:
    run = str(tmp_path / "all" / "played")
    every = lessons(fine_tuning(limit=30), tmp_path / "all")

    some, none = (lessons(fine_tuning(player=None, run=run, without=share), tmp_path) for share in (0.3, 0.0))

    assert none == [lesson for lesson in every if lesson.kind != "baseline"]
    assert [lesson for lesson in every if lesson in some] == some
    assert len(none) < len(some) < len(none) + 15


@pytest.mark.parametrize("by", ["score", "evidence"])
def test_the_best_of_several_attempts_is_learned_from(tmp_path: Path, by: Literal["score", "evidence"]) -> None:
    player = "scripted:world,flaws=0.5" if by == "score" else "profilegym.world.pilot.demonstrations:player,hasty=0.5"
    recipe = fine_tuning(agent="pr2", player=player, attempts=4, choose_by=by)

    found = lessons(recipe, tmp_path)

    every = list(RunDirectory(tmp_path / "played").finished())
    questions = load_questions(DATA)

    def figure(lesson: Trajectory) -> float:
        figure = score_of(lesson) if by == "score" else evidence_recall(lesson, questions.find(lesson.question_id))
        return -1.0 if figure is None else figure

    assert len(every) == 4 * len(found) == 4 * 24
    assert len({(lesson.question_id, lesson.kind) for lesson in found}) == len(found)
    for lesson in found:
        same = [one for one in every if (one.question_id, one.kind) == (lesson.question_id, lesson.kind)]
        assert figure(lesson) == max(map(figure, same))
        assert len(lesson.searches) == min(len(one.searches) for one in same if figure(one) == figure(lesson))
    assert sum(map(figure, found)) / len(found) > sum(map(figure, every)) / len(every)

    some = lessons(recipe.model_copy(update={"lessons": recipe.lessons.model_copy(update={"without": 0.3})}), tmp_path)
    assert some == [lesson for lesson in found if lesson in some]
    assert 12 < len(some) < 20  # a share of the best ones, not of all attempts


def test_lessons_of_a_run_that_is_there_are_not_played_again(tmp_path: Path) -> None:
    first = lessons(fine_tuning(), tmp_path / "a")

    again = lessons(fine_tuning(player=None, run=str(tmp_path / "a" / "played")), tmp_path / "b")

    assert [lesson.id for lesson in again] == [lesson.id for lesson in first]
    assert not (tmp_path / "b").exists()


def test_lessons_of_a_run_that_was_judged_later_have_its_scores(tmp_path: Path) -> None:
    judge, run = tmp_path / "gone.py", tmp_path / "run"
    judge.write_text(
        "from profilegym.errors import JudgeError\n\nclass Gone:\n    name = 'gone'\n"
        "    score = None\n    async def score_many(self, pairs):\n"
        "        return [JudgeError('nobody is there') for _ in pairs]\n"
    )
    asked = Settings("rag", "scripted:world", DATA, judge=f"{judge}:Gone", limit=6)
    asyncio.run(evaluate(asked, RunDirectory(run)))
    with VerdictWriter(run) as writer:
        for one in RunDirectory(run).trajectories():
            verdict = Verdict("gone", 0.75, (AspectMatch("All of it", 2), AspectMatch("The rest", 1)))
            writer.write(LateVerdict(*verdict_key(one), "gone", True, verdict, None, "now"))

    found = lessons(fine_tuning(player=None, run=str(run), least=0.7), tmp_path)

    assert [score_of(lesson) for lesson in found] == [0.75] * 12


def test_without_a_lesson_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=naming("lessons.least=2")):
        lessons(fine_tuning(least=2.0), tmp_path)


def test_labelled_lessons_are_chains_of_tagged_steps(tmp_path: Path) -> None:
    asked = {"player": "scripted:steps", "labeller": "scripted:steps", "limit": 20, "least": 1.0}

    found = lessons(fine_tuning(**asked), tmp_path)

    assert {lesson.agent for lesson in found} == {"tagpr", "none"}
    assert all("<understand_task>" in lesson.segments[-1].text for lesson in found)


def test_labelled_lessons_are_of_any_score_where_no_least_is_asked_for(tmp_path: Path) -> None:
    data = {"train": "world-lamp-3:seed=1,users=20/train"}
    asked = {"player": "scripted:world,flaws=0.5", "agent": "prlm", "labeller": "scripted:steps", "limit": 20}
    recipe = check_settings(SFTRecipe, SFT | {"about": "a test", "data": data, "lessons": asked}, "test")

    found = lessons(recipe, tmp_path)

    assert len(found) == 40
    assert {score_of(lesson) for lesson in found} > {0.0}  # minus an error otherwise


@pytest.mark.parametrize("by", ["score", "evidence"])
def test_the_best_attempt_is_chosen_of_labelled_lessons_too(tmp_path: Path, by: str) -> None:
    asked = {"player": "scripted:steps", "labeller": "scripted:steps", "limit": 5, "attempts": 2, "choose_by": by}

    found = lessons(fine_tuning(**asked), tmp_path)

    assert len({(lesson.question_id, lesson.kind) for lesson in found}) == len(found) == 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The recipe and the folder of three stages by the pilot, small as they can be."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("trl")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    test, generation = {"people": "world:seed=5,users=10/test"}, {"turn_tokens": 48, "max_tokens": 48}
    shared = {"agent": "rag", "generation": generation}
    small = {"questions": 2, "controls": ["rag"]}
    path = written(
        tmp_path_factory.mktemp("recipe"),
        base=SFT
        | shared
        | {
            "data": {"train": DATA, "test": test},
            "lessons": {"player": "scripted:oracle", "limit": 8},
            "optimiser": {"steps": 2, "batch": 4, "learning_rate": 1e-6},
            "conclusion": small,
        },
        rm=RM | shared | {"limit": 40, "held_out": 0.3, "epochs": 1},
        learn=GRPO | shared | {"reward": "prlm:hf:{rm}", "data": {"train": DATA, "test": test}, "conclusion": small},
    )
    folder = tmp_path_factory.mktemp("run") / "out"
    run_train(str(path), [], folder, dry_run=False)
    torch.set_num_threads(threads)
    return path, folder


def test_every_stage_is_a_run_of_its_own(run: tuple[Path, Path]) -> None:
    _, out = run

    for stage, files in {
        "base": {"recipe.yaml", "metrics.jsonl", "final", "report.html", "played"},
        "rm": {"recipe.yaml", "report.json", "config.json", "played"},
        "learn": {"recipe.yaml", "metrics.jsonl", "trajectories.jsonl", "final", "report.html"},
    }.items():
        assert files <= {path.name for path in (out / stage).iterdir()}
    again = load_any(out / "learn" / "recipe.yaml")
    assert isinstance(again, Recipe)
    assert (again.model, again.reward) == (f"hf:{out}/base/final", f"prlm:hf:{out}/rm")


def test_the_losses_of_the_lessons_are_in_the_metrics(run: tuple[Path, Path]) -> None:
    lines = [json.loads(line) for line in (run[1] / "base" / "metrics.jsonl").read_text().splitlines()]

    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["lesson_loss"] > 0 for line in lines)


def test_the_report_tells_each_stage_and_the_first_policy_before_it(run: tuple[Path, Path]) -> None:
    page = (run[1] / "report.html").read_text("utf-8")
    summary = json.loads((run[1] / "summary.json").read_text("utf-8"))

    policies = page.partition("Policies on people")[2].partition("Reward models")[0]
    assert [name for name in ("nothing", "base", "learn", "rm") if f'row">{name}<' in policies] == [
        "nothing",
        "base",
        "learn",
    ]
    assert summary["stages"]["rm"]["accuracy"]["all"]["n"] > 0
    assert summary["stages"]["learn"]["tests"]["people"]["trained"]["score"]["n"] == 2


def test_what_is_done_is_not_done_again_and_what_is_not_is(
    run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = run
    before = {name: (out / name / "recipe.yaml").stat().st_mtime_ns for name in ("base", "rm", "learn")}
    (out / "learn" / "report.html").unlink()

    run_train(str(path), [], out, dry_run=False)

    told = capsys.readouterr().out
    assert "base: done before" in told
    assert "rm: done before" in told
    assert "learn: done before" not in told
    assert (out / "learn" / "report.html").exists()
    assert before == {name: (out / name / "recipe.yaml").stat().st_mtime_ns for name in before}


def test_other_settings_in_the_same_folder_are_refused(run: tuple[Path, Path]) -> None:
    path, out = run

    with pytest.raises(OptionError, match=naming(out, "'seed': 9")):
        run_train(str(path), ["stages.learn.seed=9"], out, dry_run=False)


def test_a_run_of_stages_can_be_made_again_from_its_own_directory(run: tuple[Path, Path]) -> None:
    path, out = run

    assert load_any(out / "recipe.yaml") == load_any(path)


def test_several_processes_are_refused(run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(OptionError, match=naming("method=stages", "grpo")):
        run_train(str(run[0]), [], run[1], dry_run=False)


def test_a_reward_model_of_prmu_hears_three_kinds_of_answers() -> None:
    content = RM | {"about": "a test", "agent": "tagpr", "kind": "prmu", "another": "tagpr:profile=random"}

    recipe = check_settings(RewardModelRecipe, content, "test")

    assert recipe.agents == {"own": "tagpr", "another": "tagpr:profile=random"}
