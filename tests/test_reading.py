"""How a demonstration reads what a search found."""

import re
from collections import Counter
from itertools import pairwise

import pytest

import profilegym as pg
from profilegym.agents.models.oracle import posts_shown
from profilegym.benchmarks.reading import decisions
from profilegym.envs.trajectory import Segment
from profilegym.training.demonstrations import Habits, demonstrate
from profilegym.training.reading import Reading, excerpts

QUESTIONS = pg.load_questions("world:seed=3,users=60/train")
VERDICT = re.compile(r"\n(\d)\. (no|\[\d{4}\])(?=\n|$)")
QUOTE = re.compile(r"\n(\d)\. (?!no\b|\[)(.+): ([^:]+)\.(?=\n|$)")


def shown(*lines: str) -> Segment:
    return Segment(
        "environment", "\n\n<information>\n" + "\n".join(lines) + "\n</information>\n3 searches are left.\n\n"
    )


def reading(text: str, *searches: Segment) -> Reading:
    """By somebody who was asked the first question that holds this text."""
    question = next(one for one in QUESTIONS if text in one.text and one.rubric.hops)
    return Reading(question, [Segment("environment", f"Question: {question.text}"), *searches], tempted=False)


def thoughts(trajectory: pg.Trajectory) -> list[tuple[str, str]]:
    """What each search showed, and what was thought of it."""
    said = trajectory.segments
    return [
        (before.text, one.text.partition("</think>")[0])
        for before, one in pairwise(said)
        if one.author == "policy" and posts_shown([before])
    ]


@pytest.fixture(scope="module")
def played() -> list[pg.Trajectory]:
    return demonstrate(QUESTIONS, Habits(), {"pr2": 1.0}, seed=5)


def test_every_line_that_a_search_shows_is_gone_through(played: list[pg.Trajectory]) -> None:
    for one in played:
        for found, thought in thoughts(one):
            verdicts = VERDICT.findall(thought)
            years = dict(re.findall(r"\n(\d)\. (\[\d{4})", found))
            assert [number for number, _ in verdicts] == list(years)
            assert all(verdict in ("no", f"{years[number]}]") for number, verdict in verdicts)


def test_what_is_quoted_stands_in_the_line_and_was_told_there(played: list[pg.Trajectory]) -> None:
    quotes = 0
    for one in played:
        for found, thought in thoughts(one):
            telling = {number for number, verdict in VERDICT.findall(thought) if verdict != "no"}
            for number, quote, value in QUOTE.findall(thought):
                quotes += 1
                line = next(line for line in found.splitlines() if line.startswith(f"{number}. "))
                assert quote in line
                assert value in quote
                assert number in telling

    assert quotes > 100


def test_of_what_was_told_twice_the_later_holds() -> None:
    read = reading(
        "Which colour should I buy",
        shown(
            "1. [2022-10-12] We had to paint over the peach: my new colour is ivory. Even the spoon agrees.",
            "2. [2021-02-09] Rain again today. One more wall to paint in peach, the colour I chose.",
            "3. [2020-01-12] The colour that Datofa likes on a wall is silver.",
        ),
    )

    assert read.gone_through() == "\n1. [2022]\n2. [2021]\n3. no"
    assert read.quotes(new=True) == "\n1. We had to paint over the peach: my new colour is ivory: ivory."
    assert read.answer.startswith("Remember: ivory, ")


def test_what_holds_for_somebody_is_told_by_the_name_that_was_found() -> None:
    who = shown(
        "1. [2018-08-20] The brother of Pariga is called Zubuda, I heard.",
        "2. [2019-08-31] My brother is called Refoka, a name that suits very well.",
    )
    what = shown(
        "1. [2021-04-09] Relona cannot eat mushrooms.", "2. [2020-12-15] Refoka would eat a frog before celery."
    )

    first, second = reading("I have invited my brother", who), reading("I have invited my brother", who, what)

    assert first.quotes(new=True) == "\n2. My brother is called Refoka, a name that suits very well: Refoka."
    assert second.gone_through() == "\n1. no\n2. [2020]"
    assert second.quotes(new=True) == "\n2. Refoka would eat a frog before celery: celery."
    assert second.answer.startswith("For Refoka: celery, ")


def test_nobody_elses_post_tells_anything(played: list[pg.Trajectory]) -> None:
    said: Counter[str] = Counter()
    for one in played:
        for _, thought in thoughts(one):
            said.update("no" if verdict == "no" else "year" for _, verdict in VERDICT.findall(thought))

    assert said["no"] > said["year"] > 0


def test_what_a_turn_decides_by_its_tokens() -> None:
    scan = ["<think>", "\n1. ", "[2019", "]", "\n2. ", "no", "\n3. ", "[2022", "]"]
    quote = ["\n3. ", " tea", ":", " tea", ".", "</think>"]

    assert list(decisions([*scan, *quote])) == [
        (2, "line 1 tells something"),
        (5, "line 2 tells nothing"),
        (7, "line 3 tells something"),
        (9, "of several that tell something, a later one is quoted"),
        (12, "what to take from a quote"),
    ]


def test_an_excerpt_is_one_search_and_what_was_thought_of_it(played: list[pg.Trajectory]) -> None:
    searches = 0
    for one in played:
        for search, found, thought in excerpts(one.segments):
            searches += 1
            assert search.text.startswith("<search>")
            assert search.text.endswith("</search>")
            assert posts_shown([found])
            assert thought.author == "policy"
            assert thought.text.endswith("</think>")

    assert searches == sum(len(one.searches) for one in played if one.searches)


def test_an_order_that_is_not_the_searchs_shows_the_same_posts() -> None:
    usual, shuffled = (demonstrate(QUESTIONS, Habits(), {"rag": 1.0}, 5, share) for share in (0.0, 1.0))
    pairs = [
        (posts_shown(one.segments), posts_shown(other.segments)) for one, other in zip(usual, shuffled, strict=True)
    ]

    assert all(sorted(one) == sorted(other) for one, other in pairs)
    assert sum(one != other for one, other in pairs) > len(pairs) / 2
