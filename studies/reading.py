"""How well the pilot reads: its accuracy at each decision, after a correct transcript.

python -m profilegym.studies.reading [--model FOLDER] [--data DATA]
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..agents.models.hf import HFModel
from ..envs.data import load_questions
from ..envs.trajectory import Segment
from ..training.runtime import quieten
from ..training.sft import IGNORED, examples_of
from ..world.pilot.demonstrations import Habits, demonstrate
from ..world.pilot.model import FOLDER
from ..world.pilot.reading import NEWER, NOTHING, OLDER

READ = "world:seed=11,users=130/train"  # people that the pilot was not trained on
_MARKS = {NEWER.removeprefix(","): "newer", OLDER.removeprefix(","): "older"}
_NUMBER = re.compile(r"\n(\d+)\. ")


def decisions(said: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The positions of a turn's tokens that decide something, and what."""
    quoted = False
    for place, before in enumerate(said[:-1], 1):
        number, after = _NUMBER.fullmatch(before), said[place]
        if number:
            quoted = False
            yield place, f"line {number[1]} tells {'nothing' if after == NOTHING else 'something'}"
        elif before == ":" and not quoted:
            quoted = True
            yield place, "what to take from a quote"
        elif quoted and before == "," and after in _MARKS:
            yield place, f"of what was told before, this is {_MARKS[after]}"
        elif quoted and after == "." and before not in _MARKS:
            yield place, "something is told for the first time"


def right(model: HFModel, data: str) -> dict[str, tuple[int, int]]:
    """By kind: the number of decisions, and how often the likeliest token was right."""
    import torch

    made: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for trajectory in demonstrate(load_questions(data), Habits(), {"pr2": 1.0}, seed=3):
        for said, likeliest in _turns(model, trajectory.segments, torch):
            texts = [model.tokenizer.decode([token]) for token in said]
            for place, kind in decisions(texts):
                made[kind] += 1
                hit[kind] += said[place] == likeliest[place]
    return {kind: (made[kind], hit[kind]) for kind in sorted(made)}


def _turns(model: HFModel, segments: Sequence[Segment], torch: Any) -> Iterator[tuple[list[int], list[int]]]:
    """The tokens of each turn of the policy, and the model's likeliest token at each position."""
    (one,) = examples_of([segments], model.tokenizer)
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
    parser.add_argument("--data", default=READ, help="of the world, as world:seed=31,users=300/test_unseen")
    words = parser.parse_args()
    quieten()
    found = right(HFModel.load(words.model), words.data)
    print("| decision | times | right |\n|---|--:|--:|")
    for kind, (made, hit) in found.items():
        print(f"| {kind} | {made} | {hit / made:.2f} |")


if __name__ == "__main__":
    main()
