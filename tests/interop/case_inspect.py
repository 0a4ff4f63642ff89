"""Inspect: its own `eval` with its mock model, and the log that it wrote, read back."""

import tempfile
from math import isnan
from pathlib import Path

from inspect_ai import eval as evaluate
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from scripted import ASKED, Facts, Played, Script, driver_options, main, played

import profilegym as pg
from profilegym.interop.driver import Driver
from profilegym.interop.inspect import ProfileTask
from profilegym.interop.records.inspect import read

FACTS = Facts(
    "Inspect", ("inspect_ai",), "no groups: a second task, `control=true`", "`Score.unscored`, which no metric counts",
    "none",
)  # fmt: skip


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    task = ProfileTask(Driver(**driver_options(script, records))).task()
    outputs = [ModelOutput.from_content("mockllm/model", text) for text in script.texts("tags")]
    for output in outputs:
        output.usage = ModelUsage(
            input_tokens=1, output_tokens=1, total_tokens=2
        )  # not counted by a downloaded tokenizer
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    with tempfile.TemporaryDirectory() as folder:
        (log,) = evaluate(task, model=model, sample_id=ASKED, display="none", log_dir=folder)
        assert log.status == "success", log.error
        ((_, again),) = read(Path(folder))
        assert log.samples is not None
        (sample,) = log.samples
    assert sample.scores is not None
    value = sample.scores["profilegym"].as_float()
    shown = [message.text for message in sample.messages if message.role == "user"]
    assert again.segments == records[0].segments
    assert again.searches == records[0].searches
    assert log.results is not None
    (counted,) = log.results.scores
    assert isnan(counted.metrics["mean"].value) == isnan(value)
    return played(again, shown, None if isnan(value) else value, isnan(value))


main(FACTS, play)
