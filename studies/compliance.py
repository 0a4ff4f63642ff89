"""How many outputs keep to R2P's template with and without its monitor, by a pilot trained on imperfect examples.

python -m profilegym.studies.compliance [--gaps 0.5]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from ..agents.agent import make_agent
from ..agents.models.hf import HFModel
from ..envs.data import load_questions
from ..envs.retrieval import make_retriever
from ..envs.trajectory import Segment, Trajectory
from ..evaluation.evaluate import Settings, evaluate
from ..evaluation.run import RunDirectory
from ..training.runtime import quieten
from ..training.sft import examples_of, fine_tune
from ..world.pilot.demonstrations import Habits, demonstrate
from ..world.pilot.model import FOLDER

TAUGHT, ASKED, LIMIT = "world:seed=0,users=200/train", "world:seed=7/test", 100
AGENTS = {
    "none made": "r2p:candidates=1,interventions=0",
    "at most two": "r2p:candidates=1,interventions=2",
    "at most two, three candidates": "r2p:interventions=2",
}
LEFT_OUT = ("Person", "Response", "answer")
FIGURES = ("compliance", "structure", "interventions", "score", "completion_tokens")


def taught(gaps: float) -> HFModel:
    """The pilot, fine-tuned on the template, of which a share of the lessons omits a part."""
    model = HFModel.load(str(FOLDER))
    questions, rng = load_questions(TAUGHT), Random(1)
    played = demonstrate(questions, Habits(), {"rag": 1.0}, seed=1)
    lessons = [list(lesson(one, questions.find(one.question_id), rng, gaps)) for one in played]
    examples = examples_of(lessons, model.tokenizer, [model.tokenizer.eos_token_id])
    fitting: dict[str, Any] = {"num_train_epochs": 6, "per_device_train_batch_size": 16, "learning_rate": 1e-3}
    fitting |= {"seed": 1, "disable_tqdm": True, "logging_strategy": "no"}
    with TemporaryDirectory() as folder:
        fine_tune(model.model, model.tokenizer, examples, Path(folder), **fitting)
    model.model.eval()
    return model


def lesson(played: Trajectory, question: Any, rng: Random, gaps: float) -> Iterator[Segment]:
    """A demonstration of one-shot retrieval in R2P's prompt and template."""
    episode = make_agent("r2p").begin(question)
    episode.add_hits(make_retriever("bm25").search(question.profile, episode.query, episode.fetch_k))
    thought = played.segments[-1].text.partition("<think>")[2].partition("</think>")[0]
    left_out = rng.choice(LEFT_OUT) if rng.random() < gaps else None
    levels = {"Person": thought, "Response": str(played.answer)}
    said = [f"{heading}: {text}" for heading, text in levels.items() if heading != left_out]
    ending = "" if left_out == "answer" else f"\n<answer> {played.answer}</answer>"
    yield Segment("environment", f"{episode.segments[0].text}<think>\nTask:")
    yield Segment("policy", " To tell what is asked.\n" + "\n".join(said) + f"</think>{ending}")


def measure(model: HFModel) -> dict[str, Any]:
    found = {}
    for name, agent in AGENTS.items():
        with TemporaryDirectory() as folder:
            settings = Settings(agent, "taught", ASKED, limit=LIMIT)
            summary = asyncio.run(evaluate(settings, RunDirectory(folder), model=model))
        found[name] = {figure: summary[figure] for figure in FIGURES}
    return found


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.studies.compliance", description=__doc__)
    parser.add_argument("--gaps", type=float, default=0.5, help="the share of the lessons with something left out")
    gaps = parser.parse_args(arguments).gaps
    quieten()
    print(json.dumps({"gaps": gaps, "untaught": measure(HFModel.load(str(FOLDER))), "taught": measure(taught(gaps))}))


if __name__ == "__main__":
    main(sys.argv[1:])
