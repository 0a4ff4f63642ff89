"""Writes `report.html`, a run on one page."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._util.counted import counted
from ..envs.trajectory import Trajectory
from .branch import CHANGEABLE
from .evaluate import Settings, default_reward
from .intervals import BRACKETS, Interval, half, reach
from .page import Child, Markup, details, join, page, pairs, section, table, tag
from .recorded_run import RecordedRun
from .run import RunDirectory
from .summary import FIGURES, Place, place_of, score_of
from .svg import binned, histogram, points
from .transcript import episode

SHOWN = 5  # episodes with the largest gains, and as many with the largest losses
HEADLINE = ("score", "baseline", "gain", "helped", "hurt", "searches", "evidence", "structure")
RESTRAINT = ("needless", "harm", "over_personalised")
MEANING = {
    "score": "the judge's score of the answer, from 0 to 1 for a judge of aspects",
    "baseline": "score of the same policy on the same questions, without search and profile",
    "gain": "score minus baseline, question by question",
    "helped": "share of episodes with a gain above zero",
    "unchanged": "share of episodes with no gain and no loss",
    "hurt": "share of episodes with a gain below zero",
    "searches": "searches per episode, with initial ones",
    "evidence": "share of the evidence documents that some search returned",
    "evidence_precision": "share of the documents shown that are evidence",
    "evidence_ndcg": "evidence in the order shown, beside all evidence first",
    "session_evidence": "share of the evidence sessions of which some document was shown",
    "needless": "share of the questions answered with a search where the history is not needed",
    "harm": "baseline minus score where the history is not needed or does not tell",
    "over_personalised": "share of the answers there that hold something wrong which the shown documents say",
    "structure": "share of transcripts that follow their protocol's grammar",
    "malformed": "turns per episode that were neither search nor answer",
    "prompt_tokens": "tokens per episode that the policy read",
    "completion_tokens": "tokens per episode that the policy wrote",
    "seconds": "duration of an episode, with others played concurrently",
}


def write_report(run: RunDirectory) -> None:
    """Needs the directory's `summary.json`."""
    summary = json.loads((run.path / "summary.json").read_text("utf-8"))
    played = RecordedRun(run)
    run.write_text("report.html", page(_title(summary), *_body(summary, played, _gather(played))))


@dataclass
class Gathered:
    """What the report shows beyond the summary."""

    gains: dict[Place, float] = field(default_factory=dict)
    searches: dict[str, Counter[int]] = field(default_factory=dict)  # number of episodes by hops and number of searches
    personalised: dict[Place, Trajectory] = field(default_factory=dict)  # only those shown
    baselines: dict[Place, Trajectory] = field(default_factory=dict)

    @property
    def most_helped(self) -> list[Place]:
        return _first(sorted((place for place in self.gains if self.gains[place] > 0), key=lambda p: -self.gains[p]))

    @property
    def most_hurt(self) -> list[Place]:
        return _first(sorted((place for place in self.gains if self.gains[place] < 0), key=self.gains.__getitem__))


def _first(places: Sequence[Place]) -> list[Place]:
    """The first attempts, one per question."""
    by_question = dict[str, Place]()
    for place in places:
        by_question.setdefault(place[0], place)
    return list(by_question.values())[:SHOWN]


def _gather(played: RecordedRun) -> Gathered:
    found, scores = Gathered(), dict[Place, float | None]()
    for trajectory in played.trajectories():
        if trajectory.kind == "baseline":
            scores[place_of(trajectory)] = score_of(trajectory)
    for trajectory in played.trajectories():
        if trajectory.kind == "personalised":
            score, baseline = score_of(trajectory), scores.get(place_of(trajectory))
            if score is not None and baseline is not None:
                found.gains[place_of(trajectory)] = score - baseline
            hops = played.find(trajectory.question_id).rubric.hops
            found.searches.setdefault("–" if hops is None else str(hops), Counter())[len(trajectory.searches)] += 1
    shown = {*found.most_helped, *found.most_hurt}
    for trajectory in played.trajectories():
        if place_of(trajectory) in shown:
            kept = found.baselines if trajectory.kind == "baseline" else found.personalised
            kept[place_of(trajectory)] = trajectory
    return found


def _title(summary: Mapping[str, Any]) -> str:
    asked = summary["settings"]
    return f"{asked['agent']} with {asked['model']} on {asked['data']}"


