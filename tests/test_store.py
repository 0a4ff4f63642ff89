"""A store in one file: equal to the indexes in memory, whole or not there, and shared between processes."""

import multiprocessing
import random
from pathlib import Path

import pytest
from matching import naming
from timing import best

from profilegym.envs.question import Document, Profile
from profilegym.envs.retrieval import Hit
from profilegym.envs.retrieval.bm25 import BM25, postings
from profilegym.envs.retrieval.store import Store, StoreWriter, encode
from profilegym.errors import DataError

FILE = "people.bm25"
WORDS = [f"word{number}x" for number in range(300)]


def person(number: int) -> Profile:
    rng = random.Random(number)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 80))) for _ in range(rng.choice([1, 3, 40, 300]))]
    return Profile(f"user {number}", tuple(Document(str(rng.random()), text) for text in texts))


def write(path: Path, people: list[Profile]) -> None:
    with StoreWriter(path) as writer:
        for who in people:
            writer.add(who.digest, encode(postings(who)))


def answers(bm25: BM25, people: list[Profile]) -> list[list[Hit]]:
    return [bm25.search(who, " ".join(WORDS[n : n + 6] + WORDS[n : n + 2]), 10) for who in people for n in range(8)]


def test_the_store_answers_exactly_as_memory_does(tmp_path: Path) -> None:
    people = [*map(person, range(40)), Profile("empty", ()), Profile("silent", (Document("1", "the"),))]
    write(tmp_path / FILE, people)

    stored = BM25(store=str(tmp_path / FILE))

    assert len(Store(tmp_path / FILE)) == len(people)
    assert answers(stored, people) == answers(BM25(), people)


def test_counts_beyond_one_byte_survive(tmp_path: Path) -> None:
    who = Profile("u", (Document("1", "boat " * 700), Document("2", "boat sea")))
    write(tmp_path / FILE, [who])

    assert BM25(store=str(tmp_path / FILE)).search(who, "boat sea", 5) == BM25().search(who, "boat sea", 5)


def test_other_settings_of_the_ranking_need_no_other_store(tmp_path: Path) -> None:
    people = [*map(person, range(5))]
    write(tmp_path / FILE, people)

    assert answers(BM25(k1=2.0, b=0.75, store=str(tmp_path / FILE)), people) == answers(BM25(k1=2.0, b=0.75), people)


def test_a_profile_that_is_not_in_the_store_is_indexed_on_the_spot(tmp_path: Path) -> None:
    write(tmp_path / FILE, [person(1)])
    stranger = Profile("user 1", (*person(1).documents, Document("new", "word7x sails")))

    (hit,) = BM25(store=str(tmp_path / FILE)).search(stranger, "sails", 3)

    assert hit.document.id == "new"


def test_a_profile_added_twice_is_kept_once(tmp_path: Path) -> None:
    write(tmp_path / FILE, [person(1), person(1)])

    assert len(Store(tmp_path / FILE)) == 1


def test_what_a_failed_run_leaves_is_no_store_and_does_not_harm_the_one_before(tmp_path: Path) -> None:
    write(tmp_path / FILE, [person(1)])
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(TypeError), StoreWriter(tmp_path / FILE) as writer:
        writer.add(b"0" * 16, "no bytes")  # type: ignore[arg-type]

    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("at", "named"),
    [
        (0, r"\x8frofilegym"),
        (16, "layout"),
        (20, "users"),
        (-1, "users"),
    ],
)
def test_a_damaged_store_is_not_opened(tmp_path: Path, at: int, named: str) -> None:
    write(tmp_path / FILE, [person(1)])
    data = bytearray((tmp_path / FILE).read_bytes())
    data[at] ^= 0xFF
    (tmp_path / FILE).write_bytes(data)

    with pytest.raises(DataError, match=naming(tmp_path / FILE, named)):
        Store(tmp_path / FILE)


@pytest.mark.parametrize("size", [0, 10, 60, -1])
def test_a_store_cut_short_is_not_opened(tmp_path: Path, size: int) -> None:
    write(tmp_path / FILE, [person(1), person(2)])
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:size])

    with pytest.raises(DataError, match=naming(tmp_path / FILE, "profilegym index")):
        Store(tmp_path / FILE)


def test_a_damaged_block_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path / FILE, [person(1)])
    data = bytearray((tmp_path / FILE).read_bytes())
    data[80] ^= 0xFF
    (tmp_path / FILE).write_bytes(data)

    with pytest.raises(DataError, match=naming(tmp_path / FILE, "byte 40")):
        BM25(store=str(tmp_path / FILE)).search(person(1), "word1x", 3)


@pytest.mark.alone
def test_opening_takes_far_less_than_reading_a_table_of_its_users(tmp_path: Path) -> None:
    digests = [number.to_bytes(16, "big") for number in range(100_000)]
    with StoreWriter(tmp_path / FILE) as writer:
        for digest in digests:
            writer.add(digest, b"12345678")

    opening, reading = best(lambda: Store(tmp_path / FILE), lambda: dict.fromkeys(digests, (0, 8, 0)))

    assert len(Store(tmp_path / FILE)) == 100_000
    assert opening < reading / 3


def _answer_in_child(folder: str, people: list[Profile]) -> list[list[Hit]]:
    return answers(BM25(store=folder), people)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 on
def test_many_processes_share_one_store(tmp_path: Path) -> None:
    people = [*map(person, range(10))]
    write(tmp_path / FILE, people)

    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(_answer_in_child, [(str(tmp_path / FILE), people)] * 2)

    assert found == [answers(BM25(), people)] * 2
