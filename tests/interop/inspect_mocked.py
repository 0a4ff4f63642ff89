"""The task of this package with Inspect's mock model, for `inspect eval`."""

from inspect_ai import Task, task
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from profilegym.interop.inspect import profile_qa


@task
def mocked() -> Task:
    made = profile_qa(data="world:users=20/test")
    output = ModelOutput.from_content("mockllm/model", "<answer>I do not know.</answer>")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # not counted by a downloaded tokenizer
    made.model = get_model("mockllm/model", custom_outputs=[output] * 2, memoize=False)
    return made
