"""The tables of LoCoMo in `docs/results-llm.md`."""

from collections.abc import Iterator, Sequence

from ..evaluation.intervals import Interval
from ..evaluation.multi_seed import BySeed, Selection, difference, mean
from ..training.report.comparison import UNTRAINED
from .llm_arms import LOCOMO, LOCOMO_RAG
from .llm_rows import Who, count, pooled, shown
from .llm_runs import Bench
from .page import UNKNOWN, claim, more, table

HABITS = ("fold", "a question", "calls", "repeats the question", "names a speaker", "read_around")
LOCOMO_ROWS = (
    Who("PR2, trained", LOCOMO),
    Who("PR2, after the warm start", LOCOMO, UNTRAINED),
    Who("one-shot RAG, trained", LOCOMO_RAG),
    Who("one-shot RAG, after its warm start", LOCOMO_RAG, UNTRAINED),
    Who("the best one-shot retriever", "locomo-one-shot"),
    Who("`scripted:searcher`", "locomo-script"),
    Who("`scripted:explorer`, the lessons' player", "locomo-lessons"),
)

ADVERSARIAL_ROWS = (
    Who("PR2, trained", "locomo-adversarial"),
    Who("PR2, after the warm start", "locomo-adversarial-before"),
)


def locomo(bench: Bench) -> str:
    """Evidence and answers over the conversations of all folds; intervals over questions, which take these as given."""
    main = pooled(bench.played(LOCOMO, "test"))
    rows = []
    for who in LOCOMO_ROWS:
        played = bench.played(who.arm, "test", who.who)
        found = pooled(played)
        rows.append(
            (
                *(who.name, count(played), _people(played)),
                shown(mean(Selection(found, "evidence"))),
                "" if who.name == LOCOMO_ROWS[0].name else shown(_less(main, found, "evidence"), "+"),
                *(shown(mean(Selection(found, metric))) for metric in ("score", "searches")),
            )
        )
    heads = ("who", "folds, questions", "conversations", "evidence", "PR2 trained less it", "F1", "calls")
    best = pooled(bench.played("locomo-one-shot", "test"))
    before = pooled(bench.played(LOCOMO, "test", UNTRAINED))
    evidence = [
        more("less the best one-shot retriever", _less(main, best, "evidence")),
        more("less the best one-shot retriever", _less(main, best, "evidence"), 0.08),
        more("less before training", _less(main, before, "evidence")),
    ]
    answers = [
        more("less the trained one-shot RAG", _less(main, pooled(bench.played(LOCOMO_RAG, "test")), "score")),
        more("less before training", _less(main, before, "score")),
    ]
    told = [
        claim("Evidence with at most 15 turns shown, trained PR2 less others, over questions.", evidence),
        claim("F1 of the answers, trained PR2 less others, over the questions of the folds that both have.", answers),
    ]
    habits = table(("queries", *HABITS), list(_habits(bench)))
    return "\n\n".join([table(heads, rows), *told, _answers(bench), habits, _adversarial(bench)])


def _answers(bench: Bench) -> str:
    """F1 by kind of question, where both were shown all evidence: what is left is how they answer."""
    sides = [Selection(pooled(bench.played(arm, "test"))) for arm in (LOCOMO, LOCOMO_RAG)]
    both = set.intersection(*(_with_all_evidence(side) for side in sides))
    kinds = {name: found.category or UNKNOWN for by in sides[0].runs.values() for name, found in by.items()}
    rows = []
    for kind in (None, *sorted({kinds[name] for name in both})):
        one, other = (side.restricted_to({n for n in both if kind in (None, kinds[n])}) for side in sides)
        less = shown(difference(one, other), "+")
        rows.append((kind or "all", *(shown(mean(side)) for side in (one, other)), less))
    heads = ("F1, where both were shown all evidence", "PR2, trained", "one-shot RAG, trained", "PR2 less RAG")
    return table(heads, rows)


def _with_all_evidence(side: Selection) -> set[str]:
    return {name for by in side.runs.values() for name, found in by.items() if found.values.get("evidence") == 1}


def _adversarial(bench: Bench) -> str:
    """Questions that the conversation does not answer: who answers all the same?"""
    rows = []
    for who in ADVERSARIAL_ROWS:
        played = bench.played(who.arm, "test")
        sides = (Selection(pooled(played), metric) for metric in ("score", "baseline", "searches"))
        rows.append((who.name, count(played), *(shown(mean(side)) for side in sides)))
    heads = ("on questions that nothing said answers", "folds, questions", "score", "without the profile", "calls")
    return table(heads, rows)


def _habits(bench: Bench) -> Iterator[Sequence[str]]:
    for run, record in bench.records(LOCOMO):
        yield from ((who, str(run.number), *found) for who, found in record.habits.items())


def _less(one: BySeed, other: BySeed, metric: str) -> Interval:
    return difference(Selection(one, metric), Selection(other, metric))


def _people(played: BySeed) -> str:
    return str(len({found.user for by_question in played.values() for found in by_question.values()}))
