"""verifiers' own evaluation command on questions of the world, with a model on loopback, and its traces imported.

pip install 'profilegym[verifiers]'
python examples/verifiers_eval.py
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from verifiers.v1.cli.eval.main import main as vf_eval

from profilegym.evaluation.imported import Unreadable
from profilegym.interop.records.verifiers import read
from profilegym.testing import PolicyServer

sys.path.append(str(Path(__file__).parent / "profile_qa_verifiers"))  # or: pip install -e examples/profile_qa_verifiers


def policy(said: Sequence[tuple[str, str]]) -> str:
    """Searches for the question, and answers with the first post that it is shown."""
    question, last = said[0][1].rpartition("Question: ")[2], said[-1][1]
    if "nothing to search" in said[0][1]:
        return "<answer>I do not know.</answer>"
    if len(said) == 1:
        return f"<think>I look.</think>\n<search>{question}</search>"
    return f"<think>Found.</think>\n<answer>{last.partition('1. ')[2].partition(chr(10))[0]}</answer>"


with tempfile.TemporaryDirectory() as folder, PolicyServer(policy) as model:
    vf_eval(
        [
            *(
                "profile-qa",
                "--select.limit",
                "3",
                "--no-push",
                "--no-rich",
                "--output-dir",
                folder,
                "--run.dir",
                "run",
            ),
            *("--model", "scripted", "--client.base-url", model.url, "--client.api-key-var", "NONE"),
            *("--env.taskset.data", "world:users=20/test", "--sampling.max-tokens", "256"),
        ]
    )
    for found in read(Path(folder) / "run" / "traces.jsonl"):
        assert not isinstance(found, Unreadable), found
        question, trajectory = found
        worth = trajectory.reward.total if trajectory.reward else None
        print(f"{trajectory.kind:12} {question.id}: {len(trajectory.searches)} searches, reward {worth}")
