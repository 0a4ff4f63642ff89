"""What a run never scored is scored later, beside what it was worth before; nothing is overwritten or lost."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import (
    AspectMatch,
    Episode,
    Question,
    QuestionSet,
    Reward,
    Trajectory,
    TrajectoryWriter,
    Verdict,
    load_questions,
    make_reward,
    register_judge,
)
from profilegym.apps.rejudge import run_rejudge
from profilegym.envs.reward import rewards_of
from profilegym.errors import BudgetSpent, DataError, JudgeError, OptionError
from profilegym.evaluation.branch import Changes, branch
from profilegym.evaluation.evaluate import Settings, Speed, evaluate
from profilegym.evaluation.judge_scores import judge_scores
from profilegym.evaluation.late_verdicts import with_late_verdicts
from profilegym.evaluation.recorded_run import RecordedRun
from profilegym.evaluation.rejudge import Outcome, rejudge
from profilegym.evaluation.run import RunDirectory
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import JudgeServer

DATA = "world:users=20/test"
DOWN = "the evaluator is down"


class Judge:
    """Gives every aspect the match that its name says; out of order where it is told of an answer's words."""

    def __init__(self, match: int, fails_on: str = "\0", name: str | None = None) -> None:
        self.name = name or f"always-{match}"
        self.match, self.fails_on = match, fails_on
        self.asked: list[str] = []
        self.closed = False

    async def score(self, question: Question, answer: str) -> Verdict:
        self.asked.append(answer)
        await asyncio.sleep(0)
        if self.fails_on in answer:
            raise JudgeError(f"no verdict in the evaluator's reply: '{question.id}' no. {len(self.asked)}")
        return Verdict(
            self.name, self.match / 2, tuple(AspectMatch(a.title, self.match) for a in question.rubric.aspects)
        )

    async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict | JudgeError]:
        return [await self._or_error(*pair) for pair in pairs]

    async def _or_error(self, question: Question, answer: str) -> Verdict | JudgeError:
        try:
            return await self.score(question, answer)
        except JudgeError as error:
            return error

    async def close(self) -> None:
        self.closed = True


class Poor(Judge):
    """Has a budget for some judgements, all of which are under way when it is spent."""

    def __init__(self, budget: int) -> None:
        super().__init__(1)
        self.budget = budget

    async def score(self, question: Question, answer: str) -> Verdict:
        if len(self.asked) >= self.budget:
            raise BudgetSpent(f"budget of {self.budget} spent")
        found = await super().score(question, answer)
        await asyncio.sleep(0.01)  # longer than it takes to hear that the budget is spent
        return found


@pytest.fixture(scope="module")
def questions() -> QuestionSet:
    return load_questions(DATA)


@pytest.fixture
def run(tmp_path: Path, questions: QuestionSet) -> Path:
    """Four scored answers, two unscored, one that ran out of turns unscored, and one that broke before its answer."""
    (tmp_path / "recipe.yaml").write_text("settings: {judge: rubric}\n", "utf-8")
    reward = make_reward("rubric")
    with TrajectoryWriter(tmp_path / "trajectories.jsonl") as writer:
        for number, question in enumerate(questions[:8]):
            episode = Episode(question, id=f"e{number}", data=DATA, max_searches=0)
            if number == 7:
                episode.fail("the retriever failed")
            elif number == 6:
                episode.write("hm")
            else:
                episode.write(f"<answer>{question.rubric.reference}</answer>")
            if episode.needs == "score":
                episode.score(rewards_of(reward([episode]))[0] if number < 4 else Reward(None, unscored=DOWN))
            writer.write(episode.trajectory())
    return tmp_path


def again(run: Path, judge: Any = None, **options: Any) -> Outcome:
    return asyncio.run(rejudge(RunDirectory(run), judge, **options))


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "verdicts.jsonl").read_text("utf-8").splitlines()]


def scores(run: Path) -> list[float | None]:
    return [trajectory.reward.total if trajectory.reward else None for trajectory in after_healing(run)]


