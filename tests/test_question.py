from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from profilegym import Document, Profile

PLAIN = Document("a", "I bought a boat.")


@pytest.mark.parametrize(
    ("known", "head"),
    [
        ({}, ""),
        ({"date": "2024-01-02"}, "[2024-01-02] "),
        ({"date": "2024-01-02", "title": "News"}, "[2024-01-02] News: "),
        ({"speaker": "Ines"}, "Ines: "),
        ({"session": "3"}, "[session 3] "),
        ({"meta": (("place", "Ghent"), ("by", "boat"))}, "[place: Ghent, by: boat] "),
        (
            {"date": "2024-01-02", "session": "3", "meta": (("place", "Ghent"),), "speaker": "Ines", "title": "News"},
            "[2024-01-02, session 3, place: Ghent] Ines: News: ",
        ),
    ],
)
def test_what_is_known_of_a_document_stands_before_its_text(known: dict[str, Any], head: str) -> None:
    assert replace(PLAIN, **known).head == head


def test_documents_with_all_that_is_known_can_be_hashed_and_have_no_room_for_more() -> None:
    document = replace(PLAIN, speaker="Ines", session="3", meta=(("place", "Ghent"),))

    assert document in {document}
    assert not hasattr(document, "__dict__")


def test_profiles_that_differ_in_anything_have_different_digests() -> None:
    others = [
        replace(PLAIN, speaker="x"),
        replace(PLAIN, session="x"),
        replace(PLAIN, meta=(("x", ""),)),
        replace(PLAIN, meta=(("", "x"),)),
        replace(PLAIN, meta=(("x", ""), ("", ""))),
        replace(PLAIN, title="x"),
        replace(PLAIN, date="x"),
    ]
    profiles = [Profile("u", documents) for documents in ((PLAIN,), (PLAIN, PLAIN), *((other,) for other in others))]

    assert all(one.digest != another.digest for one, another in combinations(profiles, 2))


def test_the_digest_of_a_profile_of_plain_posts_is_the_one_that_stores_were_written_with() -> None:
    profile = Profile("u", (Document("a", "I bought a boat.", "2024-01-02", "News"), PLAIN))

    assert profile.digest.hex() == "1feaace6e23349172e78a589f8b04d9a"
