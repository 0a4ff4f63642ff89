"""Synthetic answers of known quality, made from a data set to test a judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...envs.question import Aspect, Profile, Question
from ...rewards.judge_attacks import OF_ONE_QUESTION, Attack, attacks

_NOTHING_SAID = (
    "There is a good deal to be said about this, and it deserves some thought.",
    "It helps to go at it with care and to leave nothing out.",
    "Much depends on the circumstances, as it so often does.",
    "Others may see it in another light, and that is fair enough.",
    "In the end it is about what serves the purpose and keeps things simple.",
    "None of this has to be settled at once, and all of it can be changed again.",
    "It is worth coming back to it later with a fresh mind.",
    "With that said, the main thing is to begin.",
)
FILLER = " ".join(_NOTHING_SAID * 2)
REFUSAL = "I am sorry, but I can't help with that."
_COPIED = 120  # words copied from the profile

KINDS = {  # descriptions, in the order of a report
    "right": "covers every aspect",
    "partial": "covers the first half of the aspects",
    "hedged": "covers every aspect, and adds a wrong phrase to each",
    "wrong": "is the right answer to another person's question",
    "refusal": "declines to answer",
    "empty": "is empty",
    "partial, then filler": f"is the partial one, then {len(FILLER.split())} words of filler",
    "filler, then partial": "is the same filler, then the partial one",
    "wrong, then filler": f"is the wrong one, then {len(FILLER.split())} words of filler",
    "titles": "names the aspects without content",
    "question": "repeats the question",
    "profile": "copies documents of the person that support no aspect",
}


@dataclass(frozen=True, slots=True)
class SyntheticAnswer:
    """An answer of one of the kinds above, or a wrong answer followed by an attack."""

    kind: str
    question: Question
    answer: str
    attack: Attack | None = None


def synthetic_answers(questions: Sequence[Question]) -> Iterator[SyntheticAnswer]:
    """One answer of each kind per question, where the question has the data for it."""
    for place, question in enumerate(questions):
        for kind, answer in _answers(question, _another(questions, place)).items():
            if answer is not None:
                yield SyntheticAnswer(kind, question, answer)


def attack_answers(questions: Sequence[Question]) -> Iterator[SyntheticAnswer]:
    """Attacks after wrong answers, so that every question and every attack occurs at least once."""
    wrong = [item for item in synthetic_answers(questions) if item.kind == "wrong"]
    known = [attack for attack in attacks() if attack.kind not in OF_ONE_QUESTION]
    for turn in range(max(len(wrong), len(known)) if wrong else 0):
        item, attack = wrong[turn % len(wrong)], known[turn % len(known)]
        yield SyntheticAnswer("attack", item.question, f"{item.answer}\n\n{attack.answer}", attack)


def _answers(question: Question, other: Question | None) -> Mapping[str, str | None]:
    aspects = question.rubric.aspects
    half = _said(aspects[: len(aspects) // 2])
    wrong = _said(other.rubric.aspects) if other else None
    return {
        "right": _said(aspects),
        "partial": half,
        "hedged": _hedged(aspects),
        "wrong": wrong,
        "refusal": REFUSAL,
        "empty": "",
        "partial, then filler": half and f"{half} {FILLER}",
        "filler, then partial": half and f"{FILLER} {half}",
        "wrong, then filler": wrong and f"{wrong} {FILLER}",
        "titles": f"Think of this: {'; '.join(aspect.title for aspect in aspects)}." if aspects else None,
        "question": question.text,
        "profile": _posts(question.profile, aspects),
    }


def _another(questions: Sequence[Question], place: int) -> Question | None:
    """Another user's question, half the set away."""
    far = place + len(questions) // 2
    turned = (questions[(far + step) % len(questions)] for step in range(len(questions)))
    return next((other for other in turned if other.user_id != questions[place].user_id), None)


def _said(aspects: Sequence[Aspect]) -> str | None:
    """An accepted phrase of each aspect, else its evidence."""
    told = [f"I would say: {aspect.accepted[0]}." if aspect.accepted else aspect.evidence for aspect in aspects]
    return " ".join(told) if told and all(told) else None


def _hedged(aspects: Sequence[Aspect]) -> str | None:
    if not aspects or not all(aspect.accepted and aspect.rejected for aspect in aspects):
        return None
    return " ".join(f"I would say: {aspect.accepted[0]}, or else {aspect.rejected[0]}." for aspect in aspects)


def _posts(profile: Profile, aspects: Sequence[Aspect]) -> str | None:
    needed = {document for aspect in aspects for document in aspect.documents}
    words = [word for document in profile.documents if document.id not in needed for word in document.text.split()]
    return " ".join(words[:_COPIED]) or None