def after_healing(run: Path) -> list[Trajectory]:
    directory = RunDirectory(run)
    return list(with_late_verdicts(directory, directory.trajectories()))


def test_only_what_is_unscored_is_scored_and_the_run_itself_stays_as_it_is(run: Path) -> None:
    before = (run / "trajectories.jsonl").read_bytes()

    outcome = again(run)

    assert (outcome.judge, outcome.own) == ("rubric", True)
    assert (outcome.scored, outcome.healed, outcome.known, outcome.without_answer) == (3, 3, 4, 1)
    assert [(line["id"], line["judge"], line["verdict"]["score"]) for line in lines(run)] == [
        ("e4", "rubric", 1.0),
        ("e5", "rubric", 1.0),
        ("e6", "rubric", 0.0),  # it gave no answer
    ]
    assert (run / "trajectories.jsonl").read_bytes() == before


def test_a_summary_sees_the_healed_verdict_with_its_reward_and_an_error_stays_unscored(run: Path) -> None:
    assert scores(run) == [1.0, 1.0, 1.0, 1.0, None, None, None, None]

    again(run)

    assert scores(run) == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, None]
    filled = after_healing(run)[4]
    assert filled.verdict is not None
    assert filled.reward == Reward(1.0, {"score": 1.0}, filled.verdict)


def test_a_reward_of_more_than_the_score_gets_the_score_as_a_part_and_no_made_up_total(run: Path) -> None:
    (run / "recipe.yaml").write_text("settings: {judge: rubric, reward: pr2}\n", "utf-8")

    again(run)

    reward = after_healing(run)[4].reward
    assert reward is not None
    assert (reward.total, reward.parts) == (None, {"score": 1.0})
    assert reward.unscored


def test_what_fails_again_is_counted_by_its_reason_and_is_asked_the_next_time(run: Path) -> None:
    judge = Judge(2, fails_on="", name="rubric")

    first = again(run, judge)
    second = again(run)

    ((reason, count),) = first.reasons.items()
    assert (reason.startswith("no verdict in the evaluator's reply"), count) == (True, 3)
    assert (first.scored, second.scored, second.healed) == (0, 3, 3)
    assert scores(run)[4:] == [1.0, 1.0, 0.0, None]


def test_episodes_that_another_run_played_are_judged_beside_their_metric(run: Path, tmp_path: Path) -> None:
    tagged = RunDirectory(tmp_path / "tagged")
    with tagged.writing({"run": str(run), "labeller": "scripted:steps"}), tagged.writer() as writer:
        for trajectory in RunDirectory(run).trajectories():
            writer.write(replace(trajectory, verdict=None, reward=Reward(0.5, {"score": 0.5})))

    assert run_rejudge(tagged.path, "rubric", False, True) == 0

    assert next(mean.judge for mean in judge_scores(tagged).means if not mean.later) == "none"


def test_another_judge_scores_everything_beside_the_old_verdicts(run: Path) -> None:
    again(run)

    outcome = again(run, Judge(1))

    stands = judge_scores(RunDirectory(run))
    assert (outcome.own, outcome.scored, outcome.healed) == (False, 7, 0)
    assert scores(run)[4:] == [1.0, 1.0, 0.0, None]
    assert [(mean.judge, mean.later, mean.score.mean, mean.score.n, mean.unscored) for mean in stands.means] == [
        ("rubric", False, pytest.approx(6 / 7), 7, 1),
        ("always-1", True, 0.5, 7, 1),
    ]
    assert stands.beside["always-1"].same.mean == 0.0
    assert stands.beside["always-1"].shift.mean == pytest.approx(0.5 - 6 / 7)


def test_another_judge_heals_nothing_of_the_runs_own(run: Path) -> None:
    again(run, Judge(2))

    assert scores(run)[4:] == [None, None, None, None]