def _body(summary: Mapping[str, Any], played: RecordedRun, found: Gathered) -> Iterator[Child]:
    yield tag("h1", _title(summary))
    yield _who(summary)
    yield _tiles(summary)
    yield from _alarms(summary["alarms"])
    yield _figures(summary)
    if found.gains:
        yield _gains(found)
    for name, groups in (("hops", summary["by_hops"]), ("category", summary["by_category"])):
        if groups:
            yield _by(name, groups | _macro(name, summary), summary)
    yield from _restraint(summary)
    if any(searches for counts in found.searches.values() for searches in counts):
        yield _searches(found.searches)
    yield _missing(summary)
    yield from _episodes("Where personalising helped most", found.most_helped, played, found)
    yield from _episodes("Where personalising hurt most", found.most_hurt, played, found)
    yield _made(played)


def scored_by(summary: Mapping[str, Any]) -> str:
    """The judge, or the metric."""
    asked = summary["settings"]
    return ", ".join(summary["judge"]) or asked["judge"] or asked.get("metric") or default_reward(asked["data"])


def _who(summary: Mapping[str, Any]) -> Markup:
    """Episodes, users and judge, and whether model or judge is no language model."""
    played, people = counted(summary["episodes"], "episode"), counted(summary["users"], "user")
    told = f"{played} of {people}; scores by {scored_by(summary)}."
    if str(summary["settings"]["model"]).startswith("scripted"):
        told += " The model is scripted: it is no language model."
    if "rubric" in summary["judge"]:
        told += " The judge rubric matches phrases of the data: it is no language model."
    return tag("p", told, class_="note")


def _tiles(summary: Mapping[str, Any]) -> Markup:
    tiles = [_tile(metric, name, digits, summary) for metric, name, digits in _headline(summary)]
    return tag("div", *tiles, class_="tiles")


def _tile(metric: str, name: str, digits: int, summary: Mapping[str, Any]) -> Markup:
    mean, ends = _spread(summary[metric], digits)
    judge = tag("span", f"by {scored_by(summary)}") if metric in ("score", "baseline", "gain") else None
    return tag("div", tag("span", name), tag("b", mean), tag("span", ends), judge, class_="tile")


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return [figure for figure in FIGURES if figure[0] in HEADLINE and figure[0] in summary]


