"""Reward models learn from pairs of our own rollouts, go on where they stopped, and are parts of rewards."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import naming

import profilegym as pg
from profilegym import Profile
from profilegym.envs.reward import rewards_of
from profilegym.errors import DataError, OptionError, RewardError
from profilegym.evaluation.evaluate import Settings as Run
from profilegym.evaluation.evaluate import evaluate
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.summary import score_of
from profilegym.rewards.prmu import PRMU
from profilegym.rewards.reward_model import RewardModel
from profilegym.testing import RewardContract
from profilegym.training.reward_models import train as reward_models
from profilegym.training.reward_models.pairs import Pair, pairs_of, split_by_user
from profilegym.training.reward_models.train import ORDERS, RewardModelRecipe, train_reward_model
from profilegym.training.settings import check_settings

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.slow

DATA = "world:seed=2,users=60/train"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For all that is trained here: another number of threads adds up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the posts answers, and what it answers without them."""
    folder = tmp_path_factory.mktemp("run")
    asyncio.run(evaluate(Run("rag", "scripted:oracle", DATA, limit=150), RunDirectory(folder)))
    return folder


@pytest.fixture(scope="module")
def trained(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_reward_model(recipe(run), folder)
    return folder


def recipe(*runs: Path | str, **changes: Any) -> RewardModelRecipe:
    asked = {"about": "a test", "method": "reward-model", "data": {"train": DATA}, "runs": [str(run) for run in runs]}
    fitting = {"epochs": 4, "batch": 16, "held_out": 0.25, "seed": 42}
    return check_settings(RewardModelRecipe, asked | fitting | changes, "a test")


def test_pairs_are_answers_with_the_profile_over_answers_without(run: Path) -> None:
    pairs = pairs_of([RecordedRun(RunDirectory(run))], ORDERS["prlm"])

    assert len(pairs) > 60
    assert all(pair.better.strip() and pair.worse.strip() and pair.better != pair.worse for pair in pairs)
    said = {one.question_id: one.answer for one in RunDirectory(run).trajectories() if one.kind == "baseline"}
    assert all(said[pair.question.id] == pair.worse for pair in pairs)


def test_a_confirmed_pair_is_one_whose_better_answer_also_scored_more(tmp_path: Path) -> None:
    asyncio.run(evaluate(Run("rag-random", "scripted:world", DATA, limit=150), RunDirectory(tmp_path)))
    played = RecordedRun(RunDirectory(tmp_path))
    scores: dict[str, dict[str, float | None]] = {}
    for one in played.trajectories():
        scores.setdefault(one.question_id, {})[one.kind] = score_of(one)

    order: Sequence[Any] = ("another", "none")
    confirmed = {pair.question.id for pair in pairs_of([played], order, confirmed=True)}

    every = {pair.question.id for pair in pairs_of([played], order)}
    assert confirmed == {one for one in every if scores[one]["personalised"] > scores[one]["baseline"]}  # type: ignore[operator]
    assert 0 < len(confirmed) < len(every)


def test_a_pair_is_of_one_models_answers_and_each_model_has_its_own(run: Path, tmp_path: Path) -> None:
    asyncio.run(evaluate(Run("rag", "scripted:world", DATA, limit=150), RunDirectory(tmp_path)))
    one, other = RecordedRun(RunDirectory(run)), RecordedRun(RunDirectory(tmp_path))

    both = pairs_of([one, other], ORDERS["prlm"])

    apart = [*pairs_of([one], ORDERS["prlm"]), *pairs_of([other], ORDERS["prlm"])]
    answers = [(pair.question.id, pair.better, pair.worse) for pair in apart]
    assert sorted((pair.question.id, pair.better, pair.worse) for pair in both) == sorted(answers)


def test_nobody_is_learned_from_and_examined(run: Path) -> None:
    learned, held_out = split_by_user(pairs_of([RecordedRun(RunDirectory(run))], ORDERS["prlm"]), 0.25)

    assert held_out
    assert not {pair.question.user_id for pair in learned} & {pair.question.user_id for pair in held_out}


def test_people_who_are_all_on_one_side_are_refused(ask: Any) -> None:
    with pytest.raises(DataError, match=naming(1, 0)):
        split_by_user([Pair(ask(), "Rooibos.", "Tea.")], 0.0)


def test_who_used_the_profile_is_told_from_who_did_not(trained: Path) -> None:
    report = json.loads((trained / "report.json").read_text())

    assert report["accuracy"]["all"]["mean"] >= 0.9
    assert report["accuracy"]["all"]["n"] == report["held_out_pairs"] > 15
    assert report["pairs"] > 40


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(
    run: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_models, "_SAVE", 3)
    whole, batches = RewardModel.scores, 0

    def until_killed(self: RewardModel, judged: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 6:
            raise KeyboardInterrupt
        return whole(self, judged)

    monkeypatch.setattr(RewardModel, "scores", until_killed)
    with pytest.raises(KeyboardInterrupt):
        train_reward_model(recipe(run), tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    report = train_reward_model(recipe(run), tmp_path)

    assert report == json.loads((trained / "report.json").read_text())
    assert (tmp_path / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_folder_that_holds_another_one_is_refused(run: Path, trained: Path) -> None:
    with pytest.raises(OptionError, match=naming(trained, "epochs", 4, 5)):
        train_reward_model(recipe(run, epochs=5), trained)


def test_a_finished_reward_model_is_not_trained_again(run: Path, trained: Path) -> None:
    weights = (trained / "model.safetensors").stat()

    report = train_reward_model(recipe(run), trained)

    assert report == json.loads((trained / "report.json").read_text())
    assert (trained / "model.safetensors").stat() == weights


def test_prlms_reward_is_made_of_all_three_parts(trained: Path) -> None:
    question = pg.load_questions("world:seed=5,users=20/test")[2]
    reference, nothing = episodes(question, str(question.rubric.reference), "I could not find out.")

    found = rewards_of(pg.make_reward(f"prlm:hf:{trained}")([reference, nothing]))

    assert found[0].parts["rouge"] == pytest.approx(3.0)
    assert found[0].parts["structure"] == pytest.approx(0.1)
    assert 0 < found[1].parts["personalisation"] < found[0].parts["personalisation"] < 0.1
    assert found[0].total == pytest.approx(sum(found[0].parts.values()))


def episodes(question: pg.Question, *answers: str) -> list[pg.Episode]:
    made = [pg.Episode(question) for _ in answers]
    for episode, answer in zip(made, answers, strict=True):
        episode.write(f"<think>I see.</think><answer>{answer}</answer>")
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Titles in the style of the person, and in that of somebody else."""
    folder, data = tmp_path_factory.mktemp("runs"), "world-lamp-5:seed=4,users=30/train"
    for agent in ("rag", "rag-random"):
        asyncio.run(evaluate(Run(agent, "scripted:world", data, limit=48), RunDirectory(folder / agent)))
    return str(folder / "rag"), str(folder / "rag-random")


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=naming(tmp_path, "profilegym train")):
        pg.make_reward(f"personalisation:hf:{tmp_path}")


class TestPersonalisation(RewardContract):
    @pytest.fixture(autouse=True)
    def _trained(self, trained: Path) -> None:
        self.folder = trained

    def make(self) -> Any:
        return pg.make_reward(f"personalisation:hf:{self.folder}")


@pytest.fixture(scope="module")
def prmu(runs: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prmu")
    train_reward_model(recipe(*runs, kind="prmu", epochs=1, batch=32, held_out=0.3), folder)
    return folder


def test_prmu_learns_own_over_none_over_anothers(runs: tuple[str, ...], prmu: Path) -> None:
    pairs = pairs_of([RecordedRun(RunDirectory(run)) for run in runs], ORDERS["prmu"])
    report = json.loads((prmu / "report.json").read_text())

    assert {pair.contrast for pair in pairs} == {"own > none", "own > another", "none > another"}
    assert set(report["accuracy"]) == {"all", "own > none", "own > another", "none > another"}
    assert report["pairs"] + report["held_out_pairs"] == len(pairs)
    assert all(pair.question.profile.user_id == pair.question.user_id for pair in pairs)


def test_prmu_knows_those_it_learned_from_and_nobody_else(runs: tuple[str, ...], prmu: Path) -> None:
    learned, held_out = split_by_user(
        pairs_of([RecordedRun(RunDirectory(run)) for run in runs], ORDERS["prmu"]), share=0.3
    )
    model = PRMU.load(str(prmu))

    assert set(model.known) == {pair.question.user_id for pair in learned}
    assert not set(model.known) & {pair.question.user_id for pair in held_out}


def test_for_prmu_it_matters_who_asks_known_or_not(runs: tuple[str, ...], prmu: Path) -> None:
    question = RecordedRun(RunDirectory(runs[0])).questions[0]
    (title,) = episodes(question, "On celery")
    stranger = replace(question, user_id="nobody", profile=Profile("nobody", ()))
    (no_posts,) = episodes(stranger, "On celery")
    namesake = replace(question, user_id="nobody", profile=replace(question.profile, user_id="nobody"))
    (unknown,) = episodes(namesake, "On celery")

    scores = PRMU.load(str(prmu))([title, no_posts, unknown])

    assert len(set(scores)) == 3


def test_prmu_reads_who_spoke_and_when_they_met_but_no_dates(runs: tuple[str, ...], prmu: Path) -> None:
    question = RecordedRun(RunDirectory(runs[0])).questions[0]
    model = PRMU.load(str(prmu))

    def score(**changes: Any) -> float:
        posts = tuple(replace(document, **changes) for document in question.profile.documents)
        asked = replace(question, profile=replace(question.profile, documents=posts))
        return model(episodes(asked, "On celery"))[0]

    plain = score()
    assert score(date="2020-01-01") == plain
    assert len({plain, score(speaker="celery"), score(session="4"), score(meta=(("place", "soup"),))}) == 4


def test_prmu_reads_for_each_question_of_a_person_the_posts_that_it_has(runs: tuple[str, ...], prmu: Path) -> None:
    late = RecordedRun(RunDirectory(runs[0])).questions[0]
    early = replace(late, profile=Profile(late.user_id, late.profile.documents[:3]))
    judged = [(early, "On celery"), (late, "On celery")]
    model = PRMU.load(str(prmu))
    model.module.eval()

    with torch.inference_mode():
        together, alone = model.scores(judged).tolist(), [model.scores([one]).item() for one in judged]

    assert abs(alone[0] - alone[1]) > 1e-4
    assert together == pytest.approx(alone, abs=1e-5)


def test_tagprs_reward_is_made_of_all_parts(prmu: Path) -> None:
    question = pg.load_questions("world:seed=5,users=20/test")[2]
    (episode,) = episodes(question, str(question.rubric.reference))

    (found,) = rewards_of(pg.make_reward(f"tagpr:score:rubric,prmu=personalisation:prmu:{prmu}")([episode]))

    assert set(found.parts) == {"task", "tag_format", "tag_set", "prmu"}
    assert 0 < found.parts["prmu"] < 0.3


def test_a_folder_without_a_prmu_says_how_to_make_one(trained: Path) -> None:
    with pytest.raises(RewardError, match=naming(trained, "kind=prmu")):
        pg.make_reward(f"personalisation:prmu:{trained}")


class TestPRMU(RewardContract):
    @pytest.fixture(autouse=True)
    def _trained(self, prmu: Path) -> None:
        self.folder = prmu

    def make(self) -> Any:
        return pg.make_reward(f"personalisation:prmu:{self.folder}")
