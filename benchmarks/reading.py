"""How well the pilot reads, decision by decision: with perfect demonstrations as the transcript so far.

python -m profilegym.benchmarks.reading [--model FOLDER]
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..agents.models.hf import HFModel
from ..agents.models.pilot import FOLDER
from ..envs.data import load_questions
from ..envs.trajectory import Segment
from ..training.demonstrations import Habits, demonstrate
from ..training.quiet import quieten
from ..training.reading import NOTHING
from ..training.sft import IGNORED, example

READ = "world:seed=11,users=130/train"  # people whom no pilot learned from
_NUMBER = re.compile(r"\n(\d+)\. ")


def decisions(said: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Where the tokens of one turn decide something, and what."""
    telling: dict[str, bool] = {}
    for place, token in enumerate(said[:-1]):
        number = _NUMBER.fullmatch(token)
        if number and number[1] not in telling:
            told = telling[number[1]] = said[place + 1] != NOTHING
            yield place + 1, f"line {number[1]} tells {'something' if told else 'nothing'}"
        elif number and sum(telling.values()) > 1:
            first = number[1] == next(line for line, told in telling.items() if told)
            yield place, f"of several that tell something, {'the first' if first else 'a later one'} is quoted"
        elif said[place] == ":" and telling:
            yield place + 1, "what to take from a quote"


def right(model: HFModel) -> dict[str, tuple[int, int]]:
    """How many decisions of each kind there were, and in how many the likeliest token was the right one."""
    import torch

    made: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for trajectory in demonstrate(load_questions(READ), Habits(), {"pr2": 1.0}, seed=3):
        for said, likeliest in _turns(model, trajectory.segments, torch):
            texts = [model.tokenizer.decode([token]) for token in said]
            for place, kind in decisions(texts):
                made[kind] += 1
                hit[kind] += said[place] == likeliest[place]
    return {kind: (made[kind], hit[kind]) for kind in sorted(made)}


def _turns(model: HFModel, segments: Sequence[Segment], torch: Any) -> Iterator[tuple[list[int], list[int]]]:
    """Each turn of the policy in tokens, and what the model would have said at each of their places."""
    one = example(segments, model.tokenizer)
    with torch.no_grad():
        scores = model.model(torch.tensor([one.input_ids], device=model.model.device)).logits[0, :-1]
    likeliest = [IGNORED, *scores.argmax(-1).tolist()]
    start = 0
    for segment in segments:
        end = start + len(model.tokenizer(segment.text, add_special_tokens=False)["input_ids"])
        if segment.author == "policy":
            yield one.input_ids[start:end], likeliest[start:end]
        start = end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=str(FOLDER), help="a folder with a model and its tokenizer")
    words = parser.parse_args()
    quieten()
    found = right(HFModel.load(words.model))
    print("| decision | times | right |\n|---|--:|--:|")
    for kind, (made, hit) in found.items():
        print(f"| {kind} | {made} | {hit / made:.2f} |")


if __name__ == "__main__":
    main()
