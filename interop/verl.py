"""verl: an agent loop that plays episodes, and a manager whose groups have the control; its estimators are apart."""

from collections import Counter
from collections.abc import Mapping
from math import nan
from typing import Any

from ..errors import MissingExtra, OptionError, RewardError
from .driver import Attempt, Driver, shared_driver
from .estimators import last_of_each, require_own

try:
    import numpy as np
    from verl.experimental.agent_loop.agent_loop import (
        AgentLoopBase,
        AgentLoopManager,
        AgentLoopMetrics,
        AgentLoopOutput,
        register,
    )
except ImportError as error:
    raise MissingExtra("an agent loop of verl", "verl") from error

NAME = "profile_qa"


def questions(data: Any = "world") -> list[dict[str, Any]]:
    """The rows of a data set for verl: ids alone, as the agent loop writes the prompt."""
    prompt = [{"role": "user", "content": ""}]
    row = {"prompt": prompt, "data_source": NAME, "agent_name": NAME, "reward_model": {"ground_truth": ""}}
    return [{**row, "question_id": question_id} for question_id in Driver(data, reward="none").questions.ids]


@register(NAME)
class ProfileLoop(AgentLoopBase):
    """Plays the episode of a row, token by token as the server wrote it. `options` are those of `Driver`.

    An entry in the file `agent_loop_config_path` gives them. verl has no reward that says "unscored":
    `unscored="raise"` raises `RewardError`, "nan" gives NaN, which this package's estimators leave out.
    """

    def __init__(self, *arguments: Any, data: Any = "world", unscored: str = "raise", **options: Any) -> None:
        theirs = {name: options.pop(name) for name in _THEIRS if name in options}
        super().__init__(*arguments, **theirs)
        if unscored not in ("raise", "nan"):
            raise OptionError(f"unscored={unscored!r}: give raise or nan")
        self._unscored, self._driver = unscored, shared_driver(data, options)

    async def run(self, sampling_params: Mapping[str, Any], **row: Any) -> AgentLoopOutput:
        attempt = self._driver.attempt(str(row["question_id"]), row.get("kind", "personalised"))
        tokens = await self.ct_build_initial_tokens(attempt.messages)
        start, longest = len(tokens), self.rollout_config.response_length
        mask: list[int] = []
        logprobs: list[float] | None = [] if sampling_params.get("logprobs") else None
        asked = {**sampling_params, "stop": list(attempt.stops), "include_stop_str_in_output": True}
        while not attempt.done and len(mask) < longest:
            turn = await self.server_manager.generate(
                request_id=attempt.episode.id, prompt_ids=tokens, sampling_params=asked
            )
            wrote, known = turn.token_ids, turn.log_probs
            merged, mask, logprobs = await self.ct_merge_assistant_token(tokens, wrote, mask, logprobs, known)
            await attempt.write_async(self.tokenizer.decode(wrote, skip_special_tokens=True), wrote, known)
            if not attempt.done:
                messages = attempt.messages
                merged, mask, logprobs = await self.ct_merge_context_msg(
                    messages[:-1], messages, merged.token_ids, mask, logprobs
                )
            tokens = merged.token_ids
        attempt.stop()
        is_control = attempt.episode.kind == "baseline"
        return AgentLoopOutput(
            prompt_ids=tokens[:start],
            response_ids=tokens[start:][:longest],
            response_mask=[0 if is_control else one for one in mask[:longest]],
            response_logprobs=None if logprobs is None else logprobs[:longest],
            reward_score=await self._reward(attempt),
            num_turns=len(attempt.messages),
            metrics=AgentLoopMetrics(),
        )

    async def _reward(self, attempt: Attempt) -> float:
        outcome = await attempt.outcome_async()
        if outcome.reward is not None:
            return outcome.reward
        if self._unscored == "nan":
            return nan
        raise RewardError(f"attempt {attempt.episode.id} could not be scored: {outcome.unscored}")


class ProfileManager(AgentLoopManager):
    """verl's own manager: the last `controls` of the `n` rows of a question play the control while it trains."""

    controls = 1

    def generate_sequences(self, prompts: Any) -> Any:
        if not prompts.meta_info.get("validate", False):
            groups = list(prompts.non_tensor_batch["uid"])
            require_own(max(Counter(groups).values()), self.controls, "actor_rollout_ref.rollout.n")
            marks = last_of_each(groups, self.controls)
            kinds = ["baseline" if mark else "personalised" for mark in marks]
            prompts.non_tensor_batch["kind"] = np.array(kinds, dtype=object)
        return super().generate_sequences(prompts)


_THEIRS = frozenset(
    [
        "trainer_config",
        "server_manager",
        "tokenizer",
        "processor",
        "dataset_cls",
        "data_config",
        "hf_model_type",
        "tools",
    ]
)
