"""The trainings behind `docs/results-llm.md`, and what is played with them: recipes with changes, and their hours."""

from dataclasses import dataclass, field
from typing import Any, Literal

WORLD, LOCOMO = "pr2-world-smollm2", "pr2-locomo-smollm2"
WORLD_RAG, LOCOMO_RAG = "rag-world-smollm2", "rag-locomo-smollm2"
WORLD_LESSONS, WORLD_RAG_LESSONS = "world-lessons", "rag-world-lessons"  # a warm start for all seeds
LESSONS = (WORLD_LESSONS, WORLD_RAG_LESSONS)
HOURS = 20.0  # of the machine; each of its cores has a run of its own
FOLDS = (  # of LoCoMo's conversations: those that train, the one that is watched, those that are tested
    ("conv-42+conv-43+conv-44+conv-47", "conv-41", "conv-26+conv-30"),
    ("conv-26+conv-30+conv-44+conv-47", "conv-43", "conv-41+conv-42"),
    ("conv-30+conv-41+conv-42+conv-47", "conv-26", "conv-43+conv-44"),
)
BEST_ONE_SHOT = "hybrid:bm25+dense,context=2,dates=true,weights=2+1"  # of docs/retrieval.md, at 15 turns
_R2P = "r2p:candidates=1,interventions={}"  # corrections of one text
_MAIN = ("stages.grpo.conclusion.controls=[pr2]",)
_RAG = ("stages.sft.agent=rag", "stages.grpo.agent=rag", "stages.grpo.conclusion={controls: [rag], oracle: null}")
_PLAIN = tuple(f"stages.grpo.{name}=null" for name in ("advantage", "turn", "scale_rewards"))  # as PR2's paper has it
_ONE_SEED = ("stages.grpo.conclusion={controls: [], oracle: null}", "stages.grpo.data.test.test_unseen=null")
_NO_BASELINE = ("stages.grpo.group.baseline=0", "stages.grpo.advantage=none+turn")
_SHOWN_AT_ONCE = tuple(
    f"stages.{stage}.episode.{change}"
    for stage in ("sft", "grpo")
    for change in ("tools=null", "max_shown=null", "top_k=15")
)
_LORA = r"{rank: 16, targets: 'model\.layers\.[12]\d\..*_proj'}"
_LESSONS = "{steps: 60, batch: 8, learning_rate: 1.0e-3, warmup: 5}"
_STEPS = "{steps: 24, questions: 4, learning_rate: 1.0e-4}"
_DEADLINE = "stages.{}.generation.deadline=7200"  # seconds of an episode, on a core that others may use, too
_PRLM = (
    *map(_DEADLINE.format, ("base", "rm", "grpo")),
    *("model=smollm2", f"stages.base.lora={_LORA}", "stages.base.lessons.limit=240"),
    *(f"stages.base.optimiser={_LESSONS}", "stages.base.conclusion.questions=60", "stages.rm.limit=160"),
    *(f"stages.grpo.lora={_LORA}", f"stages.grpo.optimiser={_STEPS}"),
    "stages.grpo.conclusion={controls: [rag, prlm], questions: 60}",
)
_TAGPR = (
    *map(_DEADLINE.format, ("sft", "prmu", "guided", "exploratory")),
    *("model=smollm2", f"stages.sft.lora={_LORA}", "stages.sft.lessons.limit=400"),
    *(f"stages.sft.optimiser={_LESSONS}", "stages.sft.conclusion.questions=60"),
    *("stages.prmu.limit=160", "stages.prmu.epochs=2"),
    *(f"stages.guided.lora={_LORA}", f"stages.guided.optimiser={_STEPS}", "stages.guided.conclusion.questions=60"),
    *(f"stages.exploratory.lora={_LORA}", f"stages.exploratory.optimiser={_STEPS}"),
    "stages.exploratory.conclusion.questions=60",
)


@dataclass(frozen=True, slots=True)
class Arm:
    """A recipe with changes, trained on so many seeds or folds, in so many minutes of a core each."""

    recipe: str
    minutes: int
    changes: tuple[str, ...] = ()
    repeats: int = 1
    begins: str = ""  # the arm whose warm start it takes, at the same seed or fold if that arm has several
    differs: str = ""  # in what, from the main recipe


@dataclass(frozen=True, slots=True)
class Trial:
    """What a finished run's policy plays on its test set with other settings than it was trained with."""

    arm: str
    who: Literal["trained", "untrained"]
    minutes: int
    changes: dict[str, Any] = field(default_factory=dict)
    data: str = ""  # after the spec of the test set
    repeats: int = 1
    differs: str = ""  # in what, from how the main run is tested


