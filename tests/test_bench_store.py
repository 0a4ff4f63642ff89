"""The benchmark of a served store asks every user, and sees an answer that is another user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from profilegym import load_questions
from profilegym.benchmarks.store_server import People, crossings, measure, targets


class Mixed:
    """Gives each user but the first the answer of the user before."""

    def ask(self, users: Sequence[str], queries: Sequence[str]) -> list[list[dict[str, Any]]]:
        people, before = People(10), [users[0], *users[:-1]]
        return [
            [{"document": {"contents": people[int(user[1:])].profile.documents[3].text}, "score": 1.0}]
            for user in before
        ]


def test_answers_of_another_user_are_counted() -> None:
    assert crossings(10, Mixed()) == {"answers": 10, "documents of answers": 10, "documents of another user": 9}


def test_its_users_have_the_same_document_ids_and_other_texts() -> None:
    questions = load_questions(People(60).spec)

    assert len({tuple(d.id for d in question.profile.documents) for question in questions}) == 1
    assert len({d.text for question in questions for d in question.profile.documents}) == 60 * 20
    assert [questions.first_of(question.user_id) for question in questions] == list(range(60))
    assert questions.first_of("u60") is None


@pytest.mark.slow
def test_a_small_store_is_built_served_and_asked_for_every_user(tmp_path: Path) -> None:
    found = measure(300, tmp_path / "store")

    assert (found["answers"], found["documents of another user"]) == (300, 0)
    assert [target.holds for target in targets(found)][-2:] == [True, True]
    assert found["server, µs"] > found["empty request, µs"] > 0
