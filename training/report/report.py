"""`report.html` of a training run: what was learned, in one sentence and in full."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluation.alarms import SIGNS
from ...evaluation.compare import Comparison, Row
from ...evaluation.intervals import BRACKETS, Interval, reach
from ...evaluation.page import Child, Markup, details, join, page, pairs, section, table, tag
from ...evaluation.run import RunDirectory
from ...evaluation.svg import binned, histogram, points
from ...evaluation.transcript import parts
from ..grpo.resuming import BEST
from ..metrics import METRICS, read_metrics
from ..recipe import PolicyRecipe, Recipe
from ..settings import flat
from .comparison import (
    ORACLE,
    STARTING,
    TRAINED,
    UNTRAINED,
    BeforeAfter,
    Changes,
    TestSet,
    differences,
    sentence,
    tests_of,
    trained_less,
)
from .curves import drawn, panels

Steps = Sequence[Mapping[str, Any]]
_OF_TRAINING = {
    "entropy": "The policy has stopped exploring.",
    "length": "Episodes grew much longer.",
    "score": "The score fell below its best: go back to the best checkpoint.",
}
_UNKNOWN = "–"


def write_report(recipe: PolicyRecipe, out: Path) -> None:
    """Write the report from the files of the run directory."""
    steps, tests = read_metrics(out / METRICS), tests_of(recipe, out)
    run = RunDirectory(out)
    run.write_text("report.html", page(recipe.about, *_body(recipe, run, steps, tests)))


def _body(recipe: PolicyRecipe, run: RunDirectory, steps: Steps, tests: Sequence[TestSet]) -> Iterator[Child]:
    """The result first, then the training curves, then single episodes."""
    yield tag("h1", recipe.about)
    yield tag("p", _lead(steps, tests), class_="lead")
    yield _ended(recipe, run, steps)
    first, others = tests[:1], tests[1:]
    for test in first:
        compared = test.compared()
        yield tag("p", *(f"{told} " for told in differences(compared))) if compared else None
        yield _judged(test)
        yield _tiles(test)
        yield _contest(test, compared)
    yield _alarms(steps, tests)
    yield _curves(steps)
    for test in first:
        yield from _gains(test)
        yield from _before_and_after(test, test.changes())
    for test in others:
        yield _contest(test, test.compared())
        yield from _gains(test)
    yield _made(run, steps)


def _lead(steps: Steps, tests: Sequence[TestSet]) -> str:
    if tests:
        return sentence(steps[-1]["step"] if steps else 0, tests[0])
    scores = [step["score"] for step in steps if "score" in step]
    nothing = "There are no test results, as data.test is empty"
    if not scores:
        return f"{nothing}."
    told = f"in its {len(scores):,} steps the score of its rollouts went from {scores[0]:.2f} to {scores[-1]:.2f}"
    return f"{nothing}; {told}."


def _ended(recipe: PolicyRecipe, run: RunDirectory, steps: Steps) -> Markup | None:
    """Which step's policy is the final one, where it is not the last."""
    if not steps or not isinstance(recipe, Recipe):
        return None
    last, best, by = steps[-1]["step"], run.path / BEST / "best.json", recipe.watch.choose_by
    collapse = steps[-1].get("collapse")
    kept = json.loads(best.read_text("utf-8"))["step"] if (by or collapse) and best.exists() else last
    if collapse or last < recipe.optimiser.steps:
        why = ", as signs of collapse stayed" if collapse else ""
        told = f"Stopped at step {last:,} of {recipe.optimiser.steps:,}{why}"
        return tag("div", tag("p", tag("b", f"{told}; the policy is that of step {kept:,}.")), class_="alarm")
    told = f"The policy is that of step {kept:,} of {last:,}: it had the highest {by} on the validation questions."
    return tag("p", told, class_="note") if by and best.exists() else None


def _judged(test: TestSet) -> Markup:
    told = f"Scores by {test.judge}, from 0 to 1 where it judges by aspects."
    if "rubric" in test.judge:
        told += " The judge rubric looks for phrases that the data set lists; it is no language model."
    return tag("p", told, class_="note")


def _tiles(test: TestSet) -> Markup:
    shown = (
        ("score", test.figure(TRAINED, "score"), 3),
        ("score before training", test.figure(UNTRAINED, "score"), 3),
        ("gain over no profile", test.figure(TRAINED, "gain"), 3),
        ("helped by the profile", test.figure(TRAINED, "helped"), 2),
        ("hurt by the profile", test.figure(TRAINED, "hurt"), 2),
        ("searches", test.figure(TRAINED, "searches"), 2),
        ("structure kept", test.figure(TRAINED, "structure"), 3),
    )
    return tag("div", *(_tile(name, figure, digits) for name, figure, digits in shown if figure), class_="tiles")


