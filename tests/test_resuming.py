"""A resumed run forgets what it will do again, and remembers what came before."""

import json
from pathlib import Path

from profilegym.envs.trajectory import Trajectory, TrajectoryWriter
from profilegym.training.grpo.resuming import BEST, EVALUATIONS, forget_after, steps_before
from profilegym.training.metrics import METRICS, MetricsWriter


def test_evaluations_of_later_steps_are_forgotten_and_others_kept(tmp_path: Path) -> None:
    for step in (0, 50, 100):
        (tmp_path / EVALUATIONS / f"step-{step}").mkdir(parents=True)
    (tmp_path / EVALUATIONS / "test").mkdir()

    forget_after(50, tmp_path)

    assert sorted(path.name for path in (tmp_path / EVALUATIONS).iterdir()) == ["step-0", "step-50", "test"]


def test_the_best_policy_is_forgotten_where_it_is_of_a_later_step(tmp_path: Path) -> None:
    for kept, after in ((True, 50), (False, 49)):
        (tmp_path / BEST).mkdir(exist_ok=True)
        (tmp_path / BEST / "best.json").write_text(json.dumps({"step": 50, "score": 0.5}))

        forget_after(after, tmp_path)

        assert (tmp_path / BEST).exists() == kept


def test_the_steps_before_come_in_order_with_their_episodes_and_metrics(tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path / "trajectories.jsonl") as writer, MetricsWriter(tmp_path / METRICS) as metrics:
        for step in (0, 1, 2):
            for row in (0, 1):
                writer.write(played(f"q:pr2:{step}-{row}"))
            metrics.write(step + 1, {"score": step / 10})

    found = [([one.id for one in episodes], values["score"]) for episodes, values in steps_before(2, tmp_path)]

    assert found == [(["q:pr2:0-0", "q:pr2:0-1"], 0.0), (["q:pr2:1-0", "q:pr2:1-1"], 0.1)]


def played(name: str) -> Trajectory:
    return Trajectory(name, "q", "u", "personalised", ["policy", "mint", None, None], (), "mint", "answered")
