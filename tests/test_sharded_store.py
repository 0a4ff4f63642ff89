"""A store in a folder: equal to one file and to memory, built by any workers, and whole or an error."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matching import naming

from profilegym import Document, Hit, Profile, load_questions
from profilegym.apps.index import index
from profilegym.envs.data import QuestionSet
from profilegym.envs.retrieval import bm25
from profilegym.envs.retrieval.bm25 import BM25, postings
from profilegym.envs.retrieval.sharded_store import MANIFEST, Manifest, ShardedStore, building, shard_of, shard_path
from profilegym.envs.retrieval.store import PART, StoreWriter, encode
from profilegym.errors import DataError

DATA = "world:users=700,docs=40"  # 4,200 questions
SHARDS = 4


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "store"
    index(DATA, folder, "local:2")
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    folder = tmp_path / "store"
    folder.mkdir()
    for path in built.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def no_indexing(monkeypatch: pytest.MonkeyPatch) -> None:
    def indexed(profile: Profile) -> None:
        raise AssertionError(f"{profile.user_id} was indexed")

    monkeypatch.setattr(bm25, "postings", indexed)


def found(retriever: BM25, questions: QuestionSet) -> list[list[Hit]]:
    return [retriever.search(question.profile, question.text, 5) for question in questions]


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


@pytest.mark.slow
def test_shards_one_file_and_memory_answer_alike(built: Path, tmp_path: Path) -> None:
    questions = load_questions(DATA)
    with StoreWriter(tmp_path / "one.bm25") as writer:
        for profile in {question.profile.digest: question.profile for question in questions}.values():
            writer.add(profile.digest, encode(postings(profile)))

    of_shards = found(BM25(store=built), questions)

    assert of_shards == found(BM25(store=tmp_path / "one.bm25"), questions) == found(BM25(), questions)
    assert sorted(inodes(built)) == [*(f"{number:03d}.bm25" for number in range(SHARDS)), MANIFEST]


@pytest.mark.slow
@pytest.mark.usefixtures("no_indexing")
def test_only_the_shard_of_the_user_is_opened(built: Path) -> None:
    question = load_questions(DATA)[0]
    opened = ShardedStore(built)

    assert BM25(store=built).search(question.profile, question.text, 5)
    assert opened.find(question.profile)
    assert list(opened._shards) == [shard_of(question.user_id, SHARDS)]


@pytest.mark.slow
def test_a_store_is_opened_anew_in_another_process(built: Path) -> None:
    question = load_questions(DATA)[0]
    retriever = pickle.loads(pickle.dumps(BM25(store=built)))

    assert retriever.search(question.profile, question.text, 5) == BM25().search(question.profile, question.text, 5)


def test_users_with_the_same_document_ids_find_their_own(tmp_path: Path, no_indexing: None) -> None:
    people = [
        Profile(f"user {number}", (Document("1", f"boat of owner{number}"), Document("2", "tea")))
        for number in range(500)
    ]
    manifest = Manifest("made here", 500, 7)
    with building(tmp_path, manifest):
        for number in range(manifest.shards):
            with StoreWriter(shard_path(tmp_path, number)) as writer:
                for who in people:
                    if shard_of(who.user_id, manifest.shards) == number:
                        writer.add(who.digest, encode(postings(who)))
        with pytest.raises(DataError, match=naming(tmp_path, "another process")), building(tmp_path, manifest):
            pass

    answers = BM25(store=tmp_path).search_many([(who, f"boat owner{n}") for n, who in enumerate(people)], 1)

    assert [hit.document.text for (hit,) in answers] == [f"boat of owner{number}" for number in range(500)]


def test_shards_are_of_equal_size_and_there_are_at_most_256() -> None:
    sizes = [0] * 256
    for number in range(100_000):
        sizes[shard_of(f"world-0-{number:06d}", 256)] += 1

    assert [Manifest.of("d", questions).shards for questions in (1, 2_500, 10**9)] == [1, 2, 256]
    assert 0.75 < min(sizes) / (100_000 / 256) < max(sizes) / (100_000 / 256) < 1.25


@pytest.mark.slow
def test_only_missing_shards_are_built_and_leftovers_removed(store: Path) -> None:
    shard_path(store, 1).unlink()
    before = inodes(store)
    (store / f"001.bm25.killed{PART}").write_bytes(b"half")

    index(DATA, store, "local:1")

    after = inodes(store)
    assert after.keys() == {*before, "001.bm25"}
    assert {name: after[name] for name in before} == before
    assert BM25(store=store)


@pytest.mark.slow
def test_a_killed_build_goes_on(tmp_path: Path, built: Path) -> None:
    command = [sys.executable, "-m", "profilegym", "index", DATA, "--out", str(tmp_path), "--on", "local:1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as building:
        while building.poll() is None and not list(tmp_path.glob("*.bm25")):
            time.sleep(0.01)
        building.send_signal(signal.SIGKILL)
    kept = inodes(tmp_path)
    with pytest.raises(DataError, match=naming(tmp_path, DATA)):
        BM25(store=tmp_path)

    index(DATA, tmp_path)

    finished = [name for name in kept if name.endswith(".bm25")]
    assert finished
    assert {name: inodes(tmp_path)[name] for name in finished} == {name: kept[name] for name in finished}
    questions = load_questions(DATA)
    assert found(BM25(store=tmp_path), questions) == found(BM25(store=built), questions)


@pytest.mark.slow
def test_a_missing_shard_is_named_with_what_builds_it(store: Path) -> None:
    opened = ShardedStore(store)
    question = load_questions(DATA)[0]
    path = shard_path(store, shard_of(question.user_id, SHARDS))
    path.unlink()
    told = naming(path, 1, SHARDS, f"profilegym index {DATA} --out {store}")

    with pytest.raises(DataError, match=told):
        ShardedStore(store)
    with pytest.raises(DataError, match=told):
        opened.find(question.profile)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, -1])
def test_a_damaged_shard_is_named_and_the_others_answer(store: Path, at: int) -> None:
    questions = load_questions(DATA)
    damaged = shard_of(questions[0].user_id, SHARDS)
    other = next(q for q in questions if shard_of(q.user_id, SHARDS) != damaged)
    path = shard_path(store, damaged)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    retriever = BM25(store=store)

    assert retriever.search(other.profile, other.text, 5)
    with pytest.raises(DataError, match=naming(path, f"profilegym index {DATA} --out {store}")):
        retriever.search(questions[0].profile, "boat", 5)
    with pytest.raises(DataError, match=naming(path)):
        index(DATA, store)


@pytest.mark.slow
def test_the_folder_of_another_store_is_not_written_to(store: Path, tmp_path: Path) -> None:
    before = inodes(store)

    with pytest.raises(DataError, match=naming(store, DATA, "world:users=3")):
        index("world:users=3", store)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=naming(tmp_path / "file")):
        index("world:users=3", tmp_path / "file")

    assert inodes(store) == before


@pytest.mark.parametrize(
    "written", ["", "{", "[]", '{"layout": 1}', '{"data": "d", "questions": 1, "shards": 1, "layout": 0}']
)
def test_a_damaged_or_outdated_manifest_is_an_error(tmp_path: Path, written: str) -> None:
    (tmp_path / MANIFEST).write_text(written)

    with pytest.raises(DataError, match=naming(tmp_path)):
        BM25(store=tmp_path)


def test_a_missing_store_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=naming(f"profilegym index SPEC --out {tmp_path / 'nowhere'}")):
        BM25(store=tmp_path / "nowhere")


def test_a_data_set_that_is_smaller_than_a_shard_has_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index("world:users=30,docs=40", tmp_path, "local:2")

    questions = load_questions("world:users=30,docs=40")
    assert found(BM25(store=tmp_path), questions) == found(BM25(), questions)
    assert sorted(os.listdir(tmp_path)) == ["000.bm25", MANIFEST]
    assert f"bm25:store={tmp_path}" in capsys.readouterr().out.replace("\n", "")