def _tile(name: str, figure: Interval, digits: int) -> Markup:
    ends = reach(figure, digits)
    return tag("div", tag("span", name), tag("b", f"{figure.mean:.{digits}f}"), tag("span", ends), class_="tile")


def _alarms(steps: Steps, tests: Sequence[TestSet]) -> Markup:
    """Alarms during training, and of the trained policy on the test sets."""
    seen: dict[str, list[int]] = {}
    for step in steps:
        for name in step.get("alarms", ()):
            seen.setdefault(name, []).append(step["step"])
    told = [_alarm(f"{name}: {_steps(at, steps)}", _meaning(name)) for name, at in seen.items()]
    for test in tests:
        raised = (alarm for alarm in test.summaries[TRAINED]["alarms"] if alarm["raised"])
        told += [_alarm(f"{sign['name']}: {_share(sign)}, on {test.name}", sign["meaning"]) for sign in raised]
    note = "Signs of a degenerate policy, at every training step and in the last evaluation."
    return section("Alarms", *told, note=note if told else f"{note} None was found.")


def _steps(at: Sequence[int], steps: Steps) -> str:
    return f"at {len(at):,} of {steps[-1]['step']:,} steps, from {at[0]:,} to {at[-1]:,}"


def _share(alarm: Mapping[str, Any]) -> str:
    return f"{alarm['count']:,} of {alarm['n']:,} {alarm['of']}"


def _meaning(name: str) -> str:
    return SIGNS[name].meaning if name in SIGNS else _OF_TRAINING.get(name, "")  # others are whole sentences


def _alarm(seen: str, meaning: str) -> Markup:
    return tag("div", tag("p", tag("b", seen)), tag("p", meaning), class_="alarm")


def _curves(steps: Steps) -> Markup:
    shown = [
        tag("div", tag("h3", panel.title), drawn(panel), tag("p", panel.note, class_="note")) for panel in panels(steps)
    ]
    note = "Thin: each step; thick: moving average; circles: validation questions."
    return section("Training curves", tag("div", *shown, class_="plots"), note=note)


def _contest(test: TestSet, compared: Comparison | None) -> Markup:
    """The trained policy and its controls, if there are any."""
    heads = ["who", "score", "trained less it", "searches", "evidence", "structure", "n"]
    scores = [row for row in compared.rows if row.metric == "score"] if compared else []
    shown = table(heads, [_contender(test, row) for row in scores]) if compared else None
    less = [(row.run, figure) for row in scores if (figure := trained_less(row)) is not None]
    brackets = f"{BRACKETS} Differences are question by question, where all have a score."
    return section(
        f"On {test.name}",
        shown,
        tag("h3", "The trained policy's score less that of each other"),
        points(less, f"The trained policy's score less that of each other, on {test.name}"),
        *_by_hops(test),
        *_two_baselines(test, scores),
        *_who(test),
        note=f"{test.data}, by {test.judge}. {brackets}",
    )


def _contender(test: TestSet, row: Row) -> list[Child]:
    score, more = test.figure(row.run, "score"), (("searches", 2), ("evidence", 3), ("structure", 3))
    means = [_mean(test.figure(row.run, metric), digits) for metric, digits in more]
    return [row.run, _spread(score), _signed(trained_less(row)), *means, f"{score.n if score else 0:,}"]


def _by_hops(test: TestSet) -> Iterator[Markup]:
    if test.hops:
        columns = [(metric, hops) for metric in ("score", "searches") for hops in test.hops]
        rows: list[list[Child]] = [
            [who, *(_mean(test.figure(who, metric, hops), 2) for metric, hops in columns)] for who in test.runs
        ]
        yield tag("h3", "By hops: how many posts must be found, one after the other")
        yield table(["who", *(f"{metric}, {_hops(hops)}" for metric, hops in columns)], rows)


def _two_baselines(test: TestSet, scores: Sequence[Row]) -> Iterator[Markup]:
    """Two baselines, as a policy that forgets how to answer without the profile gains over its own for free."""
    own = [_spread(test.figure(TRAINED, "baseline")), _signed(test.figure(TRAINED, "gain"))]
    rows: list[list[Child]] = [["the trained policy's own", *own]]
    for row in scores:
        if row.run == STARTING:
            score = test.figure(STARTING, "score")
            rows.append(["the starting policy's", _spread(score), _signed(trained_less(row))])
    yield tag("h3", "Gain over answers without the profile")
    yield table(["whose answers", "their score", "gain over them"], rows)


