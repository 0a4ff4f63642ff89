"""Training by GRPO: what is learned from, what is not, and what an interruption costs."""

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from tiny_policy import make_tiny_policy, recipe

from profilegym import Trajectory, TrajectoryReader
from profilegym.errors import OptionError, ProfileGymError
from profilegym.training import advantages
from profilegym.training.advantage import turn_advantages
from profilegym.training.metrics import read_metrics
from profilegym.training.recipe import Recipe

torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
pytest.importorskip("trl")

from profilegym.training.grpo import trainer as grpo  # noqa: E402
from profilegym.training.grpo.loss import scores_read_once  # noqa: E402
from profilegym.training.grpo.rollouts import Groups  # noqa: E402
from profilegym.training.interruption import Stopped  # noqa: E402
from profilegym.training.train import train  # noqa: E402

pytestmark = pytest.mark.slow

TIMES = ("step_time", "rollout_seconds", "epoch")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(asked: Recipe, out: Path) -> list[Trajectory]:
    train(asked, out, lambda step, metrics: None)
    return played(out)


def played(out: Path) -> list[Trajectory]:
    return list(TrajectoryReader(out / "trajectories.jsonl"))


def metrics(out: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in step.items() if name not in TIMES}
        for step in read_metrics(out / "metrics.jsonl")
    ]