def _alarms(alarms: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    raised = [_alarm(alarm) for alarm in alarms if alarm["raised"]]
    rows: list[list[Child]] = [
        [alarm["name"], f"{alarm['threshold']:.0%}", f"{alarm['count']} of {alarm['n']} {alarm['of']}"]
        for alarm in alarms
    ]
    looked = details("All that was looked for", table(["sign", "alarm above", "seen in"], rows, class_="worded"))
    yield section("Alarms", *raised, looked, note=None if raised else "None is raised.")


def _alarm(alarm: Mapping[str, Any]) -> Markup:
    seen = f"{alarm['name']}: {alarm['count']} of {alarm['n']} {alarm['of']} ({alarm['share']:.0%})"
    examples = tag("p", tag("small", "for example ", ", ".join(alarm["examples"])))
    return tag("div", tag("p", tag("b", seen)), tag("p", alarm["meaning"]), examples, class_="alarm")


def _figures(summary: Mapping[str, Any]) -> Markup:
    rows: list[list[Child]] = [
        [name, *_spread(summary[metric], digits), f"{summary[metric]['n']:,}", MEANING.get(metric)]
        for metric, name, digits in FIGURES
        if metric in summary
    ]
    heads = ["figure", "mean", "95 % interval", "n", "what it is"]
    return section("Figures", table(heads, rows, f"scores by {scored_by(summary)}", class_="worded"), note=_INTERVALS)


_INTERVALS = (
    f"{BRACKETS} The units are users, as the questions of one person are not independent. Unknown values are left out "
    "of a mean; n is the number of values."
)


def _gains(found: Gathered) -> Markup:
    gains = list(found.gains.values())
    up, down = sum(gain > 1e-9 for gain in gains), sum(gain < -1e-9 for gain in gains)
    note = (
        f"Personalising helped in {up:,}, changed nothing in {len(gains) - up - down:,} and hurt in {down:,} episodes."
    )
    return section("Gain", histogram(binned(gains), "Episodes by gain"), note=note)


def _by(name: str, groups: Mapping[str, Any], summary: Mapping[str, Any]) -> Markup:
    shown = _headline(summary)
    rows = [_group(group, groups[group], shown) for group in groups]
    metric, called = ("gain", "Gain") if "gain" in summary else ("score", "Score")
    title = f"{called} by {name}"
    plot = points([(group, _interval(groups[group].get(metric))) for group in groups], title)
    widths = "means with half the width of their 95 % interval, or its other end (≥, ≤), and the people"
    caption = f"{widths}; scores by {scored_by(summary)}"
    heads = [name, "n", *(called for _, called, _ in shown)]
    return section(f"By {name}", tag("p", title, class_="note"), plot, table(heads, rows, caption))


def _macro(name: str, summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mean over categories as one more row."""
    return {"macro": summary["macro"]} if name == "category" and summary.get("macro") else {}


def _restraint(summary: Mapping[str, Any]) -> Iterator[Markup]:
    """What the policy did where the history must not be used, in all and by category."""
    known = [figure for figure in FIGURES if figure[0] in RESTRAINT and figure[0] in summary]
    if not known:
        return
    groups = {"all": summary} | {
        name: group for name, group in summary["by_category"].items() if any(metric in group for metric, *_ in known)
    }
    rows: list[list[Child]] = [
        [name, *(_cell(group.get(metric), digits) for metric, _, digits in known)] for name, group in groups.items()
    ]
    meant = [f"{called}: {MEANING[metric]}." for metric, called, _ in known]
    note = "What the policy did where the history must not be used. " + " ".join(meant)
    yield section("Restraint", table(["category", *(called for _, called, _ in known)], rows), note=note)


def _group(name: str, group: Mapping[str, Any], shown: Sequence[tuple[str, str, int]]) -> list[Child]:
    scored = group.get("score", {"n": 0})["n"]
    return [name, f"{scored:,}", *(_cell(group.get(metric), digits) for metric, _, digits in shown)]


def _searches(by_hops: Mapping[str, Counter[int]]) -> Markup:
    numbers = range(max(number for counts in by_hops.values() for number in counts) + 1)
    rows: list[list[Child]] = [
        [hops, *(by_hops[hops][number] or "·" for number in numbers)] for hops in sorted(by_hops)
    ]
    heads = ["hops", *(f"{number} searches" if number != 1 else "1 search" for number in numbers)]
    return section("Searches by hops", table(heads, rows, "episodes"))


def _missing(summary: Mapping[str, Any]) -> Markup:
    ended = pairs({how: f"{count:,}" for how, count in summary["ended"].items()})
    parts = [tag("h3", "How they ended"), ended, *_unscored(summary)]
    if summary["flags"]:
        parts += [tag("h3", "Answers flagged as attacks on the judge"), pairs(summary["flags"])]
    return section("How episodes ended, and what is not scored", *parts)


def _unscored(summary: Mapping[str, Any]) -> Iterator[Markup]:
    for key, what in (("unscored", "Not scored"), ("baseline_unscored", "Not scored without the profile")):
        missing = summary.get(key, {"n": 0})
        yield tag("h3", f"{what}: {missing['n']:,}")
        if missing["n"]:
            yield pairs({reason: f"{count:,} ×" for reason, count in missing["reasons"].items()})


def _episodes(title: str, places: Sequence[Place], played: RecordedRun, found: Gathered) -> Iterator[Markup]:
    if places:
        shown = [
            episode(found.personalised[p], played.find(p[0]), found.baselines.get(p), found.gains[p]) for p in places
        ]
        yield section(title, *shown, note="Gain and question; open one to read the episode.")


def _made(played: RecordedRun) -> Markup:
    recipe = played.run.recipe
    settings = {name: str(value) for name, value in played.settings.items()}
    versions = dict(recipe.get("versions") or {}) | {"commit": recipe.get("commit") or "unknown"}
    command = tag("pre", tag("code", _command(played.settings)))
    return section(
        "How it was made", command, tag("h3", "Settings"), pairs(settings), tag("h3", "Versions"), pairs(versions)
    )


def _command(settings: Mapping[str, Any]) -> str:
    """The command that repeats the run, or that served it to others."""
    words = ["profilegym", "eval", *Settings.of(settings).arguments]
    if "served" in settings:
        words[1:6] = ["serve", settings["served"]]  # in place of eval, an agent and a model
    if "parent" in settings:
        words = ["profilegym", "replay", settings["parent"]]
        for name in ("from_step", "profile", *CHANGEABLE):
            words += [f"--{name.replace('_', '-')}", str(settings[name])] if settings[name] is not None else []
    return f"{shlex.join(words)} --out DIR"


def _interval(figure: Mapping[str, Any] | None) -> Interval:
    return Interval(**figure) if figure else Interval(None, None, None, 0)


def _spread(figure: Mapping[str, Any], digits: int) -> list[Child]:
    return [_number(figure["mean"], digits), reach(Interval(**figure), digits)]


def _cell(figure: Mapping[str, Any] | None, digits: int) -> Child:
    if figure is None or figure["mean"] is None:
        return "–"
    found = Interval(**figure)
    return join(_number(found.mean, digits), " ", tag("small", half(found, digits)))


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