def test_with_all_the_runs_own_judge_is_asked_once_more_about_everything(run: Path) -> None:
    outcome = again(run, everything=True)

    assert (outcome.scored, outcome.healed) == (7, 3)
    assert judge_scores(RunDirectory(run)).beside["rubric"].same.mean == 1.0
    assert again(run, everything=True).scored == 0


def test_a_rejudging_that_was_killed_goes_on_where_it_stopped(run: Path) -> None:
    judge = Judge(1)
    again(run, judge)
    kept = (run / "verdicts.jsonl").read_bytes().splitlines(keepends=True)
    (run / "verdicts.jsonl").write_bytes(b"".join(kept[:3]) + kept[3][:40])

    outcome = again(run, judge)

    assert (outcome.known, outcome.scored) == (3, 4)
    assert judge_scores(RunDirectory(run)).means[-1].score.n == 7


def test_a_judge_that_fails_in_its_own_way_leaves_that_answer_unscored(run: Path) -> None:
    class Broken(Judge):
        async def score(self, question: Question, answer: str) -> Verdict:
            self.asked.append(answer)
            if len(self.asked) == 2:
                raise asyncio.CancelledError
            if len(self.asked) == 3:
                raise KeyError(answer)
            return Verdict(self.name, 0.0, tuple(AspectMatch(a.title, 0) for a in question.rubric.aspects))

    outcome = again(run, Broken(1))

    assert (outcome.scored, outcome.reasons.total()) == (5, 2)
    assert any("KeyError" in reason for reason in outcome.reasons)
    assert any("cancelled" in reason for reason in outcome.reasons)


def test_verdicts_by_other_aspects_are_in_no_agreement(run: Path) -> None:
    class AsAWhole(Judge):
        async def score(self, question: Question, answer: str) -> Verdict:
            return Verdict("whole", 0.5, ())

    again(run, AsAWhole(1, name="whole"))

    found = judge_scores(RunDirectory(run))
    assert found.beside["whole"].same.n == 0
    assert [mean.score.n for mean in found.means if mean.later] == [7]


def test_each_verdict_is_on_disk_as_soon_as_it_is_had(run: Path) -> None:
    seen = []

    again(run, Judge(1), progress=lambda done, total: seen.append((done, total, len(lines(run)))))

    assert seen == [(done, 7, done) for done in range(1, 8)]


def test_without_a_judge_in_the_recipe_the_one_that_spoke_is_the_runs_own(run: Path) -> None:
    (run / "recipe.yaml").write_text("settings: {judge: null}\n", "utf-8")

    assert not again(run, Judge(1)).own
    assert again(run).healed == 3


def test_a_run_that_no_judge_ever_scored_wants_one_named_and_takes_it_for_its_own(run: Path) -> None:
    (run / "recipe.yaml").write_text("settings: {}\n", "utf-8")
    unscored = (run / "trajectories.jsonl").read_bytes().splitlines(keepends=True)[4:]
    (run / "trajectories.jsonl").write_bytes(b"".join(unscored))

    with pytest.raises(OptionError, match=naming(run, "--judge rubric", "--judge openai:MODEL")):
        again(run)

    assert again(run, Judge(1)).healed == 3


def test_of_two_judges_of_a_run_that_none_scored_only_the_first_is_its_own(run: Path) -> None:
    (run / "recipe.yaml").write_text("settings: {}\n", "utf-8")
    unscored = (run / "trajectories.jsonl").read_bytes().splitlines(keepends=True)[4:]
    (run / "trajectories.jsonl").write_bytes(b"".join(unscored))

    assert again(run, Judge(1)).own
    assert not again(run, Judge(2)).own
    assert scores(run) == [0.5, 0.5, 0.5, None]


