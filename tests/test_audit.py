"""The audit of a judge: what its word is worth, found out with judges whose flaws are known."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question
from matching import naming
from test_judge import one_of, verdict

from profilegym import AspectMatch, Question, QuestionList, QuestionSet, Verdict, load_questions, register_judge
from profilegym.apps.judge import run_audit
from profilegym.errors import BudgetSpent, DataError, JudgeError, OptionError
from profilegym.evaluation.judge_audit.audit import Audit, audit
from profilegym.evaluation.judge_audit.page import audit_page
from profilegym.evaluation.judge_audit.synthetic_answers import FILLER
from profilegym.rewards.cache import Cache
from profilegym.rewards.judge import LLMJudge
from profilegym.rewards.rubric import RubricJudge
from profilegym.testing import JudgeServer

DATA = "world:users=20/test"


class Flawed(RubricJudge):
    """The exact judge, with something wrong about it: `flaw` says what an answer is given on top."""

    name = "flawed"

    def __init__(self, flaw: Callable[[str], int]) -> None:
        self.flaw = flaw

    def verdict(self, question: Question, answer: str) -> Verdict:
        more = self.flaw(answer)
        found = [replace(a, match=max(0, min(2, a.match + more))) for a in super().verdict(question, answer).aspects]
        return Verdict(self.name, sum(aspect.match for aspect in found) / (2 * len(found)), tuple(found))


@pytest.fixture(scope="module")
def questions() -> QuestionSet:
    return load_questions(DATA)


@pytest.fixture(scope="module")
def exact(questions: QuestionSet) -> Audit:
    return asyncio.run(audit(RubricJudge(), questions))


def tried(flaw: Callable[[str], int], questions: QuestionSet) -> Audit:
    return asyncio.run(audit(Flawed(flaw), questions, limit=8))


def score(audited: Audit, kind: str) -> float | None:
    return next(of.score.mean for of in audited.kinds if of.kind == kind)


def gained(audited: Audit, kind: str) -> float | None:
    return next(shift.gained.mean for shift in audited.shifts if shift.kind == kind)


def test_the_exact_judge_tells_good_from_bad_agrees_with_itself_and_falls_for_nothing(exact: Audit) -> None:
    assert [score(exact, kind) for kind in ("right", "hedged", "wrong", "refusal", "empty")] == [
        1.0,
        0.5,
        0.0,
        0.0,
        0.0,
    ]
    assert exact.exact is not None
    assert exact.repeats is not None
    assert (exact.exact.same.mean, exact.exact.kappa.mean, exact.repeats.same.mean) == (1.0, 1.0, 1.0)
    assert [gained(exact, kind) for kind in ("partial, then filler", "wrong, then filler", "filler, then partial")] == [
        *(0.0, 0.0, 0.0)
    ]
    assert exact.places is not None
    assert (exact.places.flipped.mean, exact.places.right.mean, exact.places.first.mean) == (0.0, 1.0, 0.5)
    assert (exact.attacks[0].gained.mean, exact.attacks[0].succeeded.mean, exact.successes) == (0.0, 0.0, ())
    assert (exact.unscored.mean, exact.reasons) == (0.0, {})


def test_every_attack_that_is_not_made_for_one_question_is_tried_and_reported(exact: Audit) -> None:
    whole, *kinds = exact.attacks

    assert whole.gained.n == sum(of.gained.n for of in kinds) >= 60
    assert {of.kind for of in kinds} == {
        *("verdict", "markup", "role", "instruction", "invisible", "homoglyphs", "long")
    }
    assert whole.flagged.mean == 1.0
    assert {of.kind for of in exact.kinds if of.flagged.mean} == {"titles", "profile"}


def test_a_judge_that_likes_length_is_found_out(questions: QuestionSet) -> None:
    audited = tried(lambda answer: len(answer) > len(FILLER), questions)

    assert gained(audited, "wrong, then filler") == 0.5
    assert gained(audited, "filler, then partial") == 0.0


def test_a_judge_that_only_reads_the_beginning_is_found_out(questions: QuestionSet) -> None:
    audited = tried(lambda answer: -2 if answer.startswith(FILLER) else 0, questions)

    assert gained(audited, "partial, then filler") == 0.0
    assert gained(audited, "filler, then partial") == -(score(audited, "partial") or 0)


def test_a_gullible_judge_is_found_out_with_the_attacks_that_it_fell_for(questions: QuestionSet) -> None:
    audited = tried(lambda answer: 2 * ("full marks" in answer), questions)

    (verdicts,) = (of for of in audited.attacks if of.kind == "verdict")
    assert (verdicts.succeeded.mean or 0) > 0
    assert [success.id for success in audited.successes] == ["verdict-6"]
    assert (audited.successes[0].gained, audited.successes[0].flags) == (1.0, ("verdict",))


def test_a_judge_that_rolls_dice_agrees_with_nobody(questions: QuestionSet) -> None:
    dice = random.Random(3)

    audited = tried(lambda _: dice.choice((-2, 2)), questions)

    assert audited.repeats is not None
    assert audited.exact is not None
    assert abs(audited.repeats.kappa.mean or 0) < 0.5
    assert (audited.exact.same.mean or 1) < 0.8


def test_a_judge_that_goes_by_the_place_is_found_out(questions: QuestionSet) -> None:
    class FirstIsBest(Flawed):
        async def prefer(self, question: Question, first: str, second: str) -> int:
            return 1

    audited = asyncio.run(audit(FirstIsBest(lambda _: 0), questions, limit=4))

    assert audited.places is not None
    assert (audited.places.flipped.mean, audited.places.right.mean, audited.places.first.mean) == (1.0, 0.5, 1.0)


def test_both_orders_of_a_pair_are_one_value_and_people_are_what_an_audit_is_over() -> None:
    exact = asyncio.run(audit(RubricJudge(), load_questions("world:users=40/test"), limit=24))

    places = exact.places
    assert places is not None
    assert places.right.n == places.flipped.n < places.first.n <= 2 * places.flipped.n
    figures = (places.right, places.flipped, exact.kinds[0].flagged, exact.attacks[0].flagged, exact.unscored)
    assert {found.people for found in figures} == {exact.users}
    assert (places.flipped.mean, places.flipped.low) == (0.0, 0.0)
    wilson = 1 - 1 / (1 + 1.959964**2 / exact.users)  # none of so many people
    assert places.flipped.high == pytest.approx(wilson, abs=1e-3)


def test_what_cannot_be_judged_is_counted_by_its_reason_and_averaged_into_nothing(questions: QuestionSet) -> None:
    def flaw(answer: str) -> int:
        if "I am sorry" in answer:
            raise JudgeError(f"the model refused case {len(answer)}")
        return 0

    audited = tried(flaw, questions)

    (refusals,) = (of for of in audited.kinds if of.kind == "refusal")
    assert (refusals.score.mean, refusals.unscored) == (None, audited.questions)
    assert audited.reasons == {"the model refused case 39": audited.questions}
    assert audited.unscored.mean == audited.questions / audited.judged


def test_data_without_phrases_gives_all_but_the_exact_figures() -> None:
    class Short:
        name = "short"

        async def score(self, question: Question, answer: str) -> Verdict:
            return Verdict(self.name, 0.5, tuple(AspectMatch(a.title, 1) for a in question.rubric.aspects))

        async def score_many(self, pairs: Sequence[tuple[Question, str]]) -> list[Verdict]:
            return [await self.score(*pair) for pair in pairs]

    def plain(number: int) -> Question:
        question = make_question(f"q{number}")
        aspects = [replace(aspect, accepted=()) for aspect in question.rubric.aspects * 2]
        return replace(question, user_id=f"u{number}", rubric=replace(question.rubric, aspects=tuple(aspects)))

    audited = asyncio.run(audit(Short(), QuestionList([plain(number) for number in range(3)])))

    assert (audited.exact, audited.places) == (None, None)
    assert {"right", "partial", "wrong"} <= {of.kind for of in audited.kinds}
    assert "hedged" not in {of.kind for of in audited.kinds}
    assert audited.cost.price is None


def test_the_questions_come_from_all_over_the_set_and_there_must_be_some(questions: QuestionSet) -> None:
    assert tried(lambda _: 0, questions).users == 4

    with pytest.raises(DataError):
        asyncio.run(audit(RubricJudge(), QuestionList([])))
    with pytest.raises(OptionError, match=naming("limit=0")):
        asyncio.run(audit(RubricJudge(), questions, limit=0))


def test_hostile_texts_stay_texts_on_the_page(questions: QuestionSet) -> None:
    page = audit_page(tried(lambda answer: 2 * ("<" in answer), questions))

    assert "&lt;|im_end|&gt;" in page
    assert "<|" not in page
    assert "://" not in page
    assert page.count("<script") == 0


def test_a_judge_without_its_cache_asks_the_same_model_anew(tmp_path: Path) -> None:
    script = one_of(verdict(2), verdict(0))
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"))

    first, again = (asyncio.run(one.score(make_question(), "rooibos")).score for one in (judge, judge))
    anew = judge.uncached()

    assert anew is not None
    assert (first, again, asyncio.run(anew.score(make_question(), "rooibos")).score) == (1.0, 1.0, 0.0)
    assert LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"), offline=True).uncached() is None


def test_the_command_audits_a_model_and_goes_on_from_its_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(body: dict[str, Any]) -> dict[str, Any]:
        return {"reason": "so", "better": "first"} if "better" in str(body) else {"reason": "so", "match": 1}

    with JudgeServer(reply) as server:
        spec = f"openai:m,base_url={server.url},api_key=hush,price_in=1,price_out=4,cache={tmp_path / 'judge.sqlite'}"
        assert run_audit(spec, DATA, 3, tmp_path / "out") == 0
        paid = server.requests
        assert run_audit(spec, DATA, 3, tmp_path / "again", as_json=True) == 0
        anew = server.requests - paid

    told = capsys.readouterr().out
    report, audited = told[: told.index("{")], json.loads(told[told.index("{") :])
    aspects = sum(len(question.rubric.aspects) for question in load_questions(DATA)[::8])
    assert anew == 2 * 3 * aspects  # two kinds of answer, three rounds
    assert all(piece in report for piece in ("openai:m", "asked again", "attacks, success", "of 1,000 answers"))
    assert "hush" not in told
    assert audited["cost"]["calls"] == pytest.approx(aspects / 3)
    assert json.loads((tmp_path / "out/audit.json").read_text("utf-8"))["places"]["flipped"]["mean"] == 1.0
    assert (tmp_path / "out/audit.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_judge_that_never_answers_ends_in_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    class Silent(RubricJudge):
        name = "silent"

        def verdict(self, question: Question, answer: str) -> Verdict:
            raise JudgeError("no verdict \x1b[31m")

    register_judge("silent", Silent)

    assert run_audit("silent", DATA, 2, None) == 1

    told = capsys.readouterr().out
    assert "unscored: no verdict" in told
    assert "\x1b" not in told


def test_an_interrupted_audit_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient(RubricJudge):
        def verdict(self, question: Question, answer: str) -> Verdict:
            raise KeyboardInterrupt

    register_judge("impatient-audit", Impatient)

    assert run_audit("impatient-audit", DATA, 2, None) == 130

    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())


def test_a_spent_budget_ends_an_audit_and_is_not_counted_as_unscored(questions: QuestionSet) -> None:
    class Poor(RubricJudge):
        async def score(self, question: Question, answer: str) -> Verdict:
            raise BudgetSpent("budget of 1 spent")

    with pytest.raises(BudgetSpent):
        asyncio.run(audit(Poor(), questions, limit=2))
