"""Other words in the transcripts that the pilot learns from."""

import os
import re
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

import profilegym as pg
from profilegym.envs.trajectory import Segment
from profilegym.world.data import gold_queries
from profilegym.world.pilot.demonstrations import Habits, demonstrate
from profilegym.world.pilot.rewording import Rewording

QUESTIONS = pg.load_questions("world:seed=3,users=40/train")
PLAYED = demonstrate(QUESTIONS, Habits(copies=0.3), {"pr2": 0.8, "rag": 0.2}, seed=1)
WORD = re.compile(r"[A-Za-z']+")


def reworded() -> list[tuple[pg.Question, list[Segment], list[Segment]]]:
    rewording, luck = Rewording([one.segments for one in PLAYED], 0.25), Random(5)
    asked = [QUESTIONS.find(one.question_id) for one in PLAYED]
    return [
        (question, list(one.segments), rewording.apply(one.segments, question, luck))
        for question, one in zip(asked, PLAYED, strict=True)
    ]


def count(segment: Segment) -> Counter[str]:
    return Counter(WORD.findall(segment.text))


def quotes(said: list[Segment]) -> list[str]:
    """What the policy says to have read, by post."""
    thoughts = "".join(segment.text for segment in said if segment.author == "policy")
    return re.findall(r"\n\d\. (.+): [^:]+\.", thoughts)


def test_from_none_to_most_of_the_words_are_others() -> None:
    shares = []
    for _, before, after in reworded():
        old, new = (WORD.findall("".join(segment.text for segment in said[1:-1])) for said in (before, after))
        assert len(old) == len(new)
        shares.append((Counter(old) - Counter(new)).total() / max(1, len(old)))

    assert 0.05 < sum(shares) / len(shares) < 0.5
    assert min(shares) < 0.02
    assert max(shares) > 0.3


def test_the_marks_of_what_is_told_anew_stay() -> None:
    def marks(said: list[Segment]) -> list[str]:
        return re.findall(r", (?:now|once)\.", "".join(one.text for one in said if one.author == "policy"))

    assert any(marks(before) for _, before, _ in reworded())
    assert all(marks(before) == marks(after) for _, before, after in reworded())


def test_what_is_quoted_stands_in_the_posts_still() -> None:
    found = 0
    for _, _, after in reworded():
        read = "".join(segment.text for segment in after if segment.author == "environment")
        for quote in quotes(after):
            found += 1
            assert quote in read

    assert found > 50


def test_the_answer_and_the_queries_of_the_plan_are_left_as_they_are() -> None:
    for question, before, after in reworded():
        assert before[-1].text.partition("<answer>")[2] == after[-1].text.partition("<answer>")[2]
        words = {word for query in gold_queries(question.id) for word in WORD.findall(query)}
        for old, new in zip(before, after, strict=True):
            assert all(count(old)[word] <= count(new)[word] for word in words)


def test_the_tags_the_dates_and_the_authors_stay() -> None:
    marks = re.compile(r"</?[a-z]+>|\n\d\. \[\d{4}-\d\d-\d\d\]|\d searches? (?:is|are) left")
    for _, before, after in reworded():
        assert [segment.author for segment in before] == [segment.author for segment in after]
        for old, new in zip(before, after, strict=True):
            assert marks.findall(old.text) == marks.findall(new.text)


@pytest.mark.slow
def test_every_process_draws_the_same_words_and_orders() -> None:
    code = (
        "import profilegym as pg; from random import Random;"
        "from profilegym.world.pilot.demonstrations import Habits, demonstrate;"
        "from profilegym.world.pilot.rewording import Rewording;"
        "asked = pg.load_questions('world:seed=3,users=20/train');"
        "played = demonstrate(asked, Habits(), {'pr2': 1.0}, seed=1);"
        "other, luck = Rewording([one.segments for one in played], 0.25), Random(5);"
        "print([other.apply(one.segments, asked.find(one.question_id), luck) for one in played])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(said) == 1
