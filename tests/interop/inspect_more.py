"""What else the task of Inspect does: its own agents with our tools, its command line's task, runs as logs."""

import tempfile
from math import isnan
from pathlib import Path
from typing import Any

from inspect_ai import eval as evaluate
from inspect_ai.agent import AgentSubmit, react
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from scripted import ASKED, DATA, QUESTIONS, RIGHT, SCRIPTS, driver_options

import profilegym as pg
from profilegym.interop.driver import Driver
from profilegym.interop.inspect import ProfileTask
from profilegym.interop.inspect_log import write_log
from profilegym.interop.records.inspect import read


def calling(name: str, **arguments: Any) -> ModelOutput:
    return counted(ModelOutput.for_tool_call("mockllm/model", name, arguments))


def counted(output: ModelOutput) -> ModelOutput:
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # not by a downloaded tokenizer
    return output


def run(task: Any, outputs: list[ModelOutput], folder: str) -> Any:
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    (log,) = evaluate(task, model=model, sample_id=ASKED, display="none", log_dir=folder)
    assert log.status == "success", log.error
    ((_, trajectory),) = read(Path(folder))
    return trajectory


def an_agent_of_inspect_searches_with_our_tool_and_its_submission_is_the_answer() -> None:
    ours = ProfileTask(Driver(DATA, protocol="tools"))
    outputs = [calling("search_profile", query="food"), calling("submit", answer=RIGHT)]
    with tempfile.TemporaryDirectory() as folder:
        found = run(ours.task(react(tools=ours.tools(), submit=AgentSubmit(answer_only=True))), outputs, folder)
    assert [search.query for search in found.searches] == ["food"]
    assert (found.answer, found.reward.total) == (RIGHT, 1.0)


def its_generate_loop_calls_our_tools_too() -> None:
    text = counted(ModelOutput.from_content("mockllm/model", RIGHT))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [calling("search_profile", query="food"), text]
        found = run(ProfileTask(Driver(DATA, protocol="tools")).task(), outputs, folder)
    assert (len(found.searches), found.answer, found.reward.total) == (1, RIGHT, 1.0)


def a_model_answers_by_the_tool_that_the_prompt_names() -> None:
    outputs = [calling("search_profile", query="food"), calling("answer", text=RIGHT)]
    outputs.append(counted(ModelOutput.from_content("mockllm/model", "That was my answer.")))
    with tempfile.TemporaryDirectory() as folder:
        found = run(ProfileTask(Driver(DATA, protocol="tools")).task(), outputs, folder)
    assert (found.ended, found.answer, found.reward.total) == ("answered", RIGHT, 1.0)


def text_beside_a_call_that_a_limit_cut_off_is_no_answer() -> None:
    task = ProfileTask(Driver(DATA, protocol="tools")).task()
    task.message_limit = 3
    outputs = [calling("search_profile", query=query) for query in ("food", "a pet", "music")]
    with tempfile.TemporaryDirectory() as folder:
        found = run(task, outputs, folder)
    assert (found.ended, found.answer) == ("length", None)


def an_agent_that_searches_too_often_is_told_so() -> None:
    ours = ProfileTask(Driver(DATA, protocol="tools", max_searches=1))
    outputs = [calling("search_profile", query=query) for query in ("food", "a pet", "music")]
    with tempfile.TemporaryDirectory() as folder:
        found = run(
            ours.task(react(tools=ours.tools(), submit=AgentSubmit(answer_only=True))),
            [*outputs, calling("submit", answer=RIGHT)],
            folder,
        )
    assert (len(found.searches), found.ended, found.reward.total) == (1, "budget", 0.0)


def the_control_has_no_profile() -> None:
    text = counted(ModelOutput.from_content("mockllm/model", "<answer>I do not know.</answer>"))
    with tempfile.TemporaryDirectory() as folder:
        found = run(ProfileTask(Driver(DATA), "baseline").task(), [text], folder)
    assert (found.kind, found.searches, found.reward.total) == ("baseline", [], 0.0)


def a_run_that_is_written_as_a_log_is_read_back_as_it_was() -> None:
    records: list[pg.Trajectory] = []
    for script in SCRIPTS:
        driver = Driver(**driver_options(script, records))
        for kind in ("personalised", "baseline"):
            attempt = driver.attempt(ASKED, kind)  # type: ignore[arg-type]
            for text in script.texts("tags"):
                if not attempt.done:
                    attempt.write(text)
            attempt.stop()
            attempt.outcome()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.eval"
        write_log(records, QUESTIONS.find, file, "a run")
        assert [trajectory for _, trajectory in read(file)] == records
        samples = read_eval_log(file).samples
        assert samples is not None
        values = [sample.scores["profilegym"].as_float() for sample in samples if sample.scores]
    assert sum(map(isnan, values)) == sum(record.reward is None or record.reward.total is None for record in records)


CHECKS = (
    an_agent_of_inspect_searches_with_our_tool_and_its_submission_is_the_answer,
    its_generate_loop_calls_our_tools_too,
    a_model_answers_by_the_tool_that_the_prompt_names,
    text_beside_a_call_that_a_limit_cut_off_is_no_answer,
    an_agent_that_searches_too_often_is_told_so,
    the_control_has_no_profile,
    a_run_that_is_written_as_a_log_is_read_back_as_it_was,
)
if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(check.__name__)