ARMS = {
    WORLD_LESSONS: Arm(WORLD, 50, ("stages.grpo=null",)),
    WORLD_RAG_LESSONS: Arm(WORLD, 45, ("stages.sft.agent=rag", "stages.grpo=null")),
    WORLD: Arm(WORLD, 75, _MAIN, 3, begins=WORLD_LESSONS),
    LOCOMO: Arm(LOCOMO, 110, repeats=3),
    WORLD_RAG: Arm(WORLD, 50, (*_RAG, *_PLAIN), 3, begins=WORLD_RAG_LESSONS),
    LOCOMO_RAG: Arm(LOCOMO, 80, (*_RAG, *_SHOWN_AT_ONCE), 3),
    "world-plain": Arm(
        WORLD,
        75,
        (*_MAIN, *_PLAIN),
        begins=WORLD_LESSONS,
        differs="one advantage for all turns, divided by deviations, as in PR2's paper",
    ),
    "world-one-search": Arm(
        WORLD,
        40,
        (*_ONE_SEED, "stages.grpo.episode.max_searches=1"),
        begins=WORLD_LESSONS,
        differs="one search at most, in training and test",
    ),
    "world-no-baseline": Arm(
        WORLD,
        60,
        (*_ONE_SEED, *_NO_BASELINE),
        begins=WORLD_LESSONS,
        differs="no rollout without the profile in the group",
    ),
    "world-delta": Arm(
        WORLD,
        60,
        (*_ONE_SEED, "stages.grpo.advantage=delta+turn"),
        begins=WORLD_LESSONS,
        differs="the advantage is what a rollout scores over the one without the profile",
    ),
    "prlm": Arm("prlm-world-lamp-5", 60, _PRLM),
    "tagpr": Arm("tagpr-world-lamp-2", 110, _TAGPR),
    "locomo-no-read-around": Arm(
        LOCOMO,
        65,
        (*_ONE_SEED, "stages.grpo.episode.tools=search_profile+latest"),
        begins=LOCOMO,
        differs="`latest` in place of `read_around`",
    ),
}
STARTS = {arm.begins for arm in ARMS.values()}
TRIALS = {
    "world-as-it-comes": Trial(
        WORLD, "untrained", 8, {"model": "smollm2"}, differs="SmolLM2 without lessons or training"
    ),
    "world-sampled": Trial(WORLD, "trained", 4, {"temperature": 0.7}, repeats=3),
    "world-sampled-before": Trial(WORLD, "untrained", 4, {"temperature": 0.7}),
    "rag-world-sampled": Trial(WORLD_RAG, "trained", 4, {"temperature": 0.7}, repeats=3),
    "world-k-1": Trial(WORLD, "trained", 4, {"top_k": 1}, differs="one post a search, not three"),
    "world-k-5": Trial(WORLD, "trained", 5, {"top_k": 5}, differs="five posts a search, not three"),
    "world-2-searches": Trial(WORLD, "trained", 4, {"max_searches": 2}, differs="two searches at most, not four"),
    "world-hybrid": Trial(WORLD, "trained", 4, {"retriever": "hybrid"}, differs="`hybrid` in place of `bm25`"),
    "world-r2p": Trial(WORLD, "untrained", 6, {"agent": "r2p:candidates=3,interventions=3"}),
    "world-r2p-thrice": Trial(WORLD, "untrained", 4, {"agent": _R2P.format(3)}),
    "world-r2p-twice": Trial(WORLD, "untrained", 4, {"agent": _R2P.format(2)}),
    "world-r2p-never": Trial(WORLD, "untrained", 4, {"agent": _R2P.format(0)}),
    "world-as-it-comes-r2p-thrice": Trial(WORLD, "untrained", 8, {"agent": _R2P.format(3), "model": "smollm2"}),
    "world-as-it-comes-r2p-never": Trial(WORLD, "untrained", 8, {"agent": _R2P.format(0), "model": "smollm2"}),
    "world-rpm": Trial(
        WORLD, "untrained", 40, {"agent": "rpm", "limit": 12}, differs="RPM, by the policy after the warm start"
    ),
    "locomo-as-it-comes": Trial(
        LOCOMO, "untrained", 15, {"model": "smollm2", "limit": 60}, differs="SmolLM2 without lessons or training"
    ),
    "locomo-sampled": Trial(LOCOMO, "trained", 12, {"temperature": 0.7}, differs="temperature 0.7, as in training"),
    "locomo-sampled-before": Trial(
        LOCOMO, "untrained", 12, {"temperature": 0.7}, differs="temperature 0.7, the policy after the warm start"
    ),
    "locomo-bm25": Trial(
        LOCOMO, "trained", 12, {"retriever": "bm25:context=2,dates=true"}, differs="`bm25` in place of the hybrid"
    ),
    "locomo-script": Trial(LOCOMO, "untrained", 1, {"model": "scripted:searcher"}, repeats=3),
    "locomo-lessons": Trial(LOCOMO, "untrained", 1, {"model": "scripted:explorer"}, repeats=3),
    "locomo-one-shot": Trial(
        LOCOMO,
        "untrained",
        2,
        {"agent": "rag", "model": "scripted:searcher", "retriever": BEST_ONE_SHOT, "top_k": 15}
        | {"tools": None, "max_shown": None},
        repeats=3,
    ),
    "locomo-adversarial": Trial(LOCOMO, "trained", 8, data="categories=5"),
    "locomo-adversarial-before": Trial(LOCOMO, "untrained", 8, data="categories=5"),
}