def _who(test: TestSet) -> Iterator[Markup]:
    told: dict[str, Child] = {who: _WHO[who] for who in test.runs if who in _WHO}
    yield details("Who they are", pairs(told))


_WHO = {
    TRAINED: "the policy after its last step",
    UNTRAINED: "the policy before its first step, playing the same way",
    STARTING: "the policy before its first step, without search and without the profile",
    "rag": "the same, shown what a search for the question itself finds",
    "rag-random": "the same, shown what that search finds among another person's posts",
    "recency": "the same, shown the person's newest posts",
    ORACLE: "an upper bound: a script that knows where the answers are",
}


def _gains(test: TestSet) -> Iterator[Markup]:
    gains = test.gains()
    if not gains:
        return
    shares = {who: [test.figure(who, name) for name in _SHARES] for who in (TRAINED, UNTRAINED)}
    rows: list[list[Child]] = [[who, *(_mean(share, 2) for share in of)] for who, of in shares.items() if any(of)]
    by_hops = [(_hops(hops), test.figure(TRAINED, "gain", hops)) for hops in test.hops]
    yield section(
        f"Where personalising helped and hurt, on {test.name}",
        histogram(binned(gains), "Episodes of the trained policy by gain"),
        tag("h3", "Shares of episodes"),
        table(["who", *_SHARES], rows),
        tag("h3", "Gain by hops") if by_hops else None,
        points([(name, figure) for name, figure in by_hops if figure], "Gain by hops") if by_hops else None,
        note="Episodes of the trained policy, by what they gained over its own answer without the profile.",
    )


_SHARES = ("helped", "unchanged", "hurt")


def _before_and_after(test: TestSet, changes: Changes | None) -> Iterator[Markup]:
    if changes is None or not changes.pairs:
        return
    note = (
        f"On {test.name} the score rose in {changes.rose:,} episodes, stayed in {changes.same:,} and fell in "
        f"{changes.fell:,}. Chosen are those that rose most and up to three that fell most, one for a question."
    )
    yield section("Before and after", *map(_pair, changes.pairs), note=note)


def _pair(pair: BeforeAfter) -> Markup:
    kind = "good" if pair.change > 0 else "bad" if pair.change < 0 else None
    heading = join(tag("b", f"{pair.change:+.3f}", class_=kind), " ", pair.question.text)
    sides = (("Before training", pair.before), ("After training", pair.after))
    shown = [tag("div", tag("h3", name), *parts(trajectory, pair.question)) for name, trajectory in sides]
    return details(heading, tag("div", *shown, class_="beside"))


def _made(run: RunDirectory, steps: Steps) -> Markup:
    recipe = run.recipe
    versions = dict(recipe.get("versions") or {}) | {"commit": recipe.get("commit") or "unknown"}
    command = "profilegym train recipe.yaml --out DIR"
    return section(
        "How it was made",
        tag("pre", tag("code", command)),
        tag("h3", "Time"),
        pairs(_times(steps)),
        details("Settings", pairs({name: _shown(value) for name, value in flat(run.settings)})),
        details("Versions", pairs(versions)),
        note="recipe.yaml lies beside this page and holds every setting.",
    )


def _times(steps: Steps) -> dict[str, Child]:
    took = [step["step_time"] for step in steps if "step_time" in step]
    played = [step["rollout_seconds"] for step in steps if "rollout_seconds" in step]
    if not took:
        return {"steps": "none"}
    return {
        "steps": f"{len(took):,}",
        "a step": f"{sum(took) / len(took):.2f} s, {sum(played) / sum(took):.0%} of it for the rollouts",
        "all of them": f"{sum(took):,.0f} s, without evaluations",
    }


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _hops(number: str) -> str:
    return "1 hop" if number == "1" else f"{number} hops"


def _spread(figure: Interval | None) -> Child:
    if figure is None or figure.mean is None:
        return _UNKNOWN
    return join(f"{figure.mean:.3f} ", tag("small", reach(figure)))


def _signed(figure: Interval | None) -> Child:
    if figure is None or figure.mean is None:
        return _UNKNOWN
    return join(f"{figure.mean:+.3f} ", tag("small", reach(figure, sign="+")))


def _mean(figure: Interval | None, digits: int) -> str:
    return _UNKNOWN if figure is None or figure.mean is None else f"{figure.mean:.{digits}f}"
