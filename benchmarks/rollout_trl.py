"""TRL in `bench rollout`: its own environment loop, `environment_factory` with transformers' generation."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

from ..agents.models.hf import HFModel
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Retriever
from ..envs.reward import RewardFunction
from ..errors import MissingExtra

MOST, TURN = 512, 112  # tokens of an episode, searches included, and of a turn, as in the recipe pr2-world
PER_QUESTION = 2  # the fewest that GRPO can compare
TEMPLATE = (  # the transcript as it stands; calls are only written where TRL tries whether tools can be called
    "{%- for message in messages -%}{{ message.content }}"
    "{%- for call in message.tool_calls or [] -%}{{ call | tojson }}{%- endfor -%}{%- endfor -%}"
)
CALL = {"type": "function", "function": {"name": "search_profile", "arguments": {"query": "{content}"}}}
RESPONSE = {
    "start_anchor_pattern": r"\Z",
    "defaults": {"role": "assistant"},
    "fields": {
        "tool_calls": {
            "open": "<search>",
            "close": "</search>",
            "repeats": True,
            "content": "text",
            "content_args": {"strip": False},
            "transform": CALL,
        },
        "content": {"close_pattern": "$", "content": "text"},
    },
}


class TRLLoop:
    """Plays a question as `Rollout` does: the same texts, tokens, searches, stops and rewards."""

    def __init__(
        self, local: HFModel, questions: Sequence[Question], retriever: Retriever, reward: RewardFunction
    ) -> None:
        try:
            from datasets import Dataset
            from trl import GRPOConfig, GRPOTrainer
        except ImportError as error:
            raise MissingExtra("playing in TRL's loop", "train") from error

        self.scores: list[float] = []
        tokenizer = local.tokenizer
        tokenizer.chat_template, tokenizer.response_template = TEMPLATE, RESPONSE
        tokenizer.padding_side = "left"
        ends = tokenizer.convert_tokens_to_ids(["</search>", "</answer>"])
        local.model.generation_config.eos_token_id = [tokenizer.eos_token_id, *ends]
        self.rows = [
            {"prompt": [{"role": "user", "content": ""}], "question_id": question.id} for question in questions
        ]
        by_id = {question.id: question for question in questions}

        class Searching:
            """An episode, as TRL asks for one."""

            def reset(self, question_id: str, **row: Any) -> str:
                self.episode = Episode(by_id[question_id])
                return self.episode.observation

            def search_profile(self, query: str) -> str:
                """Search the person's posts.

                Args:
                    query: What to look for.

                Returns:
                    The posts found.
                """
                episode = self.episode
                episode.write(f"<search>{query}</search>")
                if episode.needs == "search":
                    episode.add_hits(retriever.search(episode.question.profile, episode.query, episode.fetch_k))
                return episode.observation

        def score(completions: Sequence[Any], environments: Sequence[Searching], **_: Any) -> list[float]:
            episodes = [environment.episode for environment in environments]
            for episode, completion in zip(episodes, completions, strict=True):
                if episode.needs == "text":
                    episode.write(completion[-1]["content"])
            rewards: Any = reward(episodes)
            scores = [float(reward.total) for reward in rewards]
            self.scores += scores
            return scores

        with _quiet():
            settings = GRPOConfig(
                output_dir=tempfile.gettempdir(),
                use_cpu=True,
                bf16=False,
                num_generations=PER_QUESTION,
                max_completion_length=MOST,
                generation_kwargs={"max_new_tokens": TURN},
                max_tool_calling_iterations=Episode(questions[0]).max_searches,
                temperature=1.0,
                report_to=[],
                gradient_checkpointing=False,
            )
            self.trainer = GRPOTrainer(
                model=local.model,
                args=settings,
                train_dataset=Dataset.from_list(self.rows),
                processing_class=tokenizer,
                environment_factory=Searching,
                reward_funcs=score,
            )

    def play(self, count: int) -> tuple[int, float]:
        """So many at once, two of a question; gives the policy's tokens and the mean score."""
        self.scores.clear()
        batch = self.batch([row for row in self.rows for _ in range(PER_QUESTION)][:count])
        return int((batch["tool_mask"] * batch["completion_mask"]).sum()), fmean(self.scores)

    def batch(self, rows: Sequence[Any]) -> Any:
        """Generated and scored together, as TRL hands it to a training step."""
        with _quiet():
            return self.trainer._generate_and_score_completions(rows)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides TRL's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
