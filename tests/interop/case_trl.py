"""TRL: a step of its `GRPOTrainer` with an environment. Only the model is stood in for: it generates a script."""

import json
import os
import tempfile
from collections.abc import Sequence
from math import isnan
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from scripted import ASKED, QUESTIONS, Facts, Played, Script, driver_options, main, played
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_chat_template

import profilegym as pg
from profilegym.interop.trl import environment_factory

FACTS = Facts(
    "TRL `environment_factory`", ("trl",), "no: the rows of a group share everything",
    "`None`, left out of the group's mean", "TRL's, exact", "tools",
)  # fmt: skip
BEGINS, ENDS = "<|im_start|>", "<|im_end|>"


def make_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.train_from_iterator(
        [document.text for document in QUESTIONS[0].profile.documents],
        trainers.BpeTrainer(
            vocab_size=1000, special_tokens=["<pad>", BEGINS, ENDS], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )  # fmt: skip
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=ENDS, pad_token="<pad>")
    made.chat_template = qwen3_chat_template
    return made


TOKENIZER = make_tokenizer()


class ScriptedModel(Qwen3ForCausalLM):  # type: ignore[misc]
    """Generates the turns of a script, then a word; it learns as any model does."""

    turns: Sequence[str] = ()

    def generate(self, input_ids: Any, **_: Any) -> Any:
        begin = TOKENIZER.encode(f"{BEGINS}assistant")
        rows = []
        for row in input_ids.tolist():
            number = sum(row[at : at + len(begin)] == begin for at in range(len(row))) - 1
            text = self.turns[number] if number < len(self.turns) else "Done."
            rows.append(TOKENIZER.encode(text + ENDS))
        longest = max(map(len, rows))
        padded = [row + [TOKENIZER.pad_token_id] * (longest - len(row)) for row in rows]
        return torch.cat([input_ids, torch.tensor(padded)], dim=1)


def make_model(script: Script) -> ScriptedModel:
    model = ScriptedModel(
        Qwen3Config(
            vocab_size=len(TOKENIZER), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, head_dim=8, max_position_embeddings=16_384,
        )
    )  # fmt: skip
    calls = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in script.calls()]
    model.turns = [f"<tool_call>\n{call}\n</tool_call>" for call in calls]
    return model


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    shown: list[str] = []

    def watch(prompts: Any, completions: Any, **_: Any) -> list[None]:
        """Sees what TRL gave the policy, and scores nothing."""
        shown.append(prompts[0][-1]["content"])
        shown.extend(message["content"] for message in completions[0] if message["role"] == "tool")
        return [None] * len(prompts)

    factory = environment_factory(**driver_options(script, records))
    rows = [row for row in factory.questions() if row["question_id"] == ASKED]
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            folder, max_steps=1, per_device_train_batch_size=2, num_generations=2, max_completion_length=4096,
            use_cpu=True, report_to=[], disable_tqdm=True, logging_steps=1, save_strategy="no",
        )  # fmt: skip
        trainer = GRPOTrainer(
            make_model(script), [watch], settings, Dataset.from_list(rows), processing_class=TOKENIZER,
            environment_factory=factory,
        )  # fmt: skip
        trainer.train()
    reward = next(line for line in trainer.state.log_history if "reward" in line)["rewards/ProfileQA/mean"]
    shown = [text for text in shown if text != "The episode is over."]
    unscored = reward is None or isnan(reward)
    return played(records[0], shown, None if unscored else reward, unscored)


main(FACTS, play)
