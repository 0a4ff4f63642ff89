"""The claims of PR2's paper: a table and verdicts for each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

from .._util.counted import counted
from ..evaluation.intervals import Interval
from ..evaluation.multi_seed import Selection, difference, mean, ratio
from ..training.grpo.resuming import EVALUATIONS
from ..training.report.comparison import ORACLE, STARTING, TRAINED, UNTRAINED
from .arms import ARMS, MAIN, ONE_SHOT, OTHER_TOOLS, Bench, elsewhere, greedy
from .page import change, claim, count, figure, more, no_worse, table

HOPS = (0, 1, 2)
OF_THE_ORACLE = {"test": 0.9, "test_unseen": 0.8}
OF_THE_BEST = 1.3
MODES = {
    MAIN: "`joint`",
    "pr2-world-no-baseline": "without it",
    "pr2-world-delta": "`delta`",
    "pr2-world-code": "`code`",
}
LEARNED = {MAIN: "`masked`", "pr2-world-positive": "`positive`", "pr2-world-all": "`all`"}
POSTS = {"pr2-world-top-k-1": "1", MAIN: "3", "pr2-world-top-k-5": "5", "pr2-world-top-k-10": "10"}
BY_CHANCE = "random"  # a retriever that ignores the query
TRAINED_RAG = "`rag`, trained"

Parts = Iterator[str]
Row = tuple[str, str, Callable[[str], Iterable[str]]]  # name, arm, and the seeds and figures on a test set


class Paper:
    """Reads the finished runs; a missing one is listed with the command that makes it."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._recipe = bench, bench.recipe(MAIN)
        self._tests = list(self._recipe.data.test)

    def write(self) -> str:
        sections: dict[str, Callable[[], Parts]] = {
            "PR2 beside its controls": self._controls,
            "Greedy": self._greedy,
            "When it searches": self._searches,
            "While it learns": self._course,
            "The rollout without the profile": self._modes,
            "What is learned from that rollout": self._learned,
            "Posts a search": self._posts,
            "Other tools than it learned with": self._elsewhere,
        }
        told = "\n\n".join(part for heading, section in sections.items() for part in (f"### {heading}", *section()))
        return "\n\n".join([self._asked(), count(told), told])

    def _asked(self) -> str:
        count = self._recipe.conclusion.questions
        return "\n".join(f"- {test}: {count:,} questions of `{data}`" for test, data in self._recipe.data.test.items())

    def _controls(self) -> Parts:
        names = [f"`{who}`" for who in self._bench.contenders(MAIN)]
        rows: list[Row] = [(name, MAIN, partial(self._beside, name)) for name in names]
        rows.append((TRAINED_RAG, ONE_SHOT, partial(self._beside, TRAINED_RAG)))
        yield (
            f"{TRAINED_RAG}, began with the same pilot and learned for as many steps from the same questions with the "
            "same seeds; it is shown what one search for the question finds, and learns to answer from that."
        )
        yield self._table(("who", "score", "of the oracle", "trained less it"), rows)
        best = {test: self._best_control(test) for test in self._tests}
        yield self._claim(
            "The paper: PR2 answers better than strong baselines, on LaMP-QA by 8.8 to 12 %, a mean over three LLMs. "
            "Here: than the best control, trained or not.",
            lambda test: more(f"{test}, less {_named(best[test])}", self._less_who(test, best[test])),
        )
        yield self._claim(
            "Ours: searching in several steps is worth more than training a one-shot RAG.",
            lambda test: more(f"{test}, less {TRAINED_RAG}", self._less_who(test, TRAINED_RAG)),
        )
        yield self._claim(
            "Ours: training helps a one-shot RAG as well.",
            lambda test: more(
                f"{test}, {TRAINED_RAG}, less `rag`", difference(self._who(TRAINED_RAG, test), self._who("`rag`", test))
            ),
        )
        times = {test: ratio(self._side(MAIN, test), self._who(who, test)) for test, who in best.items()}
        yield self._claim(
            f"Ours: {OF_THE_BEST} times the best control, trained or not, and most of what the oracle has.",
            lambda test: more(f"{test}, over {_named(best[test])}", times[test], OF_THE_BEST),
            lambda test: more(f"{test}, over the oracle", self._of_the_oracle(MAIN, test), OF_THE_ORACLE[test]),
        )

    def _claim(self, said: str, *verdicts: Callable[[str], str]) -> str:
        """The claim, with each verdict on every test set."""
        return claim(said, (verdict(test) for verdict in verdicts for test in self._tests))

    def _less_who(self, test: str, name: str) -> Interval:
        return difference(self._side(MAIN, test), self._who(name, test))

    def _who(self, name: str, test: str) -> Selection:
        """The side with this row name."""
        return self._side(ONE_SHOT, test) if name == TRAINED_RAG else self._side(MAIN, test, name.strip("`"))

    def _best_control(self, test: str) -> str:
        """The row name of the control with the highest score; empty if none has played."""
        controls = [*(f"`{who}`" for who in self._controls_of(MAIN)), TRAINED_RAG]
        return _highest({who: mean(self._who(who, test)).mean for who in controls})

    def _beside(self, who: str, test: str) -> Parts:
        other = self._who(who, test)
        yield _seeds(other)
        yield figure(mean(other))
        yield figure(ratio(other, self._side(MAIN, test, ORACLE)))
        yield "" if who == f"`{TRAINED}`" else figure(self._less_who(test, who), "+")

    def _greedy(self) -> Parts:
        """Part of the gain at temperature 1 is that the trained policy samples unlikely tokens less often."""
        at = {"1": self._side, "0": self._greedily}
        rows: list[Row] = [(temperature, MAIN, partial(self._change, sides)) for temperature, sides in at.items()]
        yield "All else on this page is drawn at temperature 1; at 0 the likeliest token is taken each time."
        yield self._table(("temperature", "untrained", "trained", "trained less untrained"), rows)
        yield self._claim(
            "Ours: training gains more than that fewer unlikely tokens are drawn.",
            lambda test: more(
                f"{test}, at temperature 0",
                difference(*(self._greedily(MAIN, test, who) for who in (TRAINED, UNTRAINED))),
            ),
        )

    def _change(self, sides: Callable[[str, str, str], Selection], test: str) -> Parts:
        before, after = (sides(MAIN, test, who) for who in (UNTRAINED, TRAINED))
        yield _seeds(after)
        yield figure(mean(before))
        yield figure(mean(after))
        yield figure(difference(after, before), "+")

    def _greedily(self, arm: str, test: str, who: str) -> Selection:
        return Selection(self._bench.played(arm, greedy(test, who)))

    def _searches(self) -> Parts:
        heads = (*(f"searches, {counted(hops, 'hop')}" for hops in HOPS), "score, 0 hops")
        rows: list[Row] = [(f"`{arm}`", arm, partial(self._by_hops, arm)) for arm in ARMS]
        yield "Before training → after it, and the difference."
        yield self._table(("recipe", *heads), rows)
        yield self._claim(
            "The paper: the policy learns when to retrieve.",
            lambda test: more(f"{test}, searches on 2 hops less those on 0", self._by_need(test)),
            lambda test: no_worse(f"{test}, score on 0 hops", self._gained(MAIN, test, "score", 0)),
        )
        yield claim(
            "The paper: the number of retrievals rises during training.",
            (
                more(f"{test}, searches on {where}", self._gained(MAIN, test, "searches", hops))
                for test in self._tests
                for where, hops in (("all questions", None), ("2 hops", 2))
            ),
        )

    def _by_hops(self, arm: str, test: str) -> Parts:
        yield _seeds(self._side(arm, test))
        for metric, hops in (*(("searches", hops) for hops in HOPS), ("score", 0)):
            before, after = (mean(self._side(arm, test, who, metric, hops)) for who in (UNTRAINED, TRAINED))
            yield change(before, after, self._gained(arm, test, metric, hops))

    def _by_need(self, test: str) -> Interval:
        return difference(*(self._side(MAIN, test, TRAINED, "searches", hops) for hops in (2, 0)))

    def _gained(self, arm: str, test: str, metric: str, hops: int | None) -> Interval:
        return difference(*(self._side(arm, test, who, metric, hops) for who in (TRAINED, UNTRAINED)))

    def _course(self) -> Parts:
        every, last = self._recipe.watch.evaluate, self._recipe.optimiser.steps
        steps = (*range(0, last, every), last)
        played = {step: self._bench.played(MAIN, f"{EVALUATIONS}/step-{step}") for step in steps}
        columns = [("score", None), ("baseline", None), ("gain", None), *(("searches", hops) for hops in HOPS)]
        heads = ("score", "without the profile", "gain", *(f"searches, {counted(hops, 'hop')}" for hops in HOPS))
        rows = [
            (str(step), _seeds(Selection(of)), *(figure(mean(Selection(of, metric, hops))) for metric, hops in columns))
            for step, of in played.items()
        ]
        yield "On the validation questions."
        yield table(("step", "seeds", *heads), rows if any(played.values()) else [_missing("0", MAIN, len(heads))])
        yield claim(
            "The paper: the reward is stable during training.",
            (
                no_worse(
                    f"score at step {later}, less that at {earlier}",
                    difference(Selection(played[later]), Selection(played[earlier])),
                )
                for earlier, later in pairwise(played)
            ),
        )

    def _modes(self) -> Parts:
        yield self._arms("advantage", MODES)
        yield self._claim(
            "The paper: rollouts without personalisation in the advantage matter.",
            lambda test: more(f"{test}, less without them", self._less_arm(test, "pr2-world-no-baseline")),
        )
        others = {arm: mode for arm, mode in MODES.items() if "`" in mode and arm != MAIN}
        yield claim(
            "Ours: `joint`, the default, is no worse than the other modes that have them.",
            (
                no_worse(f"{test}, less {mode}", self._less_arm(test, arm))
                for arm, mode in others.items()
                for test in self._tests
            ),
        )

    def _learned(self) -> Parts:
        heads = ("score", "its own without the profile", "gain over that", "gain over the starting policy's")
        rows: list[Row] = [(name, arm, partial(self._two_gains, arm)) for arm, name in LEARNED.items()]
        yield self._table(("`train_baseline`", *heads), rows)
        yield self._claim(
            "Ours: a policy that learns nothing from it keeps what it could do without the profile.",
            lambda test: no_worse(
                f"{test}, less the starting policy's",
                difference(self._side(MAIN, test, metric="baseline"), self._side(MAIN, test, STARTING)),
            ),
        )
        others = [(arm, name, test) for arm, name in LEARNED.items() if arm != MAIN for test in self._tests]
        without = (more(f"{test}, without, {of}", self._less_main(arm, test, "baseline")) for arm, of, test in others)
        with_it = (no_worse(f"{test}, with, {of}", self._less_main(arm, test)) for arm, of, test in others)
        yield claim(
            "Ours: one that learns from it does better without the profile, and no worse with it.", [*without, *with_it]
        )

    def _less_arm(self, test: str, arm: str) -> Interval:
        return difference(self._side(MAIN, test), self._side(arm, test))

    def _less_main(self, arm: str, test: str, metric: str = "score") -> Interval:
        return difference(*(self._side(of, test, metric=metric) for of in (arm, MAIN)))

    def _two_gains(self, arm: str, test: str) -> Parts:
        yield _seeds(self._side(arm, test))
        for metric in ("score", "baseline"):
            yield figure(mean(self._side(arm, test, metric=metric)))
        yield figure(mean(self._side(arm, test, metric="gain")), "+")
        yield figure(self._over(arm, test, STARTING), "+")

    def _posts(self) -> Parts:
        yield self._arms("posts", POSTS)
        yield (
            "The pilot that all of these begin with has only ever been shown three posts a search: its lessons have no "
            "other number. So the number of posts is confounded with what it has learned to read, and a best number of "
            "three says nothing of the number by itself."
        )
        yield claim(
            "The paper: there is a best number of posts, neither the fewest nor the most.",
            (told for test in self._tests for told in self._best_number(test)),
        )

    def _best_number(self, test: str) -> Parts:
        """The best of the numbers in between, compared with the smallest and the largest."""
        fewest, *between, most = POSTS
        scores = {arm: mean(self._side(arm, test)).mean for arm in POSTS}
        best = _highest({arm: scores[arm] for arm in between})
        if None in scores.values():
            yield f"{test}: not known"
            return
        for end in (fewest, most):
            yield more(
                f"{test}, {POSTS[best]} less {POSTS[end]}", difference(self._side(best, test), self._side(end, test))
            )

    def _elsewhere(self) -> Parts:
        heads = ("score", "less as trained", "less `untrained`", "searches")
        rows: list[Row] = [(name, MAIN, partial(self._with_tools, name)) for name in OTHER_TOOLS]
        yield self._table(("with", *heads), rows)
        yield claim(
            "Ours: with another k or retriever it is still better than the untrained policy with its own.",
            (
                more(f"{test}, {name}", difference(self._tools(test, name), self._side(MAIN, test, UNTRAINED)))
                for test in self._tests
                for name in OTHER_TOOLS
                if name != BY_CHANCE
            ),
        )
        yield self._claim(
            "Ours: what is found matters, not that something is.",
            lambda test: more(
                f"{test}, as trained less {BY_CHANCE}", difference(self._side(MAIN, test), self._tools(test, BY_CHANCE))
            ),
        )

    def _with_tools(self, name: str, test: str) -> Parts:
        played = self._tools(test, name)
        yield _seeds(played)
        yield figure(mean(played))
        for who in (TRAINED, UNTRAINED):
            yield figure(difference(played, self._side(MAIN, test, who)), "+")
        yield figure(mean(self._tools(test, name, "searches")))

    def _tools(self, test: str, name: str, metric: str = "score") -> Selection:
        return Selection(self._bench.played(MAIN, elsewhere(test, name)), metric)

    def _arms(self, of: str, arms: Mapping[str, str]) -> str:
        rows: list[Row] = [(name, arm, partial(self._standing, arm)) for arm, name in arms.items()]
        return self._table((of, "score", "less its best control", "of the oracle", f"less `{MAIN}`"), rows)

    def _standing(self, arm: str, test: str) -> Parts:
        best = self._best(arm, test)
        yield _seeds(self._side(arm, test))
        yield figure(mean(self._side(arm, test)))
        yield f"{figure(self._over(arm, test, best), '+')} `{best}`"
        yield figure(self._of_the_oracle(arm, test))
        yield "" if arm == MAIN else figure(self._less_main(arm, test), "+")

    def _table(self, heads: Sequence[str], rows: Sequence[Row]) -> str:
        lines: list[Sequence[str]] = []
        for name, arm, figures in rows:
            told = [(name, test, *figures(test)) for test in self._tests]
            lines += told if any(line[2] != "0" for line in told) else [_missing(name, arm, len(heads) + 1)]
        return table((heads[0], "on", "seeds", *heads[1:]), lines)

    def _side(
        self, arm: str, test: str, who: str = TRAINED, metric: str = "score", hops: int | None = None
    ) -> Selection:
        return Selection(self._bench.played(arm, f"{EVALUATIONS}/{test}/{who}"), metric, hops)

    def _over(self, arm: str, test: str, who: str) -> Interval:
        return difference(self._side(arm, test), self._side(arm, test, who))

    def _of_the_oracle(self, arm: str, test: str) -> Interval:
        return ratio(self._side(arm, test), self._side(arm, test, ORACLE))

    def _best(self, arm: str, test: str) -> str:
        """The control with the highest score; empty if none has played."""
        return _highest({who: mean(self._side(arm, test, who)).mean for who in self._controls_of(arm)})

    def _controls_of(self, arm: str) -> list[str]:
        return [who for who in self._bench.contenders(arm) if who not in (TRAINED, ORACLE)]


def _highest(scores: Mapping[str, float | None]) -> str:
    known = {who: score for who, score in scores.items() if score is not None}
    return max(known, key=known.__getitem__, default="")


def _seeds(side: Selection) -> str:
    return str(len(side.runs))


def _missing(name: str, arm: str, more_cells: int) -> Sequence[str]:
    command = f"python -m profilegym.studies.results training --only {arm}"
    return (name, f"not run: `{command}`", *[""] * (more_cells - 1))


def _named(who: str) -> str:
    return f"{who}, the best control" if who else "the best control"