def groups(trajectories: list[Trajectory]) -> list[list[Trajectory]]:
    """By step and question, members in their order."""
    found: dict[Any, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        step, row = trajectory.id.rpartition(":")[2].split("-")[:2]
        found[int(step), int(row) // 4].append(trajectory)
    return [sorted(group, key=lambda t: int(t.id.rpartition("-")[2])) for group in found.values()]


def total(trajectory: Trajectory) -> float | None:
    return trajectory.reward.total if trajectory.reward else None


@pytest.mark.parametrize("mode", ["joint", "delta", "code", "none"])
def test_every_record_has_the_advantage_that_its_group_gives_it(mode: str, policy: Path, tmp_path: Path) -> None:
    trajectories = run(recipe(policy, advantage=mode, optimiser={"steps": 1, "questions": 3}), tmp_path)

    assert len(trajectories) == 12
    for group in groups(trajectories):
        assert [t.kind for t in group] == ["personalised"] * 3 + ["baseline"]
        expected = advantages(mode, [total(t) for t in group[:3]], [total(t) for t in group[3:]])  # type: ignore[arg-type]
        assert [t.advantage for t in group] == pytest.approx(expected)
        assert all(t.baseline == {"answer": group[3].answer, "score": total(group[3])} for t in group[:3])


def test_the_loss_gets_the_recorded_advantages_and_so_does_the_log(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, logged = [], []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        output = original(self, inputs)
        seen.append(output["advantages"].tolist())
        logged.append(list(self._logs["advantages"]))
        return output

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)  # rows without an advantage, too
    trajectories = run(recipe(policy, optimiser={"steps": 1, "questions": 3}), tmp_path)

    recorded = [t.advantage for t in trajectories]
    assert seen[0] == pytest.approx(recorded)
    assert logged[0] == pytest.approx(recorded)


def by_name(rollouts: Any, trajectory: Trajectory) -> list[float] | None:
    """Rewards of turns that hang on the record alone, in place of those for evidence."""
    if trajectory.kind == "baseline":
        return None
    turns = [segment for segment in trajectory.segments if segment.author == "policy"]
    return [float((len(turn.text) + place) % 4) for place, turn in enumerate(turns)]


def test_each_sampled_token_has_the_advantage_of_its_turn(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        outputs.append(original(self, inputs))
        return outputs[-1]

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)  # rows without an advantage, too
    monkeypatch.setattr(Groups, "call_rewards", by_name)
    trajectories = run(recipe(policy, advantage="joint+turn", optimiser={"steps": 1, "questions": 3}), tmp_path)

    (output,) = outputs
    mask = (output["completion_mask"] * output["tool_mask"]).bool()
    for row, trajectory in enumerate(trajectories):
        if trajectory.kind == "personalised":
            turns = [segment for segment in trajectory.segments if segment.author == "policy"]
            pairs = zip(turns, trajectory.turn_advantages or (), strict=True)
            expected = [(trajectory.advantage or 0.0) + added for turn, added in pairs for _ in turn.tokens or ()]
            assert output["advantages"][row][mask[row]].tolist() == pytest.approx(expected)
    for group in groups(trajectories):
        rewards = [by_name(None, trajectory) if total(trajectory) is not None else None for trajectory in group[:3]]
        assert [list(t.turn_advantages or ()) for t in group[:3]] == turn_advantages(rewards)
        assert group[3].turn_advantages is None
    assert len({len(t.turn_advantages or ()) for t in trajectories}) > 1


@pytest.mark.parametrize("train_baseline", ["masked", "all"])
def test_exactly_what_the_policy_sampled_is_trained_on(
    train_baseline: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        output = original(self, inputs)
        batches.append((output, self.processing_class))
        return output

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)  # rows without an advantage, too
    asked = recipe(policy, train_baseline=train_baseline, optimiser={"steps": 1, "questions": 3})
    trajectories = run(asked, tmp_path)

    ((output, tokenizer),) = batches
    mask = (output["completion_mask"] * output["tool_mask"]).bool()
    for row, trajectory in enumerate(trajectories):
        turns = [segment for segment in trajectory.segments if segment.author == "policy"]
        sampled = [token for turn in turns for token in turn.tokens or ()]
        left_out = trajectory.kind == "baseline" and train_baseline == "masked"
        assert output["completion_ids"][row][mask[row]].tolist() == ([] if left_out else sampled)
        # A token may reach beyond the action that it ends; what lies beyond is dropped from the text alone.
        assert all(tokenizer.decode(turn.tokens).startswith(turn.text) for turn in turns)
        read = tokenizer.decode(output["prompt_ids"][row][output["prompt_mask"][row].bool()])
        assert read == trajectory.segments[0].text
    assert any(len(trajectory.segments) > 2 for trajectory in trajectories)


def test_what_could_not_be_scored_leaves_its_group_and_learns_nothing(policy: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "tired.py"
    plugin.write_text("from tiny_policy import by_chance\ndef make():\n    return by_chance(3)\n")
    trajectories = run(recipe(policy, reward=f"{plugin}:make"), tmp_path / "run")

    unscored = [t for t in trajectories if total(t) is None]
    assert unscored
    assert {t.advantage for t in unscored} == {0.0}
    for group in groups(trajectories):
        expected = advantages("joint", [total(t) for t in group[:3]], [total(t) for t in group[3:]])
        assert [t.advantage for t in group] == pytest.approx(expected)
    assert sum(step["unscored"] for step in metrics(tmp_path / "run")) == pytest.approx(len(unscored) / 12)


@pytest.mark.parametrize("advantage", ["joint", "joint+turn"])
def test_rows_that_teach_nothing_are_left_out_and_nothing_else_changes(
    advantage: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Groups, "call_rewards", by_name)
    sizes = []
    original = grpo.PR2Trainer._compute_loss

    def spy(self: Any, model: Any, inputs: Any) -> Any:
        sizes.append(len(inputs["advantages"]))
        return original(self, model, inputs)

    monkeypatch.setattr(grpo.PR2Trainer, "_compute_loss", spy)
    optimiser = {"steps": 1, "questions": 4, "rows": 8, "learning_rate": 1e-3}
    asked = recipe(policy, advantage=advantage, optimiser=optimiser)
    run(asked, tmp_path / "fewer")
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)
    run(asked, tmp_path / "all")

    assert sizes[2:] == [8, 8]  # 4 questions of 3 + 1 in two parts
    assert sum(sizes[:2]) <= 12  # no baseline among them
    fewer, every = (_tensors(tmp_path / name) for name in ("fewer", "all"))
    for name, weights in every.items():
        torch.testing.assert_close(fewer[name], weights, atol=1e-5, rtol=0)
    assert any((weights != _tensors(policy, "")[name]).any() for name, weights in every.items())


SECOND_EPOCH = {
    "data": {"train": "world:seed=1,users=2/train"},  # 12 questions
    "optimiser": {"steps": 4, "questions": 5, "learning_rate": 1e-3},
}
TWICE = {"trl": {"num_iterations": 2}, "optimiser": {"steps": 5, "questions": 3}, "watch": {"evaluate": 0, "save": 2}}


@pytest.mark.parametrize(("changes", "at", "stopped"), [({}, 1, 2), (SECOND_EPOCH, 2, 3), (TWICE, 2, 4)])
def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(
    changes: dict[str, Any], at: int, stopped: int, policy: Path, tmp_path: Path
) -> None:
    asked = recipe(policy, **changes)
    run(asked, tmp_path / "whole")

    def interrupt(step: int, _: Any) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=naming("SIGTERM", stopped, tmp_path / "cut")):
        train(asked, tmp_path / "cut", interrupt)
    run(asked, tmp_path / "cut")

    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert _weights(tmp_path / "cut") == _weights(tmp_path / "whole")


def test_a_run_that_was_killed_loses_no_more_than_since_its_last_checkpoint(policy: Path, tmp_path: Path) -> None:
    run(recipe(policy), tmp_path / "whole")
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[3])\n"
        "from pathlib import Path; from tiny_policy import recipe\n"
        "from profilegym.training.train import train\n"
        "def kill(step, _):\n    if step == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(recipe(Path(sys.argv[1])), Path(sys.argv[2]), kill)\n"
    )
    arguments = [sys.executable, "-c", script, str(policy), str(tmp_path / "cut"), str(Path(__file__).parent)]
    killed = subprocess.run(arguments, capture_output=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"})

    run(recipe(policy), tmp_path / "cut")

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    assert _weights(tmp_path / "cut") == _weights(tmp_path / "whole")


def test_no_pass_reads_more_rows_than_the_recipe_says(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def spy(model: Any, input_ids: Any, *more: Any) -> Any:
        sizes.append(len(input_ids))
        return scores_read_once(model, input_ids, *more)

    monkeypatch.setattr(grpo, "scores_read_once", spy)
    run(recipe(policy, optimiser={"steps": 1, "questions": 3, "rows": 4, "kl": 0.1}), tmp_path)

    assert sizes == [4] * 6  # twelve rows by the reference model, then by the policy


def test_a_run_that_dies_while_it_writes_its_policy_writes_it_again(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(policy, optimiser={"steps": 1, "questions": 3})
    save = transformers.modeling_utils.safe_save_file

    def die(weights: Any, file: Any, **options: Any) -> None:
        if "final" in str(file):
            raise RuntimeError("dead")
        save(weights, file, **options)

    monkeypatch.setattr(transformers.modeling_utils, "safe_save_file", die)
    with pytest.raises(RuntimeError, match="dead"):
        run(asked, tmp_path)
    monkeypatch.undo()
    run(asked, tmp_path)

    assert _tensors(tmp_path)
    assert not (tmp_path / ".final").exists()


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("return [Reward(None, unscored='no judge')] * len(episodes)", "no judge"),
        ("raise BudgetSpent('budget of 1 spent')", "budget of 1 spent"),
    ],
)
def test_a_judge_that_is_dead_or_poor_stops_the_run_with_everything_saved(
    end: str, told: str, policy: Path, tmp_path: Path
) -> None:
    switch, plugin = tmp_path / "dead", tmp_path / "mortal.py"
    plugin.write_text(
        "from pathlib import Path\nfrom profilegym import Reward\nfrom profilegym.errors import BudgetSpent\n"
        "from tiny_policy import by_chance\n"
        "def make():\n    living = by_chance()\n    def reward(episodes):\n"
        f"        if Path({str(switch)!r}).exists():\n"
        f"            {end}\n"
        "        return living(episodes)\n    return reward\n"
    )
    asked = recipe(policy, reward=f"{plugin}:make")

    with pytest.raises(Stopped, match=naming(told, 2, tmp_path / "run")):
        train(asked, tmp_path / "run", lambda step, _: switch.touch() if step == 2 else None)
    switch.unlink()
    run(asked, tmp_path / "run")

    assert [step["step"] for step in metrics(tmp_path / "run")] == [1, 2, 3]
    assert (tmp_path / "run" / "final" / "config.json").exists()


def test_the_final_policy_loads_with_plain_transformers(policy: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run(recipe(policy, optimiser={"steps": 1, "questions": 3}), tmp_path)

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "final")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "final")
    assert model.generate(**tokenizer("A question", return_tensors="pt"), max_new_tokens=2).shape[0] == 1
    assert model.config.use_cache
    assert model.generation_config.use_cache


