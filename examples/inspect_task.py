"""Inspect: questions of the world as a task, its mock model as the policy, and the log imported into a run.

pip install 'profilegym[inspect]'
python examples/inspect_task.py
"""

import tempfile
from pathlib import Path

from inspect_ai import eval as evaluate
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolChoice, ToolInfo

from profilegym.evaluation.imported import Unreadable
from profilegym.interop.inspect import profile_qa
from profilegym.interop.records.inspect import read


def policy(said: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice, config: GenerateConfig) -> ModelOutput:
    """Searches for the question, and answers with the first post that it is shown."""
    question, last = said[0].text.rpartition("Question: ")[2], said[-1].text
    if "<information>" not in last.removeprefix(said[0].text):
        text = f"<think>I look.</think>\n<search>{question}</search>"
    else:
        text = f"<think>Found.</think>\n<answer>{last.partition('1. ')[2].partition(chr(10))[0]}</answer>"
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


model = get_model("mockllm/model", custom_outputs=policy)
with tempfile.TemporaryDirectory() as folder:
    (log,) = evaluate(profile_qa("world:users=20/test"), model=model, limit=3, display="none", log_dir=folder)
    for found in read(Path(folder)):
        assert not isinstance(found, Unreadable), found
        question, trajectory = found
        worth = trajectory.reward.total if trajectory.reward else None
        print(f"{question.id}: {len(trajectory.searches)} searches, score {worth}")
    assert log.results is not None
    print(f"mean {log.results.scores[0].metrics['mean'].value:.3f}")
