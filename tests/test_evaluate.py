"""From settings to a run directory."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from matching import naming

from profilegym import TrajectoryReader, load_questions
from profilegym.envs.data.profile_controls import swapped
from profilegym.errors import BudgetSpent, OptionError, UnknownName
from profilegym.evaluation.evaluate import Settings, Speed, default_reward, evaluate
from profilegym.evaluation.report import write_report
from profilegym.evaluation.run import RunDirectory
from profilegym.testing import JudgeServer

ORACLE = Settings(model="scripted:oracle", data="world:seed=7,users=20/test", limit=12)


def run(settings: Settings, out: Path, **speed: Any) -> dict[str, Any]:
    return asyncio.run(evaluate(settings, RunDirectory(out), Speed(**speed)))


def lines(out: Path) -> list[Any]:
    return list(TrajectoryReader(out / "trajectories.jsonl"))


def test_a_run_holds_each_question_with_and_without_the_profile(tmp_path: Path) -> None:
    summary = run(ORACLE, tmp_path)

    kinds = [trajectory.kind for trajectory in lines(tmp_path)]
    assert kinds == ["baseline"] * 12 + ["personalised"] * 12
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["score"]["mean"] >= 0.95
    assert summary["gain"]["n"] == 12


def test_a_personalised_episode_is_recorded_with_its_own_baseline(tmp_path: Path) -> None:
    run(replace(ORACLE, seeds=2), tmp_path)

    by_id = {trajectory.id: trajectory for trajectory in lines(tmp_path)}
    for trajectory in by_id.values():
        if trajectory.kind == "personalised":
            baseline = by_id[trajectory.id.replace(":pr2:", ":none:")]
            assert trajectory.baseline == {"answer": baseline.answer, "score": baseline.verdict.score}


def test_the_baseline_agent_is_its_own_run(tmp_path: Path) -> None:
    summary = run(replace(ORACLE, agent="none"), tmp_path)

    assert {trajectory.kind for trajectory in lines(tmp_path)} == {"baseline"}
    assert "gain" not in summary
    assert summary["searches"]["mean"] == 0


def test_a_run_that_was_cut_short_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    whole = run(ORACLE, tmp_path / "whole")
    run(ORACLE, tmp_path / "cut")
    file = tmp_path / "cut" / "trajectories.jsonl"
    kept = file.read_bytes().splitlines(keepends=True)[:15]
    file.write_bytes(b"".join(kept) + b'{"schema":1,"id":"half')

    again = run(ORACLE, tmp_path / "cut")

    assert file.read_bytes().startswith(b"".join(kept))
    assert [again[name] for name in ("score", "gain", "episodes")] == [
        whole[name] for name in ("score", "gain", "episodes")
    ]
    assert len({trajectory.id for trajectory in lines(tmp_path / "cut")}) == 24


def test_an_episode_that_failed_is_played_again(tmp_path: Path) -> None:
    run(ORACLE, tmp_path)
    file = tmp_path / "trajectories.jsonl"
    broken = json.loads(file.read_text().splitlines()[-1]) | {"ended": "error", "error": "the lights went out"}
    with file.open("a") as end:
        end.write(json.dumps(broken) + "\n")

    summary = run(ORACLE, tmp_path)

    assert len(lines(tmp_path)) == 26
    assert summary["unscored"] == {"n": 0, "failed": 0, "reasons": {}}


def test_a_directory_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    run(ORACLE, tmp_path)

    with pytest.raises(OptionError, match=naming(tmp_path, "limit", 12, 6)):
        run(replace(ORACLE, limit=6), tmp_path)


def test_hits_are_cut_at_the_setting_and_a_run_from_before_it_goes_on(tmp_path: Path) -> None:
    run(ORACLE, tmp_path / "before")
    recipe = yaml.safe_load((tmp_path / "before" / "recipe.yaml").read_text())
    del recipe["settings"]["hit_chars"]
    (tmp_path / "before" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    summary = run(replace(ORACLE, hit_chars=2000), tmp_path / "before")

    with pytest.raises(OptionError, match=naming("hit_chars=None there", "40 now")):
        run(replace(ORACLE, hit_chars=40), tmp_path / "before")
    run(replace(ORACLE, hit_chars=40), tmp_path / "cut")

    assert summary["score"]["n"] == 12
    assert max(map(len, hits(tmp_path / "before"))) > max(map(len, hits(tmp_path / "cut"))) == len("1. ") + 40


def hits(out: Path) -> list[str]:
    """The lines of all that was found."""
    said = (segment.text for trajectory in lines(out) for segment in trajectory.segments)
    found = (text.splitlines() for text in said if text.lstrip().startswith("<information>"))
    return [line for one in found for line in one if line[:1].isdigit()]


def test_two_processes_cannot_write_to_one_directory(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).writing({}), pytest.raises(OptionError, match="process"):
        run(ORACLE, tmp_path)


def test_a_run_that_fails_before_its_first_episode_leaves_its_directory_to_another(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=naming("bm52")):
        run(replace(ORACLE, retriever="bm52"), tmp_path)

    assert run(ORACLE, tmp_path)["score"]["n"] == 12
    with pytest.raises(OptionError, match="another run"):
        run(replace(ORACLE, top_k=2), tmp_path)


@pytest.mark.parametrize(("name", "value"), [("in_flight", 0), ("deadline", 0.0)])
def test_a_speed_at_which_no_episode_is_played_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=naming(name, value)):
        Speed(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("temperature", -1.0), ("top_p", 0.0)])
def test_a_sampling_that_cannot_work_is_an_error_before_anything_is_played(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=naming(name, value)):
        replace(ORACLE, **{name: value})  # type: ignore[arg-type]


def test_episodes_without_a_token_are_an_error() -> None:
    with pytest.raises(OptionError, match=naming("max_tokens", 0)):
        replace(ORACLE, max_tokens=0)


def test_rag_over_the_posts_of_another_shows_none_of_the_askers(tmp_path: Path) -> None:
    run(replace(ORACLE, agent="rag-random"), tmp_path)

    questions = load_questions(ORACLE.data)
    for trajectory in lines(tmp_path):
        own = {document.text for document in questions.find(trajectory.question_id).profile.documents}
        assert not any(text in trajectory.segments[0].text for text in own if len(text) > 60)
    assert all(t.searches[0].hits for t in lines(tmp_path) if t.kind == "personalised")


def test_another_users_profile_is_always_the_same_one() -> None:
    questions = load_questions(ORACLE.data)

    first, second = (swapped(questions[3], "random", questions) for _ in range(2))

    assert first.profile is second.profile
    assert first.profile.user_id != questions[3].user_id
    assert len(swapped(questions[3], "empty", questions).profile) == 0


def test_data_without_a_score_of_its_own_asks_for_an_evaluator() -> None:
    assert default_reward("world:seed=7/test") == "score:rubric"
    assert default_reward("world,leaks=none") == "score:rubric"
    with pytest.raises(OptionError, match=naming("lamp-qa:Art_and_Entertainment/test", "--judge openai:MODEL")):
        default_reward("lamp-qa:Art_and_Entertainment/test")


def test_the_oracle_searches_as_often_as_there_are_hops(tmp_path: Path) -> None:
    summary = run(replace(ORACLE, limit=None), tmp_path)

    searches = [summary["by_hops"][hops]["searches"]["mean"] for hops in ("0", "1", "2")]
    assert searches[0] == 0
    assert searches == sorted(searches)
    assert summary["evidence"]["mean"] >= 0.95
    assert summary["structure"]["mean"] == 1


def test_a_judge_s_spent_budget_ends_the_run_and_the_same_command_goes_on(tmp_path: Path) -> None:
    with JudgeServer(latency=0.005) as server:
        priced = "price_in=1,price_out=1,budget=0.02"
        judge = f"openai:judge,base_url={server.url},api_key=none,concurrency=2,max_tokens=20,{priced}"
        settings = replace(ORACLE, judge=judge)

        with pytest.raises(BudgetSpent):
            run(settings, tmp_path, in_flight=2)
        kept = lines(tmp_path)
        assert 0 < len(kept) < 24
        assert all(trajectory.verdict is not None for trajectory in kept)

        for _ in range(24):  # each time with a budget of its own
            try:
                summary = run(settings, tmp_path, in_flight=2)
                break
            except BudgetSpent:
                continue

    assert lines(tmp_path)[: len(kept)] == kept
    assert "unscored" not in summary or summary["unscored"]["n"] == 0
    assert len({trajectory.id for trajectory in lines(tmp_path)}) == len(lines(tmp_path)) == 24


def test_episodes_that_cannot_begin_are_in_the_summary_and_the_report(tmp_path: Path) -> None:
    plugin = tmp_path / "picky.py"
    plugin.write_text(
        "from profilegym.agents.pr2 import PR2\n"
        "class Picky(PR2):\n"
        "    name = 'picky'\n"
        "    def begin(self, question, **options):\n"
        "        if question.text[0] < 'W':\n"
        "            raise ValueError('not this one')\n"
        "        return super().begin(question, **options)\n",
        "utf-8",
    )
    directory = RunDirectory(tmp_path / "run")

    summary = run(replace(ORACLE, agent=f"{plugin}:Picky"), directory.path)
    write_report(directory)

    errors = [trajectory for trajectory in lines(directory.path) if trajectory.ended == "error"]
    assert 0 < len(errors) < 12
    assert summary["unscored"]["n"] == len(errors)
    assert "not this one" in (directory.path / "report.html").read_text("utf-8")
