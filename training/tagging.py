"""TagPR's data: reasoning that led to good answers, cut into steps, each in the tag that a model says it is.

python -m profilegym.training.tagging RUN_DIR --labeller openai:MODEL --out DIR
"""

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from .._util.jsonl import LineWriter
from .._util.prompts import fill
from ..agents.agent import make_agent
from ..agents.models.model import Model, make_model
from ..agents.pr2 import Unpersonalised
from ..agents.prompts import FOLDER
from ..envs.chat import Sampling
from ..envs.episode import Episode
from ..envs.question import Question
from ..envs.retrieval import Hit
from ..envs.reward import Reward
from ..envs.tagpr_tags import TAGS, tagged
from ..envs.text import clean
from ..envs.trajectory import Segment, Trajectory
from ..errors import BudgetSpent, ModelError
from ..evaluation.judging import map_unordered
from ..evaluation.recorded_run import RecordedRun
from ..evaluation.run import RunDirectory
from ..evaluation.summary import score_of

AT_ONCE = 64
_DROPPED = "dropped.jsonl"
_SENTENCE = re.compile(r"\S.*?(?:(?<=[.!?])(?=\s)|$)\s*", re.MULTILINE)  # with the space after it
_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*<answer>.*</answer>\s*\Z", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"^\W*(\d+)\W+([a-z_]+)\W*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """Chains of a run are kept whose answers score at least so much."""

    run: str
    labeller: str
    least: float = 1.0


class NoChain(Exception):
    """Why an episode does not become one to learn from."""


def tag(settings: Settings, out: Path, labeller: Model | None = None) -> dict[str, Any]:
    """What became of the chains. Killed and called again, it asks nothing twice that it has kept or dropped."""
    chains = RunDirectory(out)
    with chains.writing(asdict(settings)):
        return asyncio.run(_tag(settings, chains, labeller or make_model(settings.labeller)))


async def label(model: Model, question: Question, sentences: Sequence[str]) -> list[str]:
    """The tag of each sentence, as the model sees it."""
    numbered = "\n".join(f"{number}. {clean(sentence)}" for number, sentence in enumerate(sentences, 1))
    tags = "\n".join(f"{tag}: {does}" for tag, does in TAGS.items())
    prompt = fill("tagpr_label", FOLDER, tags=tags, question=clean(question.text), sentences=numbered)
    session = model.open(question, 0)
    try:
        turn = await session.generate([Segment("environment", prompt)], Sampling(max_tokens=12 * len(sentences)), ())
    finally:
        session.close()
    found = {int(number): tag.lower() for number, tag in _LABEL.findall(turn.text)}
    labels = [found.get(number, "") for number in range(1, len(sentences) + 1)]
    for number, one in enumerate(labels, 1):
        if one not in TAGS:
            raise NoChain(f"the labeller gave sentence {number} no known tag")
    return labels


def steps(sentences: Sequence[str], labels: Sequence[str]) -> str:
    """Sentences in a row that do the same are one step, on as many lines as they were."""
    rows = groupby(zip(labels, map(_kept, sentences), strict=True), key=lambda pair: pair[0])
    return "\n".join(f"<{label}>{''.join(text for _, text in row).rstrip()}</{label}>" for label, row in rows)


def _kept(sentence: str) -> str:
    space = sentence[len(sentence.rstrip()) :]
    return clean(sentence) + ("\n" if "\n" in space else " ")


async def _tag(settings: Settings, chains: RunDirectory, labeller: Model) -> dict[str, Any]:
    run = RecordedRun(RunDirectory(settings.run))
    kept = {one.id for one in chains.trajectories()}
    dropped = {record["id"]: record["why"] for record in _lines(chains.path / _DROPPED)}
    failed = Counter[str]()
    waiting = (t for t in run.trajectories() if _id(t) not in kept | dropped.keys())
    try:
        with chains.writer() as keep, LineWriter(chains.path / _DROPPED) as drop:
            async for name, found in map_unordered(partial(_chain, settings, run, labeller), waiting, AT_ONCE):
                match found:
                    case Trajectory():
                        keep.write(found)
                        kept.add(name)
                    case NoChain():
                        drop.append(json.dumps({"id": name, "why": str(found)}, ensure_ascii=False))
                        dropped[name] = str(found)
                    case _:
                        failed[str(found)] += 1
    finally:
        await labeller.close()
    return {"kept": len(kept), "dropped": dict(Counter(dropped.values()).most_common()), "failed": dict(failed)}


async def _chain(
    settings: Settings, run: RecordedRun, labeller: Model, played: Trajectory
) -> tuple[str, Trajectory | NoChain | ModelError]:
    """The same episode as TagPR's agent or its baseline would have played it, or why there is none.

    A failure may be tried again.
    """
    try:
        question, sentences = run.find(played.question_id), _sentences(played, settings.least)
        labels = await label(labeller, question, sentences)
        return _id(played), _played_again(run, question, played, steps(sentences, labels))
    except BudgetSpent:
        raise
    except (NoChain, ModelError) as reason:
        return _id(played), reason


def _sentences(played: Trajectory, least: float) -> list[str]:
    """Of the thought, where it is one and led to something."""
    score, turns = score_of(played), [segment for segment in played.segments if segment.author == "policy"]
    if score is None or score < least:
        raise NoChain(f"the answer scored less than {least:g}")
    plain = len(turns) == 1 and len(played.searches) == (played.kind == "personalised")
    found = _THOUGHT.match(turns[0].text) if plain else None
    sentences = _SENTENCE.findall(found[1]) if found else []
    if not sentences:
        raise NoChain("it is not one thought and an answer, after one search where there is a profile")
    return sentences


def _played_again(run: RecordedRun, question: Question, played: Trajectory, thought: str) -> Trajectory:
    options = {name: run.settings[name] for name in ("top_k",) if name in run.settings}
    agent = make_agent("tagpr")
    if played.kind == "baseline":
        agent = Unpersonalised(agent.instructions)
    episode: Episode = agent.begin(question, id=_id(played), data=played.data, seed=played.seed, **options)
    for search in played.searches:
        episode.add_hits([Hit(question.profile.by_id[name], score) for name, score in search.hits])
    # To the pilot a word is one token where a space is before it.
    episode.write(f"<think>\n{thought}\n</think>\n<answer> {clean(played.answer or '')}</answer>")
    problem = tagged(episode.segments).problem
    if problem:
        raise NoChain(problem)
    episode.score(played.reward or Reward(None, unscored="it was not scored"))
    trajectory = episode.trajectory()
    trajectory.agent, trajectory.model = agent.name, played.model
    return trajectory


def _id(played: Trajectory) -> str:
    agent = "tagpr" if played.kind == "personalised" else "none"
    return f"{played.question_id}:{agent}:{played.id.rpartition(':')[2]}"


def _lines(path: Path) -> list[dict[str, str]]:
    """A last line that a killed run left half written is none."""
    written = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in written if line.endswith("}\n")]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m profilegym.training.tagging", description=__doc__)
    parser.add_argument("run", help="of profilegym eval, by an agent that searches once: rag, prlm")
    parser.add_argument("--labeller", required=True, help="a model: openai:MODEL, or scripted:steps for its own chains")
    parser.add_argument("--least", type=float, default=Settings.least, help="what a chain's answer has to score")
    parser.add_argument("--out", required=True, type=Path)
    asked = vars(parser.parse_args(arguments))
    out: Path = asked.pop("out")
    print(json.dumps(tag(Settings(**asked), out), indent=2))  # noqa: T201 (what was asked for)


if __name__ == "__main__":
    main(sys.argv[1:])
