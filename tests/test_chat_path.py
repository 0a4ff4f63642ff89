"""One function makes the tokens of a transcript: lessons, rollouts and training read the same prompt."""

from pathlib import Path
from typing import Any

import pytest
from tiny_policy import make_tiny_policy

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from matching import naming  # noqa: E402

import profilegym as pg  # noqa: E402
from profilegym.agents.models.hf import HFModel  # noqa: E402
from profilegym.agents.models.tokenize import ChatTemplate, template_of, tokens_of, tokens_of_all  # noqa: E402
from profilegym.envs.trajectory import Segment  # noqa: E402
from profilegym.errors import OptionError  # noqa: E402
from profilegym.training.grpo.sequence import sequence_of  # noqa: E402
from profilegym.training.sft import IGNORED, examples_of  # noqa: E402

TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|sys|>be kind<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if not enable_thinking | default(true) %}<none>{% endif %}{% endif %}"
)
THINKS = TEMPLATE.replace("<|assistant|>", "<|assistant|><think>\n")
DATA = "world:users=10/test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


def tokenizer(folder: Path, template: str | None) -> Any:
    found = transformers.AutoTokenizer.from_pretrained(folder)
    found.chat_template = template
    return found


def played(folder: Path, template: str | None, options: ChatTemplate) -> tuple[Any, pg.Trajectory]:
    import asyncio

    from profilegym.agents.agent import make_agent
    from profilegym.agents.rollout import Job, Rollout
    from profilegym.envs.chat import Sampling

    weights = transformers.AutoModelForCausalLM.from_pretrained(folder)
    reader = tokenizer(folder, template)
    model = HFModel(weights.eval(), reader, template=options)
    question = pg.load_questions(DATA)[0]

    async def play() -> pg.Trajectory:
        rollout = Rollout(model, pg.make_retriever("bm25"), sampling=Sampling(max_tokens=8), max_tokens=30)
        async for trajectory in rollout.run([Job(question, make_agent("pr2"), 0)]):
            return trajectory
        raise AssertionError("nothing was played")

    return reader, asyncio.run(play())


@pytest.mark.parametrize("template", [None, TEMPLATE])
@pytest.mark.parametrize("options", [ChatTemplate(), ChatTemplate("You search.", {"enable_thinking": False})])
def test_lessons_rollouts_and_training_read_the_same_prompt(
    folder: Path, template: str | None, options: ChatTemplate
) -> None:
    reader, trajectory = played(folder, template, options)

    prompt = sequence_of(trajectory, lambda segment: [0]).prompt
    (lesson,) = examples_of([trajectory.segments], reader, (), options)
    asked = Segment("environment", trajectory.segments[0].text)

    assert prompt == tokens_of([asked], reader, options)[0]
    assert lesson.input_ids[: len(prompt)] == prompt
    assert lesson.labels[: len(prompt)] == [IGNORED] * len(prompt)
    if template is not None:
        text = reader.decode(prompt)
        assert ("<none>" in text) == ("be kind" not in text) == (options.system is not None)


def test_a_thought_that_a_template_begins_is_left_for_the_model_to_begin(folder: Path) -> None:
    reader = tokenizer(folder, THINKS)

    (prompt,) = tokens_of([Segment("environment", "Which tea?")], reader)

    assert reader.decode(prompt).endswith("<|assistant|>")


def test_what_follows_the_first_message_stands_inside_the_assistants(folder: Path) -> None:
    reader = tokenizer(folder, TEMPLATE)
    segments = [
        Segment("environment", "Q"),
        Segment("policy", "<search>tea</search>"),
        Segment("environment", "Found."),
    ]

    tokens = tokens_of(segments, reader)

    assert [reader.decode(part) for part in tokens[1:]] == ["<search>tea</search>", "Found."]


def test_many_transcripts_are_tokenised_as_each_alone_and_known_tokens_are_kept(folder: Path) -> None:
    reader = tokenizer(folder, None)
    one = [Segment("environment", "Which tea?"), Segment("policy", "mint", (5, 6), (-1.0, -1.0))]
    other = [Segment("environment", "Whose dog?"), Segment("policy", "mine"), Segment("environment", "So it is.")]

    assert tokens_of_all([one, other], reader) == [tokens_of(one, reader), tokens_of(other, reader)]
    assert tokens_of(one, reader)[1] == [5, 6]


def test_the_options_of_a_template_are_said_in_the_models_spec() -> None:
    spec = "hf:Qwen/Qwen3-4B,system=You search.,template_enable_thinking=false"

    template = template_of(spec)

    assert template == ChatTemplate("You search.", {"enable_thinking": False})
    assert f"hf:Qwen/Qwen3-4B{template.spec}" == spec
    assert template_of("pilot") == ChatTemplate()


def test_other_options_are_refused_for_a_model_that_is_trained() -> None:
    with pytest.raises(OptionError, match=naming("rows", "system=")):
        template_of("hf:some/model,rows=4")


def test_a_local_model_is_named_with_the_options_of_its_template(folder: Path) -> None:
    model = HFModel.load(str(folder), system="You search.")

    assert model.name == f"hf:{folder},system=You search."
    with pytest.raises(OptionError, match=naming("sytem")):
        HFModel.load(str(folder), sytem="You search.")
