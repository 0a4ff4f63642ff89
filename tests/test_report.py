"""A run on one page."""

import asyncio
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from profilegym import Question, Trajectory, load_questions
from profilegym.agents.models.model import register_model
from profilegym.agents.models.scripted import ScriptedModel
from profilegym.agents.turn_format import answer_with
from profilegym.envs.trajectory import Segment
from profilegym.evaluation.evaluate import Settings, evaluate
from profilegym.evaluation.intervals import Interval
from profilegym.evaluation.page import join, page, tag
from profilegym.evaluation.report import write_report
from profilegym.evaluation.run import RunDirectory
from profilegym.evaluation.svg import binned, histogram, points
from profilegym.evaluation.transcript import parts
from profilegym.world.players.oracle import play

HOSTILE = "</div><script>alert('&')</script><img src=http://elsewhere.example/x>\x1b\u202e"
DATA = "world:seed=7,users=20/test"


def attack(question: Question, said: Sequence[Segment]) -> str:
    """Searches as it should, and then answers with markup; without the profile it even knows better."""
    turn = play(question, said)
    if "<answer>" not in turn or (len(said) == 1 and question.rubric.hops == 2):
        return turn
    return f"<think>{HOSTILE}</think>" + answer_with("cherry", "").replace("cherry", HOSTILE + "cherry")


register_model("attack", lambda: ScriptedModel("attack", attack))


def report(out: Path, settings: Settings) -> str:
    run = RunDirectory(out)
    asyncio.run(evaluate(settings, run))
    write_report(run)
    return (out / "report.html").read_text("utf-8")


class Page(HTMLParser):
    """The elements of a page, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(name)
        self.attributes |= {key for key, _ in attributes}
        if name != "meta":
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name


def test_text_from_outside_is_never_markup() -> None:
    shown = page(HOSTILE, tag("p", HOSTILE + "\ud800", class_=f'"{HOSTILE}'))

    assert Page(shown).seen == {"html", "head", "meta", "title", "style", "body", "main", "p"}
    assert not re.search("[\x1b\u202e]", shown)
    assert shown.encode()
    assert 'class="&quot;&lt;/div&gt;' in shown


def test_a_report_holds_the_figures_of_the_summary_with_the_judges_name(tmp_path: Path) -> None:
    shown = report(tmp_path, Settings(model="scripted:oracle", data=DATA, limit=12))

    summary = json.loads((tmp_path / "summary.json").read_text())
    for metric in ("score", "baseline", "gain"):
        assert f"<b>{summary[metric]['mean']:.3f}</b>" in shown
    assert "by rubric" in shown
    assert "it is no language model" in shown
    assert f"--model scripted:oracle --data {DATA} --limit 12 --out DIR" in shown


def test_a_report_of_hostile_episodes_neither_runs_nor_fetches_anything(tmp_path: Path) -> None:
    shown = Page(text := report(tmp_path, Settings(model="attack", data=DATA)))

    assert shown.open == []
    assert not shown.seen & {"script", "img", "link", "iframe", "object", "form", "a"}
    assert not {name for name in shown.attributes if name.startswith("on")} | shown.attributes & {
        "src",
        "href",
        "style",
    }
    assert "default-src 'none'; style-src 'sha256-" in text
    assert "&lt;script&gt;alert" in text


def test_the_episodes_that_gained_and_lost_most_are_there_in_full(tmp_path: Path) -> None:
    shown = report(tmp_path, Settings(model="attack", data=DATA))

    assert "Where personalising hurt most" in shown
    assert "Answer without the profile, score 0" in shown
    assert 'class="evidence"' in shown
    assert "2 of 2" in shown or "0 of 2" in shown


@pytest.mark.parametrize("settings", [Settings(agent="none"), Settings(agent="rag-random"), Settings(limit=1)])
def test_a_report_is_written_of_any_run(settings: Settings, tmp_path: Path) -> None:
    shown = report(tmp_path, Settings(settings.agent, "scripted:oracle", DATA, limit=settings.limit))

    assert Page(shown).open == []
    assert "by rubric" in shown


def test_plots_hold_every_value() -> None:
    gains = [-1.0, -0.5, 0.0, 0.0, 0.02, 1.0]

    assert sum(bar.count for bar in binned(gains)) == len(gains)
    assert histogram(binned(gains), "gains").count("<rect") == 4
    plot = points([("a", Interval(0.5, 0.25, 0.75, 9)), ("nothing", Interval(None, None, None, 0))], "two")
    assert plot.count("<circle") == 1
    assert "0.500 [0.250, 0.750]" in plot


def test_the_page_can_be_read_in_light_and_in_dark() -> None:
    style = page("")
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in style.split("prefers-color-scheme")[:2])

    for colours in (light, dark):
        for ink in ("ink", "soft", "accent", "good", "bad"):
            for ground in ("page", "card", "tint"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["ink"], colours["mark"]) >= 4.5
        assert contrast(colours["soft"], colours["mark"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_an_episode_shows_all_calls_of_a_turn_and_which_returned_a_text() -> None:
    question = load_questions(DATA)[0]
    document = question.profile.documents[0]
    called: tuple[Any, ...] = ("search_profile", {"query": "rain"}, False, "latest", {"n": 1}, False, "mine", {}, True)
    recorded = Trajectory(
        "e", question.id, question.user_id, "personalised", segment_fields=("policy", "three calls", None, None),
        search_fields=(0, "rain", (), 0, "latest n=1", ((document.id, None),), 0, "mine", ()), search_ms=(1, 1, 1),
        calls=called, answer="tea", ended="answered",
    )  # fmt: skip

    shown = str(join(*parts(recorded, question)))

    assert "rain</q>: nothing was found." in shown
    assert document.id in shown
    assert "mine</q>: a text was returned." in shown