def test_a_judge_replaces_no_metric_and_is_averaged_with_none(run: Path, questions: QuestionSet) -> None:
    (run / "recipe.yaml").write_text("settings: {judge: null}\n", "utf-8")
    (run / "trajectories.jsonl").unlink()
    with TrajectoryWriter(run / "trajectories.jsonl") as writer:
        for number, question in enumerate(questions[:4]):
            episode = Episode(question, id=f"e{number}", data=DATA)
            episode.write(f"<answer>{number}</answer>")
            episode.score(Reward(None, unscored="no label") if number == 3 else Reward(0.0, {"f1": 0.0}))
            writer.write(episode.trajectory())

    outcome = again(run, Judge(1, fails_on="2"))

    assert (outcome.own, outcome.scored, outcome.healed) == (False, 3, 0)
    assert scores(run) == [0.0, 0.0, 0.0, None]


def test_another_prompt_makes_another_judge_and_a_cache_does_not(run: Path) -> None:
    (run / "published.txt").write_text("{{response}} {{aspect}}", "utf-8")
    unscored = (run / "trajectories.jsonl").read_bytes().splitlines(keepends=True)[4:]
    (run / "trajectories.jsonl").write_bytes(b"".join(unscored))
    with JudgeServer({"reason": "so", "match": 2}) as server:
        plain = f"openai:m,base_url={server.url},api_key=none"
        own = f"{plain},prompt={run / 'published.txt'}"
        (run / "recipe.yaml").write_text(f"settings: {{judge: '{own}'}}\n", "utf-8")

        assert not again(run, plain).own
        assert again(run, f"{own},cache={run / 'judge.sqlite'}").healed == 3
        assert not again(run, plain, everything=True).own

    assert {line["judge"] for line in lines(run) if line["own"]} == {again(run, own).judge}


def test_an_episode_played_anew_does_not_inherit_the_verdict_on_its_older_answer(
    run: Path, questions: QuestionSet
) -> None:
    again(run)
    with TrajectoryWriter(run / "trajectories.jsonl") as writer:
        episode = Episode(questions[4], id="e4", data=DATA)
        episode.write("<answer>something else</answer>")
        episode.score(Reward(None, unscored=DOWN))
        writer.write(episode.trajectory())

    assert scores(run)[4:] == [1.0, 0.0, None, None]

    assert again(run).healed == 1
    assert scores(run)[4:] == [1.0, 0.0, None, 0.0]


def test_a_judge_gives_back_what_it_holds_even_when_the_work_breaks_off(run: Path) -> None:
    judge = Judge(1)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(run, judge, progress=stop)

    assert judge.closed
    assert len(lines(run)) == 1


def test_what_cannot_be_judged_is_named(tmp_path: Path, ask: Callable[..., Question]) -> None:
    with pytest.raises(DataError, match=naming(tmp_path, "recipe.yaml")):
        again(tmp_path, "rubric")

    (tmp_path / "recipe.yaml").write_text("settings: {judge: rubric}\n", "utf-8")
    episode = Episode(ask(), id="lost")
    episode.write("<answer>tea</answer>")
    with TrajectoryWriter(tmp_path / "trajectories.jsonl") as writer:
        writer.write(episode.trajectory())
    with pytest.raises(DataError, match="'lost'"):
        again(tmp_path, RubricJudge())


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on_where_it_stopped_and_pays_for_little_twice(run: Path) -> None:
    def start(server: JudgeServer) -> subprocess.Popen[str]:
        judge = f"openai:m,base_url={server.url},api_key=none,concurrency=2"
        command = [sys.executable, "-m", "profilegym", "rejudge", str(run), "--judge", judge]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    aspects = sum(len(question.rubric.aspects) for question in load_questions(DATA)[:6])  # one call each
    with JudgeServer(latency=0.1) as server:
        first = start(server)
        wait_for(lambda: (run / "verdicts.jsonl").exists() and len(lines(run)) >= 2)
        first.kill()
        first.communicate()
        kept = len(lines(run))
        second = start(server)
        told, _ = second.communicate(timeout=60)

    assert second.returncode == 0
    assert f"{7 - kept} answers scored; {kept} had been before" in told
    assert sorted(line["id"] for line in lines(run)) == [f"e{number}" for number in range(7)]
    assert (
        aspects <= server.requests <= 2 * aspects - 2 * (kept - 1)
    )  # one of them may be the empty answer, which costs nothing


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.01)


