"""TagPR's training data: chains of thought with good answers, cut into steps, each tagged by a labeller model."""

import asyncio
import json
import re
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

MAX_CONCURRENCY = 64
_DROPPED = "dropped.jsonl"
_SENTENCE = re.compile(r"\S.*?(?:(?<=[.!?])(?=\s)|$)\s*", re.MULTILINE)  # with the whitespace after it
_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*<answer>.*</answer>\s*\Z", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"^\W*(\d+)\W+([a-z_]+)\W*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Tagging:
    """A run of chains to tag, the model that labels them, and the lowest score of a chain to keep; None keeps any."""

    run: str
    labeller: str
    least: float | None = 1.0


class UnusableChain(Exception):
    """The reason why a chain is dropped."""


def tag(settings: Tagging, out: Path, labeller: Model | None = None) -> dict[str, Any]:
    """Write the tagged episodes and, to `tagging.json`, how many were kept, dropped and failed; return these counts.

    Called again, it labels only the chains that failed or were not reached.
    """
    chains = RunDirectory(out)
    with chains.writing(asdict(settings)):
        report = asyncio.run(_tag(settings, chains, labeller or make_model(settings.labeller)))
        chains.write_json("tagging.json", report)
        return report


async def label(model: Model, question: Question, sentences: Sequence[str]) -> list[str]:
    """The tag that the model gives to each sentence."""
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
            raise UnusableChain(f"sentence {number} has no known tag")
    return labels


def steps(sentences: Sequence[str], labels: Sequence[str]) -> str:
    """Consecutive sentences with one tag make one step; line breaks are kept."""
    rows = groupby(zip(labels, map(_kept, sentences), strict=True), key=lambda pair: pair[0])
    return "\n".join(f"<{label}>{''.join(text for _, text in row).rstrip()}</{label}>" for label, row in rows)


def _kept(sentence: str) -> str:
    space = sentence[len(sentence.rstrip()) :]
    return clean(sentence) + ("\n" if "\n" in space else " ")


async def _tag(settings: Tagging, chains: RunDirectory, labeller: Model) -> dict[str, Any]:
    run = RecordedRun(RunDirectory(settings.run))
    kept = {one.id for one in chains.trajectories()}
    dropped = {record["id"]: record["why"] for record in _lines(chains.path / _DROPPED)}
    failed = Counter[str]()
    waiting = (t for t in run.trajectories() if _id(t) not in kept | dropped.keys())
    try:
        with chains.writer() as keep, LineWriter(chains.path / _DROPPED) as drop:
            async for name, found in map_unordered(partial(_chain, settings, run, labeller), waiting, MAX_CONCURRENCY):
                match found:
                    case Trajectory():
                        keep.write(found)
                        kept.add(name)
                    case UnusableChain():
                        drop.append(json.dumps({"id": name, "why": str(found)}, ensure_ascii=False))
                        dropped[name] = str(found)
                    case _:
                        failed[str(found)] += 1
    finally:
        await labeller.close()
    return {"kept": len(kept), "dropped": dict(Counter(dropped.values()).most_common()), "failed": dict(failed)}


async def _chain(
    settings: Tagging, run: RecordedRun, labeller: Model, played: Trajectory
) -> tuple[str, Trajectory | UnusableChain | ModelError]:
    """The episode as `tagpr`, or its baseline, would have played it, or the reason why there is none.

    A `ModelError` may be tried again.
    """
    try:
        question, sentences = run.find(played.question_id), _sentences(played, settings.least)
        labels = await label(labeller, question, sentences)
        return _id(played), _played_again(run, question, played, steps(sentences, labels))
    except BudgetSpent:
        raise
    except (UnusableChain, ModelError) as reason:
        return _id(played), reason


def _sentences(played: Trajectory, least: float | None) -> list[str]:
    """The sentences of the thought, if the episode is one thought with a good answer."""
    score, turns = score_of(played), [segment for segment in played.segments if segment.author == "policy"]
    if least is not None and (score is None or score < least):
        raise UnusableChain(f"the answer scored less than {least:g}")
    plain = len(turns) == 1 and len(played.searches) == (played.kind == "personalised")
    found = _THOUGHT.match(turns[0].text) if plain else None
    sentences = _SENTENCE.findall(found[1]) if found else []
    if not sentences:
        raise UnusableChain("it is not one thought and an answer, after one search if personalised")
    return sentences


def _played_again(run: RecordedRun, question: Question, played: Trajectory, thought: str) -> Trajectory:
    options = {name: run.settings[name] for name in ("top_k", "hit_chars") if run.settings.get(name) is not None}
    agent = make_agent("tagpr")
    if played.kind == "baseline":
        agent = Unpersonalised(agent.instructions)
    episode: Episode = agent.begin(question, id=_id(played), data=played.data, seed=played.seed, **options)
    for search in played.searches:
        episode.add_hits([Hit(question.profile.by_id[name], score or 0.0) for name, score in search.hits])
    # The pilot's tokenizer has words with a leading space as one token.
    episode.write(f"<think>\n{thought}\n</think>\n<answer> {clean(played.answer or '')}</answer>")
    problem = tagged(episode.segments).problem
    if problem:
        raise UnusableChain(problem)
    episode.score(played.reward or Reward(None, unscored="it was not scored"))
    trajectory = episode.trajectory()
    trajectory.agent, trajectory.model = agent.name, played.model
    return trajectory


def _id(played: Trajectory) -> str:
    agent = "tagpr" if played.kind == "personalised" else "none"
    return f"{played.question_id}:{agent}:{played.id.rpartition(':')[2]}"


def _lines(path: Path) -> list[dict[str, str]]:
    """The complete lines; a killed run may leave half a line."""
    written = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in written if line.endswith("}\n")]
