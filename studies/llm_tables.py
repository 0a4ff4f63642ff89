"""The tables of `docs/results-llm.md`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from ..evaluation.multi_seed import BySeed, Selection, difference, mean, ratio
from ..training.report.comparison import ORACLE, TRAINED, UNTRAINED
from .llm_arms import ARMS, LOCOMO, LOCOMO_RAG, TRIALS, WORLD, WORLD_RAG
from .llm_rows import Who, count, pooled, shown
from .llm_runs import Bench
from .page import UNKNOWN, claim, more, table

TESTS = ("test", "test_unseen")
HOPS = {0: "no hop", 1: "one hop", 2: "two hops"}  # of a question of the world
TEMPLATE = ("interventions", "compliance", "structure", "score")
CURVES = ("score", "baseline", "evidence", "searches", "structure")


WORLD_ROWS = (
    Who("PR2, trained", WORLD),
    Who("PR2, after the warm start", WORLD, UNTRAINED),
    Who("one-shot RAG, trained", WORLD_RAG),
    Who("one-shot RAG, after its warm start", WORLD_RAG, UNTRAINED),
    Who("oracle", WORLD, ORACLE),
)
SAMPLED_ROWS = (  # played at the temperature of training
    Who("PR2, trained", "world-sampled"),
    Who("PR2, after the warm start", "world-sampled-before"),
    Who("one-shot RAG, trained", "rag-world-sampled"),
)
R2P_ROWS = (
    Who("as it comes, no correction", "world-as-it-comes-r2p-never"),
    Who("as it comes, at most three", "world-as-it-comes-r2p-thrice"),
    Who("after the warm start, no correction", "world-r2p-never"),
    Who("after the warm start, at most two", "world-r2p-twice"),
    Who("after the warm start, at most three", "world-r2p-thrice"),
    Who("after the warm start, at most three, three candidates", "world-r2p"),
)
METHODS = ("prlm", "tagpr")
ARMS_OF_WORLD = [name for name, arm in ARMS.items() if arm.recipe == WORLD and arm.differs]


def world(bench: Bench) -> str:
    """PR2 and its controls on people whom training never showed."""
    heads = ("who", "on", "seeds, questions", "score", "of the oracle", "PR2 trained less it", "searches", "structure")
    rows = [_world_row(bench, who, test, WORLD_ROWS[0]) for who in WORLD_ROWS for test in TESTS]
    sampled = [_world_row(bench, who, TESTS[0], SAMPLED_ROWS[0]) for who in SAMPLED_ROWS]
    side = partial(_world_side, bench)
    over_rag = (
        more(f"{test}, PR2 over RAG, both trained", ratio(side(WORLD, test), side(WORLD_RAG, test)), 1.3)
        for test in TESTS
    )
    sampled_over_rag = ratio(*(side(who.arm, TESTS[0]) for who in (SAMPLED_ROWS[0], SAMPLED_ROWS[-1])))
    over_oracle = (
        more(f"{test}, over the oracle", ratio(side(WORLD, test), side(WORLD, test, ORACLE)), bound)
        for test, bound in zip(TESTS, (0.9, 0.8), strict=True)
    )
    by_hops = (
        more(f"{test}, {needs}", difference(*(_world_side(bench, arm, test, hops=hops) for arm in (WORLD, WORLD_RAG))))
        for test in TESTS
        for hops, needs in HOPS.items()
    )
    restraint = (
        more(f"{test}, score", difference(*(side(WORLD, test, who, 0) for who in (TRAINED, UNTRAINED))))
        for test in TESTS
    )
    return "\n\n".join(
        [
            table(heads, rows),
            table(
                ("who: score, searches, evidence", "on", *HOPS.values()),
                [_by_hops(bench, who, test) for who in WORLD_ROWS for test in TESTS],
            ),
            table(
                ("who, where no history is needed", "on", "searches", "episodes", "score", "without the profile"),
                [_needing_none(bench, *row) for row in product(WORLD_ROWS[:3], TESTS, (True, False))],
            ),
            claim("Trained PR2 over the best trained control.", over_rag),
            claim("Trained PR2 less the trained RAG, by the hops of the question.", by_hops),
            claim("Most of what the oracle has.", over_oracle),
            claim("On questions that need no history, trained less before.", restraint),
            "Sampled, as in training.",
            table(heads, sampled),
            claim("Trained PR2 over the best trained control.", [more("sampled", sampled_over_rag, 1.3)]),
        ]
    )


def _world_row(bench: Bench, who: Who, test: str, first: Who) -> Sequence[str]:
    played = bench.played(who.arm, test, who.who)
    main, oracle = _world_side(bench, first.arm, test), _world_side(bench, WORLD, test, ORACLE)
    return (
        *(who.name, test, count(played)),
        shown(mean(Selection(played))),
        shown(ratio(Selection(played), oracle)),
        "" if who == first else shown(difference(main, Selection(played)), "+"),
        *(shown(mean(Selection(played, metric))) for metric in ("searches", "structure")),
    )


def _by_hops(bench: Bench, who: Who, test: str) -> Sequence[str]:
    sides = [Selection(bench.played(who.arm, test, who.who), hops=hops) for hops in HOPS]
    told = (", ".join([shown(mean(side)), *(_mean(side, name) for name in _told(side.hops))]) for side in sides)
    return (who.name, test, *told)


def _told(hops: int | None) -> Sequence[str]:
    return ("searches", "evidence") if hops else ("searches",)


def _mean(side: Selection, metric: str) -> str:
    found = mean(replace(side, metric=metric)).mean
    return UNKNOWN if found is None else f"{found:.2f}"


def _needing_none(bench: Bench, who: Who, test: str, searching: bool) -> Sequence[str]:
    """The questions that need no history, where it searches or where it does not."""
    played = {
        seed: {
            name: found
            for name, found in by_question.items()
            if found.hops == 0 and (found.values["searches"] > 0) == searching
        }
        for seed, by_question in bench.played(who.arm, test, who.who).items()
    }
    episodes = str(sum(map(len, played.values())))
    figures = (shown(mean(Selection(played, metric))) for metric in ("score", "baseline"))
    return (who.name, test, "yes" if searching else "no", episodes, *figures)


def one_seed(bench: Bench) -> str:
    """The arms and trials on one seed or fold, beside the main run of the same seed or fold."""
    rows = []
    for name, one in (ARMS | TRIALS).items():
        if one.differs:
            of, metric, pool = (LOCOMO, "evidence", pooled) if "locomo" in name else (WORLD, "score", _as_it_is)
            sides = [Selection(pool(bench.played(who, "test")), metric) for who in (name, of)]
            figures = (shown(mean(sides[0])), shown(difference(*sides), "+"))
            rows.append((f"`{name}`", one.differs, metric, count(sides[0].runs), *figures))
    return "\n\n".join(
        [
            table(("run", "differs in", "figure", "seeds, questions", "mean", "less the main run"), rows),
            "What the arms trained on the world learned, seed 0, by the hops of the question. The start is the policy "
            "after the warm start; in all rows it may search four times.",
            table(("run", "figure", "less", "all", *HOPS.values()), _arms_by_hops(bench)),
        ]
    )


def _arms_by_hops(bench: Bench) -> Sequence[Sequence[str]]:
    """Of the main run, too, less the warm start that it began with."""
    main, start = (_first(bench.played(WORLD, "test", who)) for who in (TRAINED, UNTRAINED))
    sides = {WORLD: main, **{name: bench.played(name, "test") for name in ARMS_OF_WORLD}}
    rows = []
    for name, played in sides.items():
        for metric, (less, reference) in product(("score", "searches"), (("start", start), ("main run", main))):
            if played is not reference:
                of = ((Selection(played, metric, hops), Selection(reference, metric, hops)) for hops in (None, *HOPS))
                rows.append((f"`{name}`", metric, less, *(shown(difference(*pair), "+") for pair in of)))
    return rows


def _first(played: BySeed) -> BySeed:
    return {seed: found for seed, found in played.items() if seed == 0}


def methods(bench: Bench) -> str:
    """PrLM and TagPR: what is trained beside its controls, on the world's titles and tags."""
    rows = []
    for name in METHODS:
        for who in sorted({who for _, record in bench.records(name) for who in record.played.get("test", {})}):
            played, main = bench.played(name, "test", who), bench.played(name, "test")
            less = "" if who == TRAINED else shown(difference(Selection(main), Selection(played)), "+")
            figures = (shown(mean(Selection(played, metric))) for metric in ("baseline", "structure", "compliance"))
            rows.append((f"`{name}`", who, count(played), shown(mean(Selection(played))), less, *figures))
    heads = ("run", "who", "seeds, questions", "score", "trained less it", "without the profile")
    return table((*heads, "structure", "compliance"), rows) if rows else "Not run yet."


