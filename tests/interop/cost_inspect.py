"""Inspect: its own `eval` of many samples, with its mock model; the smallest task is a loop, a tool call, a scorer."""

import tempfile
from collections.abc import Callable
from typing import Any

from cost import ASKED, DATA, PROMPT, TURNS, Exact, compare, found, inside, right
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from profilegym.interop.driver import Driver
from profilegym.interop.inspect import ProfileTask

EPOCHS = 40  # samples of a round


@solver
def loop() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        while True:
            state = await generate(state, tool_calls="none")
            if (query := inside(state.messages[-1].text, "search")) is None:
                return state
            state.messages.append(ChatMessageUser(content=found(query)))

    return solve


@scorer(metrics=[mean()])
def exact() -> Scorer:
    async def of(state: TaskState, target: Target) -> Score:
        return Score(value=right(inside(state.output.completion, "answer") or ""))

    return of


def outputs() -> Any:
    while True:
        for turn in TURNS:
            output = ModelOutput.from_content("mockllm/model", turn)
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            yield output


def played(task: Callable[[], Task]) -> float:
    """All samples, one after the other; the mean reward."""
    model = get_model("mockllm/model", custom_outputs=outputs(), memoize=False)
    with tempfile.TemporaryDirectory() as folder:
        (log,) = evaluate(
            task(), model=model, sample_id=ASKED.id, epochs=EPOCHS, max_samples=1, display="none", log_dir=folder
        )
    assert log.results is not None
    return float(next(iter(log.results.scores[0].metrics.values())).value)


smallest = MemoryDataset([Sample(id=ASKED.id, input=PROMPT)])
driver = Driver(DATA, reward=Exact())
compare(
    "Inspect",
    lambda: played(lambda: Task(dataset=smallest, solver=loop(), scorer=exact())),
    lambda: played(lambda: ProfileTask(driver).task()),
    1,
    EPOCHS,
)
