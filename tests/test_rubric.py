import asyncio
from dataclasses import replace

import pytest
from conftest import make_question
from matching import naming

from profilegym import Aspect, Question, Rubric, Verdict, load_questions
from profilegym.errors import RewardError
from profilegym.rewards.rubric import RubricJudge

DRINK = Aspect(
    "What I drink", accepted=("rooibos", "red bush tea"), rejected=("oolong", "cocoa", "a doll's tea", "doll's tea")
)
TIP = Aspect("The general rule", accepted=("warm the cup",), rejected=("fresh air",))
JUDGE = RubricJudge()


def asked(*aspects: Aspect) -> Question:
    return replace(make_question(), rubric=Rubric("", aspects))


@pytest.mark.parametrize(
    ("answer", "match", "reason"),
    [
        ("Drink rooibos.", 2, "says 'rooibos'"),
        ("ROOIBOS!", 2, "says 'rooibos'"),
        ("Some red-bush\n tea, please", 2, "says 'red bush tea'"),
        ("rooibos or oolong", 1, "says 'rooibos', but also mentions 'oolong', which is not, or no longer, so"),
        (
            "rooibos, oolong or cocoa",
            0,
            "says 'rooibos', but also mentions 'oolong', 'cocoa', which is not, or no longer, so",
        ),
        ("Oolong, of course", 0, "mentions 'oolong', which is not, or no longer, so"),
        ("A doll's tea", 0, "mentions 'a doll's tea', which is not, or no longer, so"),
        (
            "rooibos or a doll's tea",
            1,
            "says 'rooibos', but also mentions 'a doll's tea', which is not, or no longer, so",
        ),
        ("rooibosh", 0, "says nothing of it"),
        ("red bush, then tea", 0, "says nothing of it"),
        ("", 0, "says nothing of it"),
        ("…?!", 0, "says nothing of it"),
    ],
)
def test_an_aspect_is_matched_by_whole_phrases(answer: str, match: int, reason: str) -> None:
    (found,) = JUDGE.verdict(asked(DRINK), answer).aspects

    assert (found.title, found.match, found.reason) == ("What I drink", match, reason)


@pytest.mark.parametrize(
    ("phrase", "answer", "match"),
    [
        ("東京", "東京に行きます。", 2),
        ("東京", "大阪に行きます。", 0),
        ("ﾙｲﾎﾞｽ", "ルイボスが好きです", 2),
        ("😀", "Tea 😀!", 2),
        ("😀", "Tea!", 0),
        ("😀", "", 0),
    ],
)
def test_phrases_without_spaces_or_without_words_are_found(phrase: str, answer: str, match: int) -> None:
    (found,) = JUDGE.verdict(asked(Aspect("Place or mood", accepted=(phrase,))), answer).aspects

    assert found.match == match


def test_the_score_is_the_sum_of_matches_over_twice_the_aspects() -> None:
    verdict = JUDGE.verdict(asked(DRINK, TIP), "Warm the cup, then rooibos or cocoa.")

    assert (verdict.judge, verdict.score) == ("rubric", 0.75)
    assert [aspect.match for aspect in verdict.aspects] == [1, 2]


@pytest.mark.parametrize(
    "aspects",
    [(), (Aspect("Taste", "because", "evidence"),), (DRINK, Aspect("Taste")), (Aspect("Taste", accepted=(" ",)),)],
)
def test_other_data_is_refused_with_the_name_of_what_can_score_it(aspects: tuple[Aspect, ...]) -> None:
    with pytest.raises(RewardError, match=naming("rubric", "'q1'", "openai:MODEL")):
        JUDGE.verdict(asked(*aspects), "rooibos")


def test_other_data_in_a_batch_takes_no_other_answer_with_it() -> None:
    found = asyncio.run(JUDGE.score_many([(asked(DRINK), "rooibos"), (asked(), "rooibos")]))

    assert isinstance(found[0], Verdict)
    assert isinstance(found[1], RewardError)


def test_every_reference_is_perfect_on_every_split() -> None:
    for question in load_questions("world:seed=3,users=400,docs=40"):
        assert JUDGE.verdict(question, question.rubric.reference or "").score == 1.0


def test_an_empty_answer_is_worth_nothing() -> None:
    for question in load_questions("world:users=10"):
        assert JUDGE.verdict(question, " ").score == 0.0


def test_saying_everything_is_worth_nothing() -> None:
    questions = load_questions("world:users=40")
    everything = {p for q in questions for a in q.rubric.aspects for p in (*a.accepted, *a.rejected)}
    answer = ", ".join(sorted(everything))

    assert all(JUDGE.verdict(question, answer).score == 0.0 for question in questions)


def test_guessing_two_values_is_worth_no_more_than_guessing_one() -> None:
    (question,) = [q for q in load_questions("world:users=1") if q.rubric.hops == 1][:1]
    aspect = question.rubric.aspects[0]
    values = [aspect.accepted[0], *aspect.rejected]

    one = [_first(question, value) for value in values]
    two = [_first(question, f"{a} {b}") for a in values for b in values if a != b]

    assert sum(two) / len(two) <= sum(one) / len(one)


def _first(question: Question, answer: str) -> int:
    return JUDGE.verdict(question, answer).aspects[0].match


def test_what_holds_for_everybody_is_enough_only_where_nothing_personal_is_asked() -> None:
    scores: dict[int | None, list[float]] = {0: [], 1: [], 2: []}

    for question in load_questions("world:users=60"):
        answer = " ".join(a.accepted[0] for a in question.rubric.aspects if not a.documents)
        scores[question.rubric.hops].append(JUDGE.verdict(question, answer).score)

    means = {hops: sum(values) / len(values) for hops, values in scores.items()}
    assert means[0] == 1.0
    assert 0.2 <= (means[1] + means[2]) / 2 <= 0.4
