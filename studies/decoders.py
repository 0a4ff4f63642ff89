"""The local engine beside transformers' continuous batching: the same first turns, in turn, on the CPU.

python -m profilegym.studies.decoders pilot [--turns 48] [--rounds 3]
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import median

from ..agents.models.decoding import PREFILL_TOKENS
from ..agents.models.hf import HFModel
from ..agents.models.model import make_model
from ..agents.models.tokenize import tokens_of
from ..envs.chat import Sampling
from ..envs.data import load_questions
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.trajectory import Segment

Tokens = list[list[int]]
_PAGE = 64  # tokens


def ours(model: HFModel, asked: Sequence[tuple[Question, list[Segment]]], most: int) -> Tokens:
    """Each turn, greedy, without stop strings."""

    async def one(question: Question, segments: list[Segment]) -> list[int]:
        session = model.open(question, None)
        try:
            return list((await session.generate(segments, Sampling(max_tokens=most), ())).tokens or ())
        finally:
            session.close()

    async def every() -> Tokens:
        return await asyncio.gather(*[one(*each) for each in asked])

    return asyncio.run(every())


def theirs(model: HFModel, prompts: Tokens, most: int) -> Tokens:
    """The same by `generate_batch`."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    ends = [model.tokenizer.eos_token_id]
    config = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=ends[0])
    pages = sum(-(-(len(prompt) + most) // _PAGE) for prompt in prompts)  # by default it takes all memory there is
    batching = ContinuousBatchingConfig(
        page_size=_PAGE, num_blocks=pages, max_batch_tokens=PREFILL_TOKENS + len(prompts)
    )
    found = model.model.generate_batch(
        prompts, generation_config=config, continuous_batching_config=batching, progress_bar=False
    )
    in_order = sorted(found.items(), key=lambda item: int(item[0].rsplit("_", 1)[-1]))
    return [list(one.generated_tokens) for _, one in in_order]


def timed(write: Callable[[], Tokens]) -> tuple[float, Tokens]:
    start = time.perf_counter()
    found = write()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--turns", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=48, help="at most, of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    one, other = make_model(options.model), make_model(options.model)
    assert isinstance(one, HFModel)
    assert isinstance(other, HFModel)
    questions = load_questions("world:seed=7,users=100/test")
    asked = [(questions[i], [Segment("environment", Episode(questions[i]).observation)]) for i in range(options.turns)]
    prompts = [
        [token for part in tokens_of(segments, one.tokenizer, one.template) for token in part] for _, segments in asked
    ]
    rates: dict[str, list[float]] = {"ours": [], "transformers": []}
    for _ in range(options.rounds):
        seconds, mine = timed(lambda: ours(one, asked, options.tokens))
        rates["ours"].append(sum(map(len, mine)) / seconds)
        seconds, others = timed(lambda: theirs(other, prompts, options.tokens))
        rates["transformers"].append(sum(map(len, others)) / seconds)
        alike = sum(a == b for a, b in zip(mine, others, strict=True))
    print(f"{options.turns} turns of {options.model}; {alike} alike")
    for who, found in rates.items():
        print(f"{who}: {median(found):.0f} tokens/s, of rounds {', '.join(f'{rate:.0f}' for rate in found)}")
    print(f"ours over transformers: {median(rates['ours']) / median(rates['transformers']):.2f}")


if __name__ == "__main__":
    main()
