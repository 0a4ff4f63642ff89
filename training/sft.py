"""Fine-tuning on transcripts: the loss is on what the policy wrote, never on what the environment said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from random import Random
from typing import Any

from ..agents.models.tokenize import AS_IS, ChatTemplate, tokens_of_all
from ..agents.models.tool_chat import Tools
from ..envs.trajectory import Segment
from .reading import changes_logits, plain_of, read_once, read_whole
from .runtime import PADDED, keep_memory
from .trl_fields import checkpointing

IGNORED = -100  # a label without a loss, in torch and in TRL
_LABELS = 256  # scored at once are a multiple of it, for the same reason that lengths are one of PADDED
_AT_ONCE = 1000  # transcripts that are tokenised together
_SORTED = 50  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A transcript in tokens; `labels` are the tokens of the policy, and nothing elsewhere."""

    input_ids: list[int]
    labels: list[int]


def examples_of(
    transcripts: Iterable[Sequence[Segment]],
    tokenizer: Any,
    end: Sequence[int] = (),
    template: ChatTemplate = AS_IS,
    tools: Iterable[Tools | None] = repeat(None),
) -> list[Example]:
    """In the tokens of a rollout, of their texts alone, up to the policy's last turn.

    `end` is what the policy says last; with native tool calls, the chat template has written it. `tools` are those of
    each transcript.
    """
    found: list[Example] = []
    left = iter(zip(transcripts, tools, strict=False))
    while some := list(islice(left, _AT_ONCE)):
        texts = [_texts(segments) for segments, _ in some]
        tokens = tokens_of_all(texts, tokenizer, template, [offered for _, offered in some])
        found += [_example(zip(*one, strict=True), end) for one in zip(texts, tokens, strict=True)]
    return found


def _texts(segments: Sequence[Segment]) -> list[Segment]:
    """Without tokens, and without what came after the policy's last turn."""
    last = max((number for number, one in enumerate(segments) if one.author == "policy"), default=len(segments))
    return [Segment(segment.author, segment.text) for segment in segments[: last + 1]]


def _example(said: Iterable[tuple[Segment, list[int]]], end: Sequence[int]) -> Example:
    input_ids: list[int] = []
    labels: list[int] = []
    for segment, tokens in said:
        input_ids += tokens
        labels += tokens if segment.author == "policy" else [IGNORED] * len(tokens)
    if end and input_ids[-len(end) :] == list(end):
        return Example(input_ids, labels)
    return Example([*input_ids, *end], [*labels, *end])


def fine_tune(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    out: Path,
    callbacks: Sequence[Any] = (),
    adapters: Any = None,
    checkpoint: str | None = None,
    **settings: Any,
) -> Any:
    """TRL's SFTTrainer over the examples; `settings` are those of its `SFTConfig`. Returns the trained model.

    It goes on from a `checkpoint`, and saves one in `out` when a callback asks for it.
    """
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig

    keep_memory()
    rows, checkpointed = settings["per_device_train_batch_size"], settings.pop("gradient_checkpointing", False)
    batch = rows * settings.get("gradient_accumulation_steps", 1)
    ordered = _alike_together(examples, batch, Random(settings["seed"]))
    columns = {"input_ids": [one.input_ids for one in ordered], "labels": [one.labels for one in ordered]}
    config = SFTConfig(
        output_dir=str(out),
        dataset_kwargs={"skip_prepare_dataset": True},  # the labels are there already
        train_sampling_strategy="sequential",
        pad_to_multiple_of=PADDED,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        save_total_limit=1,
        **checkpointing(SFTConfig, checkpointed),
        **settings,
    )
    labelled = sum(label != IGNORED for one in ordered for label in one.labels)
    trainer = _trainer_class(labelled / len(ordered) * rows, read_whole if checkpointed else read_once)
    data = Dataset.from_dict(columns)
    learning = trainer(
        model, config, train_dataset=data, processing_class=tokenizer, callbacks=list(callbacks), peft_config=adapters
    )
    if callbacks:
        learning.remove_callback(PrinterCallback)
    learning.train(resume_from_checkpoint=checkpoint)
    return learning.accelerator.unwrap_model(learning.model)


def _alike_together(examples: Sequence[Example], batch: int, luck: Random) -> list[Example]:
    """Batches of about the same length, in any order."""
    order = luck.sample(examples, len(examples))
    batches = []
    for start in range(0, len(order), _SORTED * batch):
        some = sorted(order[start : start + _SORTED * batch], key=lambda one: len(one.input_ids))
        batches += [some[first : first + batch] for first in range(0, len(some), batch)]
    luck.shuffle(batches)
    return [one for some in batches for one in some]


def _trainer_class(usual: float, read: Callable[[Any, Any], Any]) -> Any:
    """TRL's, but for its loss: off the GPU that scores every position, three times as many as have a label.

    It divides by the `usual` number of labels in a pass. By a pass's own, a token of a short transcript would count for
    more than one of a long transcript, and short are those that search too little.
    """
    from torch.nn.functional import cross_entropy, pad
    from trl import SFTTrainer

    class LabelledOnly(SFTTrainer):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            self.model_accepts_loss_kwargs = False  # so the sum over a batch's passes is divided by their number

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            labels = inputs["labels"][:, 1:]
            labelled = labels != IGNORED
            places = labelled.flatten().nonzero().squeeze(1)
            targets = pad(labels.flatten()[places], (0, -len(places) % _LABELS), value=IGNORED)
            places = pad(places, (0, -len(places) % _LABELS))
            with self.accelerator.autocast():
                logits = self._logits(plain_of(model), inputs["input_ids"], places)
            return cross_entropy(logits.float(), targets, reduction="sum") / usual

        def _logits(self, model: Any, rows: Any, places: Any) -> Any:
            """Of the places alone, where the last layer makes them. Rows are padded behind, where nobody looks."""
            if changes_logits(model):
                return model(input_ids=rows, use_cache=False).logits[:, :-1].flatten(0, 1)[places]
            states = read(model.base_model, rows)
            return model.get_output_embeddings()(states[:, :-1].flatten(0, 1)[places])

    return LabelledOnly
