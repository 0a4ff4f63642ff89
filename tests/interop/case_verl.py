"""verl: its own worker and manager play a group of one member and a control, with a scripted server."""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from scripted import ASKED, Facts, Played, Script, driver_options, is_unscored, main, played
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, _agent_loop_registry
from verl.workers.rollout.replica import TokenOutput

import profilegym as pg
import profilegym.interop.verl as ours
from profilegym.interop.driver import Driver

FACTS = Facts(
    "verl", ("verl",), "yes, masked: the manager's last row of a group",
    "`RewardError`, or NaN for this package's estimators", "verl's, exact",
)  # fmt: skip
ENDS = "<|im_end|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = OmegaConf.create(
    {"actor_rollout_ref": {"rollout": {"prompt_length": 4096, "response_length": 4096}}, "data": {}}
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<|im_start|>", ENDS]
    core.train_from_iterator(
        [], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=ENDS, pad_token="<pad>")
    made.chat_template = CHAT
    return made


TOKENIZER = make_tokenizer()


class Server:
    """Writes the turns of a script to each rollout; remembers what it was given to read."""

    def __init__(self, script: Script) -> None:
        self.texts, self.read = script.texts("tags"), dict[str, list[list[int]]]()

    async def generate(self, request_id: str, prompt_ids: list[int], **_: Any) -> TokenOutput:
        read = self.read.setdefault(request_id, [])
        read.append(list(prompt_ids))
        tokens = TOKENIZER.encode(self.texts[len(read) - 1]) + TOKENIZER.encode(ENDS)
        return TokenOutput(token_ids=tokens, log_probs=[-0.5] * len(tokens))


class Worker(AgentLoopWorker):
    """verl's worker without what it reads from a model's folder."""

    def __init__(self, server: Server) -> None:
        self.config, self.llm_client, self.tokenizer = CONFIG, server, TOKENIZER
        self.rollout_config = SimpleNamespace(
            temperature=1.0, top_p=1.0, top_k=-1, calculate_log_probs=True, prompt_length=4096, response_length=4096
        )
        self.processor = self.hf_model_type = self.dataset_cls = self.reward_loop_worker_handles = None
        self.tools, self.mm_processor_kwargs, self.distillation_enabled = [], {}, False


class Manager(ours.ProfileManager):
    """The manager of this package with one worker in this process instead of Ray's."""

    def __init__(self, worker: Worker) -> None:
        self.agent_loop_workers = [
            SimpleNamespace(generate_sequences=SimpleNamespace(remote=worker.generate_sequences))
        ]


def generate(script: Script, records: list[pg.Trajectory], unscored: str = "nan") -> tuple[DataProto, Server]:
    made = Driver(**driver_options(script, records))
    ours.shared_driver = lambda data, options: made  # hydra passes no objects on
    _agent_loop_registry[ours.NAME]["unscored"] = unscored
    row = next(row for row in ours.questions("world:users=20/test") if row["question_id"] == ASKED)
    fields = {"agent_name": row["agent_name"], "question_id": ASKED, "raw_prompt": row["prompt"], "uid": "a"}
    batch = DataProto.from_dict({"row": torch.arange(2)}, meta_info={"global_steps": 1})
    for name, value in fields.items():
        batch.non_tensor_batch[name] = np.empty(2, dtype=object)
        batch.non_tensor_batch[name][:] = [value, value]
    server = Server(script)

    return Manager(Worker(server)).generate_sequences(batch), server


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    output, server = generate(script, records)
    own = next(record for record in records if record.kind == "personalised")
    shown = [segment.text for segment in own.segments if segment.author == "environment"]
    last = TOKENIZER.decode(server.read[own.id][-1])
    for text in shown:
        assert text.strip() in last, "the policy did not read it"
    mask, response = output.batch["response_mask"], output.batch["responses"]
    trained = TOKENIZER.decode(response[0][mask[0] == 1], skip_special_tokens=True)
    assert trained == "".join(segment.text for segment in own.segments if segment.author == "policy")
    assert not mask[1].any(), "the control is trained"
    reward = float(output.batch["rm_scores"][0].sum())
    unscored = is_unscored(reward, lambda: generate(script, [], "raise"))
    return played(own, shown, None if unscored else reward, unscored)


warnings.simplefilter("ignore")
if __name__ == "__main__":
    main(FACTS, play)