def test_the_command_says_what_was_done_and_how_the_run_stands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register_judge("doubting", lambda: Judge(1, fails_on="my \x1b[31mcase"))
    with TrajectoryWriter(run / "trajectories.jsonl") as writer:
        episode = Episode(load_questions(DATA)[8], id="odd", data=DATA)
        episode.write("<answer>my \x1b[31mcase</answer>")
        episode.score(Reward(None, unscored=DOWN))
        writer.write(episode.trajectory())

    assert run_rejudge(run, "doubting", everything=False) == 1

    told = capsys.readouterr().out
    assert "always-1, not the run's own judge: 7 answers scored; 0 had been before" in told
    assert "1 unscored: no verdict in the evaluator's reply" in told
    assert "1 ended in an error before there was an answer" in told
    assert "always-1, beside" in told
    assert "aspects alike" in told
    assert "\x1b" not in told


def test_the_command_speaks_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_rejudge(run, None, everything=False, as_json=True) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["judge"], told["scored"], told["means"][0]["score"]["n"]) == ("rubric", 3, 7)


def test_an_interrupted_command_says_how_to_go_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient(Judge):
        async def score(self, question: Question, answer: str) -> Verdict:
            raise KeyboardInterrupt

    register_judge("impatient", lambda: Impatient(1))

    assert run_rejudge(run, "impatient", everything=False) == 130

    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())


def unscored_by(out: Path) -> tuple[Judge, dict[str, Any]]:
    """An evaluation of four questions whose judge fails each time, with its summary."""
    judge = Judge(1, fails_on="", name="unsteady")
    register_judge("unsteady", lambda: judge)
    settings = Settings(model="scripted:oracle", data="world:seed=7,users=20/test", judge="unsteady", limit=4)
    return judge, asyncio.run(evaluate(settings, RunDirectory(out)))


def test_an_evaluation_counts_in_what_was_healed(tmp_path: Path) -> None:
    judge, before = unscored_by(tmp_path)
    judge.fails_on = "\0"

    assert run_rejudge(tmp_path, None, everything=False) == 0

    after = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert (before["unscored"]["n"], "score" in before) == (4, False)
    assert (after["unscored"]["n"], after["score"]["mean"], after["score"]["n"]) == (0, 0.5, 4)
    assert after["gain"]["n"] == 4
    assert (tmp_path / "report.html").exists()


def test_what_an_interrupted_command_healed_counts_when_the_next_one_heals_nothing(tmp_path: Path) -> None:
    judge, _ = unscored_by(tmp_path)
    judge.fails_on = "\0"
    again(tmp_path)  # killed before it summed up

    assert run_rejudge(tmp_path, None, everything=False) == 0

    assert json.loads((tmp_path / "summary.json").read_text("utf-8"))["score"]["n"] == 4


def test_a_run_from_a_step_of_another_counts_in_what_was_healed(tmp_path: Path) -> None:
    judge, _ = unscored_by(tmp_path / "parent")
    parent, run = RecordedRun(RunDirectory(tmp_path / "parent")), RunDirectory(tmp_path / "child")
    asyncio.run(branch(parent, Changes(1), run, Speed()))
    judge.fails_on = "\0"

    assert run_rejudge(run.path, None, everything=False) == 0

    assert json.loads((run.path / "summary.json").read_text("utf-8"))["score"]["n"] == 4


def test_a_spent_budget_ends_a_rejudging_which_goes_on_from_there(run: Path) -> None:
    poor = Poor(budget=2)
    with pytest.raises(BudgetSpent):
        asyncio.run(rejudge(RunDirectory(run), poor))
    assert poor.closed

    outcome = asyncio.run(rejudge(RunDirectory(run), Judge(1)))

    assert (outcome.known, outcome.reasons) == (2, {})
