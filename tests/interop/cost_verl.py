"""verl: its own worker runs a batch of agent loops, with a scripted server; the smallest loop is one method."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from case_verl import Server, Worker
from cost import ANSWER, ASKED, DATA, PROMPT, QUERIES, Exact, compare, found, inside, right
from scripted import Script
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register

import profilegym.interop.verl as ours
from profilegym.interop.driver import Driver

SCRIPT = Script("cost", (*(("search", query) for query in QUERIES), ("answer", ANSWER)))
AT_ONCE = 16


@register("smallest")
class Smallest(AgentLoopBase):
    async def run(self, sampling_params: Mapping[str, Any], **row: Any) -> AgentLoopOutput:
        request, messages = uuid4().hex, [{"role": "user", "content": PROMPT}]
        tokens = await self.ct_build_initial_tokens(messages)
        start, mask, logprobs, answer = len(tokens), list[int](), None, None
        while answer is None:
            turn = await self.server_manager.generate(
                request_id=request, prompt_ids=tokens, sampling_params=sampling_params
            )
            merged, mask, logprobs = await self.ct_merge_assistant_token(tokens, turn.token_ids, mask, logprobs, None)
            text = self.tokenizer.decode(turn.token_ids, skip_special_tokens=True)
            answer = inside(text, "answer")
            if answer is None:
                known = [*messages, {"role": "assistant", "content": text}]
                messages = [*known, {"role": "user", "content": found(inside(text, "search") or "")}]
                merged, mask, logprobs = await self.ct_merge_context_msg(
                    known, messages, merged.token_ids, mask, logprobs
                )
            tokens = merged.token_ids
        return AgentLoopOutput(
            prompt_ids=tokens[:start], response_ids=tokens[start:], response_mask=mask, reward_score=right(answer),
            num_turns=len(messages), metrics=AgentLoopMetrics(),
        )  # fmt: skip


def played(name: str) -> float:
    batch = DataProto.from_dict({"row": torch.arange(AT_ONCE)}, meta_info={"global_steps": 1})
    for field, value in {"agent_name": name, "question_id": ASKED.id, "raw_prompt": [], "uid": "a"}.items():
        batch.non_tensor_batch[field] = np.empty(AT_ONCE, dtype=object)
        batch.non_tensor_batch[field][:] = [value] * AT_ONCE
    output = asyncio.run(Worker(Server(SCRIPT)).generate_sequences(batch))
    return float(output.batch["rm_scores"].sum()) / AT_ONCE


driver = Driver(DATA, reward=Exact())
ours.shared_driver = lambda data, options: driver  # hydra passes no objects on
compare("verl", lambda: played("smallest"), lambda: played(ours.NAME), 1, AT_ONCE)
