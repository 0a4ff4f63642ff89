"""verifiers: its own evaluation command against an endpoint on loopback, and the traces that it wrote, imported."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripted import DATA, OPTIONS, QUESTIONS, Facts, Played, Script, dead, main, played
from verifiers.v1.cli.eval.main import main as vf_eval

from profilegym import Trajectory
from profilegym.interop.records.verifiers import read
from profilegym.testing import PolicyServer

sys.path.append(str(Path(__file__).parent.parent.parent / "examples/profile_qa_verifiers"))
FACTS = Facts(
    "verifiers", ("verifiers",), "no: the seat `control` is not trainable; the metric `gain`", "the episode fails",
    "the trainer's",
)  # fmt: skip


def dead_judge() -> Any:
    return dead


def model_of(script: Script) -> PolicyServer:
    """An endpoint that leaves out stop strings. Where there is nothing to search, its model does not know."""
    texts = script.texts("tags")

    def policy(said: Sequence[tuple[str, str]]) -> str:
        if "nothing to search" in said[0][1]:
            return "<answer>I do not know.</answer>"
        return texts[sum(role == "assistant" for role, _ in said)]

    return PolicyServer(policy)


def play(script: Script) -> Played:
    judge = f"{__file__}:dead_judge" if script.judge == "dead" else script.judge
    arguments = sys.argv  # which the command replaces
    with tempfile.TemporaryDirectory() as folder, model_of(script) as model:
        vf_eval(
            [
                *("profile-qa", "--select.limit", "1", "--no-rich", "--no-push", "--output-dir", folder),
                *(
                    "--run.dir",
                    "run",
                    "--model",
                    "scripted",
                    "--client.base-url",
                    model.url,
                    "--client.api-key-var",
                    "NONE",
                ),
                *("--env.taskset.data", DATA, "--env.taskset.reward", judge),
                *("--sampling.max-tokens", "256", "--env.taskset.max-searches", str(OPTIONS["max_searches"])),
            ]
        )
        sys.argv = arguments
        traces = Path(folder) / "run" / "traces.jsonl"
        check(traces.read_text("utf-8"))
        records = [one.trajectory for one in read(traces) if hasattr(one, "trajectory")]
    player = next(record for record in records if record.kind == "personalised")
    shown = [segment.text for segment in player.segments if segment.author == "environment"]
    assert player.reward is not None
    if script.name == "right":
        check_control(records)
    return played(player, shown, player.reward.total, player.reward.total is None)


def check(line: str) -> None:
    """Nothing hidden is in what is written to disk, and a failed episode has no reward."""
    episode = json.loads(line)
    assert set(episode["task"]["data"]) <= {"idx", "id", "timeout", "resources", "skills", "artifacts"} | {
        "artifact_max_bytes", "network_allow", "network_block",
    }, episode["task"]["data"]  # fmt: skip
    assert QUESTIONS[0].rubric.aspects[0].title not in line
    if not episode["ok"]:
        assert "the judge does not answer" in episode["errors"][-1]["message"]
        assert not any(trace["rewards"] for trace in episode["traces"])


def check_control(records: list[Trajectory]) -> None:
    player, control = records
    assert player.reward is not None
    assert control.reward is not None
    assert (control.kind, control.searches, control.reward.total) == ("baseline", [], 0.0)
    assert player.reward.parts["gain"] == 1.0


if __name__ == "__main__":
    main(FACTS, play)
