"""How a demonstration reads what a search found."""

import re
from collections import Counter
from itertools import pairwise

import pytest

import profilegym as pg
from profilegym.agents.posts_shown import posts_shown
from profilegym.envs.trajectory import Segment
from profilegym.studies.reading import decisions
from profilegym.world.pilot.demonstrations import Habits, demonstrate
from profilegym.world.pilot.reading import Reading
from profilegym.world.pilot.short_lessons import excerpts, is_revised, outline
from profilegym.world.players.question_rules import parse_question

QUESTIONS = pg.load_questions("world:seed=3,users=60/train")
VERDICT = re.compile(r"\n(\d)\. (no|\[[\d-]+\])(?=\s|$)")
QUOTE = re.compile(r"\n(\d)\. (\[.+): ([^:]+?)(?:, (?:now|once))?\.(?=\n|$)")


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


def test_every_line_that_a_search_shows_is_line_by_line(played: list[pg.Trajectory]) -> None:
    for one in played:
        for found, thought in thoughts(one):
            verdicts = VERDICT.findall(thought)
            dates = dict(re.findall(r"\n(\d)\. (\[[\d-]+\])", found))
            assert list(dict.fromkeys(number for number, _ in verdicts)) == list(dates)
            assert all(verdict in ("no", dates[number]) for number, verdict in verdicts)


def test_what_is_quoted_stands_in_the_line_and_was_told_there(played: list[pg.Trajectory]) -> None:
    quotes = 0
    for one in played:
        for found, thought in thoughts(one):
            for number, quote, value in QUOTE.findall(thought):
                quotes += 1
                line = next(line for line in found.splitlines() if line.startswith(f"{number}. "))
                assert quote in line
                assert value in quote

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

    ivory = "\n1. [2022-10-12] We had to paint over the peach: my new colour is ivory: ivory"
    peach = "\n2. [2021-02-09] Rain again today. One more wall to paint in peach, the colour I chose: peach"
    assert read.line_by_line() == f"{ivory}.{peach}, once.\n3. no"
    assert read.quotes() == f"{ivory}."
    assert read.answer.startswith("Remember: ivory, ")


def test_what_is_told_later_and_shown_later_is_what_holds_now() -> None:
    peach = shown("1. [2021-02-09] One more wall to paint in peach, the colour I chose.")
    ivory = shown("1. [2022-10-12] We had to paint over the peach: my new colour is ivory.", peach.text.splitlines()[3])

    read = reading("Which colour should I buy", peach, ivory)

    assert read.line_by_line() == (
        "\n1. [2022-10-12] We had to paint over the peach: my new colour is ivory: ivory, now."
        "\n1. [2021-02-09] One more wall to paint in peach, the colour I chose: peach."
    )
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

    name = "\n2. [2019-08-31] My brother is called Refoka, a name that suits very well: Refoka."
    fact = "\n2. [2020-12-15] Refoka would eat a frog before celery: celery."
    assert first.line_by_line() == f"\n1. no{name}"
    assert second.line_by_line() == f"\n1. no{fact}"
    assert second.quotes() == name + fact
    assert second.answer.startswith("For Refoka: celery, ")


def test_nobody_elses_post_tells_anything(played: list[pg.Trajectory]) -> None:
    said: Counter[str] = Counter()
    for one in played:
        for _, thought in thoughts(one):
            said.update("no" if verdict == "no" else "date" for _, verdict in VERDICT.findall(thought))

    assert said["no"] > said["date"] > 0


def test_what_a_turn_decides_by_its_tokens() -> None:
    quote = ["[2019", "-02", " tea", ":", " tea"]
    said = ["<think>", "\n1. ", *quote, ".", "\n2. ", "no", "\n3. ", *quote, ",", " now", ".", "</think>"]

    assert list(decisions(said)) == [
        (2, "line 1 tells something"),
        (6, "what to take from a quote"),
        (7, "something is told for the first time"),
        (9, "line 2 tells nothing"),
        (11, "line 3 tells something"),
        (15, "what to take from a quote"),
        (17, "of what was told before, this is newer"),
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


def test_an_excerpt_is_revised_where_something_is_told_anew(played: list[pg.Trajectory]) -> None:
    found = [one for trajectory in played for one in excerpts(trajectory.segments)]
    revised = [one for one in found if is_revised(one)]

    assert 0 < len(revised) < len(found) / 2
    assert all(re.search(r", (now|once)\.", thought.text) for *_, thought in revised)


def test_an_outline_has_all_but_the_posts_and_is_learned_from_where_something_is_done(
    played: list[pg.Trajectory],
) -> None:
    for one in played:
        kept = outline(one.segments)
        written = "".join(segment.text for segment in one.segments if segment.author == "policy")

        assert "<information>" not in "".join(segment.text for segment in kept[1:])
        assert "".join(segment.text for segment in kept[1:]).replace("\n\n", "") == written.replace("\n\n", "")
        learned = [segment.text for segment in kept if segment.author == "policy"]
        assert [text.partition(">")[0] for text in learned] == ["\n<search"] * len(one.searches) + ["\n<answer"]


def test_an_answer_says_what_holds_in_the_order_in_which_it_was_read() -> None:
    drink = shown("1. [2021-08-01] I only drink lemonade, and my cup knows it.")
    breakfast = shown("1. [2019-06-16] My breakfast is yoghurt, and in the morning I defend it with a spoon.")

    question = next(one for one in QUESTIONS if len(parse_question(one.text).topics) == 2 and "breakfast" in one.text)  # type: ignore[union-attr]
    prompt = Segment("environment", f"Question: {question.text}")
    answers = [
        Reading(question, [prompt, *said], tempted=False).answer for said in ((drink, breakfast), (breakfast, drink))
    ]

    assert "lemonade, yoghurt" in answers[0]
    assert "yoghurt, lemonade" in answers[1]


def test_an_order_that_is_not_the_searchs_shows_the_same_posts() -> None:
    usual, shuffled = (demonstrate(QUESTIONS, Habits(), {"rag": 1.0}, 5, share) for share in (0.0, 1.0))
    pairs = [
        (posts_shown(one.segments), posts_shown(other.segments)) for one, other in zip(usual, shuffled, strict=True)
    ]

    assert all(sorted(one) == sorted(other) for one, other in pairs)
    assert sum(one != other for one, other in pairs) > len(pairs) / 2
