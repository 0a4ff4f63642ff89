"""Fine-tuning on transcripts: the loss is on what the policy wrote, never on what the environment said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..envs.trajectory import Segment

IGNORED = -100  # a label without a loss, in torch and in TRL


@dataclass(frozen=True, slots=True)
class Example:
    """A transcript in tokens; `labels` are the tokens of the policy, and nothing elsewhere."""

    input_ids: list[int]
    labels: list[int]


def example(segments: Sequence[Segment], tokenizer: Any, end: Sequence[int] = ()) -> Example:
    """Each segment is tokenised on its own, as it is in a rollout; `end` is what the policy says last."""
    tokens: list[int] = []
    labels: list[int] = []
    texts = tokenizer([segment.text for segment in segments], add_special_tokens=False)["input_ids"]
    for segment, said in zip(segments, texts, strict=True):
        tokens += said
        labels += said if segment.author == "policy" else [IGNORED] * len(said)
    return Example([*tokens, *end], [*labels, *end])


def fine_tune(model: Any, tokenizer: Any, examples: Sequence[Example], out: Path, **settings: Any) -> Any:
    """TRL's SFTTrainer over the examples; `settings` are those of its `SFTConfig`. Returns the trained model."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig

    columns = {
        "input_ids": [one.input_ids for one in examples],
        "labels": [one.labels for one in examples],
        "length": [len(one.input_ids) for one in examples],
    }
    config = SFTConfig(
        output_dir=str(out),
        dataset_kwargs={"skip_prepare_dataset": True},  # the labels are there already
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        activation_checkpointing=False,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        **settings,
    )
    trainer = _trainer_class()
    trainer(model, config, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer).train()
    return model


def _trainer_class() -> Any:
    """TRL's, but for its loss: off the GPU that scores every position, three times as many as have a label."""
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class LabelledOnly(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            labels = inputs["labels"][:, 1:]
            labelled = labels != IGNORED
            with self.accelerator.autocast():
                read = model.base_model(inputs["input_ids"], use_cache=False)  # padded behind, where nobody looks
                logits = model.get_output_embeddings()(read.last_hidden_state[:, :-1][labelled])
            return cross_entropy(logits.float(), labels[labelled])

    return LabelledOnly