def test_a_finished_run_is_left_alone(policy: Path, tmp_path: Path) -> None:
    asked = recipe(policy, optimiser={"steps": 1, "questions": 3})
    before = run(asked, tmp_path)

    assert run(asked, tmp_path) == before


def test_a_finished_run_of_other_settings_is_refused(policy: Path, tmp_path: Path) -> None:
    run(recipe(policy, optimiser={"steps": 1, "questions": 3}), tmp_path)

    with pytest.raises(OptionError, match=naming(tmp_path, "'steps': 1", "'steps': 30")):
        run(recipe(policy, optimiser={"steps": 30, "questions": 3}), tmp_path)


def test_a_step_that_the_questions_do_not_fill_is_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=naming("optimiser.questions=49", 48)):
        run(recipe(policy, optimiser={"steps": 3, "questions": 49}), tmp_path)


@pytest.mark.parametrize("agent", ["r2p", "scripted:oracle"])
def test_an_agent_that_writes_the_policys_turns_is_not_trained(agent: str, policy: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="writes its turns itself"):
        run(recipe(policy, agent=agent), tmp_path)

    assert not (tmp_path / "final").exists()


def test_a_training_that_ends_by_itself_is_no_finished_run(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trl.trainer.utils.RepeatSampler.__iter__", lambda _: iter(()))

    with pytest.raises(ProfileGymError, match=naming("step 0 of 3")):
        run(recipe(policy), tmp_path)

    assert not (tmp_path / "final").exists()


def _tensors(out: Path, folder: str = "final") -> Any:
    from safetensors.torch import load_file

    return load_file(out / folder / "model.safetensors")


def _weights(out: Path) -> bytes:
    return (out / "final" / "model.safetensors").read_bytes()
