"""What surrounds a document: searched with it, or shown beside it, within its session and its owner's profile."""

import pytest
from matching import naming

from profilegym import Document, Hit, Profile, make_retriever
from profilegym.envs.retrieval.neighbours import Context, Window, date_in_words
from profilegym.envs.retrieval.retriever import BaseRetriever
from profilegym.errors import OptionError

TALK = Profile(
    "ann",
    (
        Document("D1:1", "Where do you keep the boat?", "2023-05-08T13:56", speaker="Tom", session="1"),
        Document("D1:2", "In Ghent.", "2023-05-08T13:56", speaker="Ines", session="1"),
        Document("D1:3", "I must go.", "2023-05-08T13:56", speaker="Tom", session="1"),
        Document("D2:1", "Hello again!", "2023-06-01", speaker="Ines", session="2"),
        Document("D2:2", "How is the dog?", "2023-06-01", speaker="Tom", session="2"),
    ),
)
LETTERS = Profile("ann", tuple(Document(letter, letter) for letter in "abcdefg"))


class Scores(BaseRetriever):
    """Finds documents with given scores, and remembers the profiles it was asked about."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores
        self.asked: list[Profile] = []

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        self.asked.append(profile)
        hits = [Hit(document, self.scores[document.id]) for document in profile.documents if document.id in self.scores]
        return sorted(hits, key=lambda hit: (-hit.score, hit.document.id))[:k]


def names(hits: list[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def test_context_finds_an_answer_by_the_question_before_it_and_gives_the_document_itself() -> None:
    plain, wide = (make_retriever(spec).search(TALK, "keep boat", 5) for spec in ("bm25", "bm25:context=1"))

    assert names(plain) == ["D1:1"]
    assert names(wide) == ["D1:1", "D1:2"]
    assert [hit.document for hit in wide] == list(TALK.documents[:2])


def test_context_ends_where_the_session_does() -> None:
    hits = make_retriever("bm25:context=3").search(TALK, "boat", 5)

    assert set(names(hits)) == {"D1:1", "D1:2", "D1:3"}


def test_what_is_searched_is_the_own_text_twice_and_the_neighbours_once_in_order() -> None:
    asked = Scores()
    Context(asked, 1, dates=True).search(TALK, "boat", 3)

    (searched,) = asked.asked
    first, second, *_ = searched.documents
    assert first.text == ("8 May 2023 Tom Where do you keep the boat? Tom Where do you keep the boat? Ines In Ghent.")
    assert second.text == "8 May 2023 Ines In Ghent. Tom Where do you keep the boat? Ines In Ghent. Tom I must go."
    assert (second.id, second.speaker, second.title, second.session) == ("D1:2", None, None, "1")
    assert searched.user_id == TALK.user_id


def test_dates_are_searched_in_words() -> None:
    assert names(make_retriever("bm25").search(TALK, "in June", 5)) == []
    assert names(make_retriever("bm25:dates=true").search(TALK, "in June", 5)) == ["D2:1", "D2:2"]


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("2023-05-08T13:56", "8 May 2023"),
        ("2023-12-31", "31 December 2023"),
        ("2023-05", "May 2023"),
        ("2023", "2023"),
        ("last week", "last week"),
        ("2023-13-01", "2023-13-01"),
    ],
)
def test_a_date_is_told_as_far_as_it_is_precise(date: str, words: str) -> None:
    assert date_in_words(date) == words


def test_equal_ids_of_two_people_are_never_mixed_up() -> None:
    retriever = make_retriever("bm25:context=1,window=1")
    other = Profile("bo", tuple(Document(d.id, f"{d.text} A secret.", session=d.session) for d in TALK.documents))

    for profile in (TALK, other, TALK):
        for query in ("boat", "secret", "dog"):
            assert all(profile.by_id[hit.document.id] is hit.document for hit in retriever.search(profile, query, 5))
    assert retriever.search(TALK, "secret", 5) == []


def test_a_hit_comes_before_its_neighbours_and_these_before_the_next_hit() -> None:
    hits = Window(Scores(d=2.0, g=1.0), 1).search(LETTERS, "tea", 9)

    assert names(hits) == ["d", "c", "e", "g", "f"]
    assert [round(hit.score, 9) for hit in hits] == [2, 2, 2, 1, 1]


def test_neighbours_count_towards_k() -> None:
    window = Window(Scores(d=2.0, g=1.0), 1)

    assert [len(window.search(LETTERS, "tea", k)) for k in range(1, 7)] == [1, 2, 3, 4, 5, 5]
    assert names(window.search(LETTERS, "tea", 1)) == ["d"]


def test_a_neighbour_that_is_found_itself_keeps_the_better_score() -> None:
    hits = Window(Scores(a=1.0, b=3.0, c=2.0), 1).search(LETTERS, "tea", 9)

    assert names(hits) == ["b", "a", "c", "d"]
    assert [round(hit.score, 9) for hit in hits] == [3, 3, 3, 2]


def test_hits_that_tie_come_first_in_the_order_of_ids_then_the_neighbours_of_all() -> None:
    hits = Window(Scores(a=1.0, d=1.0), 1).search(LETTERS, "tea", 9)

    assert names(hits) == ["a", "d", "b", "c", "e"]


def test_a_short_search_gives_the_start_of_a_long_one() -> None:
    window = make_retriever("hybrid:bm25+recency,window=2")
    whole = window.search(TALK, "boat dog", 5)

    assert [window.search(TALK, "boat dog", k) for k in range(1, 6)] == [whole[:k] for k in range(1, 6)]


def test_a_window_ends_where_the_session_does() -> None:
    hits = make_retriever("bm25:window=2").search(TALK, "boat", 5)

    assert names(hits) == ["D1:1", "D1:2", "D1:3"]


def test_a_batch_is_one_call_and_equals_single_searches() -> None:
    retriever = make_retriever("hybrid:bm25+recency,context=1,window=1,dates=true")
    requests = [(TALK, "boat"), (Profile("bo", ()), "a"), (TALK, ""), (LETTERS, "c")]

    assert retriever.search_many(requests, 3) == [retriever.search(profile, query, 3) for profile, query in requests]


def test_the_options_may_stand_anywhere_among_those_of_a_retriever() -> None:
    texts = ("bm25:window=1,k1=1.2", "bm25:k1=1.2,window=1")
    one, other = (make_retriever(text).search(TALK, "boat", 5) for text in texts)

    assert one == other == Window(make_retriever("bm25:k1=1.2"), 1).search(TALK, "boat", 5)


def test_a_part_of_a_hybrid_has_a_context_of_its_own() -> None:
    found = make_retriever("hybrid:bm25:context=1+bm25").search(TALK, "keep boat", 5)

    assert names(found) == ["D1:1", "D1:2"]
    assert found[0].score > 2 * found[1].score * 60 / 63


def test_none_of_the_options_leaves_a_retriever_as_it_is() -> None:
    assert type(make_retriever("bm25:window=0,context=0,dates=false")) is type(make_retriever("bm25"))


@pytest.mark.parametrize("option", ["window=-1", "window=1.5", "context=two", "context=true", "dates=3"])
def test_a_wrong_option_is_named(option: str) -> None:
    with pytest.raises(OptionError, match=naming(option.replace("true", "True"))):
        make_retriever(f"bm25:{option}")