def r2p(bench: Bench) -> str:
    """How many outputs keep to R2P's template, with its monitor and without."""
    rows = [(who.name, *_told_of_template(bench.played(who.arm, "test"))) for who in R2P_ROWS]
    return table(("who", "seeds, questions", *TEMPLATE), rows)


def _told_of_template(played: BySeed) -> Sequence[str]:
    return (count(played), *(shown(mean(Selection(played, metric))) for metric in TEMPLATE))


def curves(bench: Bench) -> str:
    """The validation figures of the main recipes by step."""
    rows = [
        (run.label, step, *(f"{found[name]:.3f}" if name in found else UNKNOWN for name in CURVES))
        for name in (WORLD, WORLD_RAG, LOCOMO, LOCOMO_RAG)
        for run, record in bench.records(name)
        for step, found in record.curve.items()
    ]
    return table(("run", "step", *CURVES), rows or [("none yet", *[""] * (len(CURVES) + 1))])


def before_after(bench: Bench) -> str:
    """Questions of the world whose score changed most, with what was searched for before training and after it."""
    rows = [map(_cell, row) for _, record in bench.records(WORLD)[:1] for row in record.changed]
    return (
        table(("question", "training", "searched for", "answer", "score"), map(list, rows)) if rows else "Not run yet."
    )


def _world_side(bench: Bench, arm: str, test: str, who: str = TRAINED, hops: int | None = None) -> Selection:
    return Selection(bench.played(arm, test, who), hops=hops)


def _as_it_is(played: BySeed) -> BySeed:
    return played


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")[:160]
