"""Reranking by a cross-encoder: a tiny random one, and the promises of every retriever."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Document, Hit, Profile, Retriever, make_retriever
from profilegym.envs.retrieval.rerank import Rerank
from profilegym.envs.retrieval.retriever import BaseRetriever
from profilegym.errors import OptionError
from profilegym.testing import RetrieverContract

pytest.importorskip("sentence_transformers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "green", "tea", "cold", "milk", "black", "coffee", "cup"]
TEXTS = ("green tea", "cold milk", "black coffee", "a cup of tea", "cold coffee", "tea")


def save_model(folder: Path, labels: int) -> str:
    """A random BERT with a head of one or more scores."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(
        vocab_size=len(WORDS), max_position_embeddings=64, num_labels=labels, initializer_range=1.0, **shape
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("cross-encoder"), labels=1)


class All(BaseRetriever):
    """Finds the documents in the profile's order, and remembers how many were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        self.asked.append(k)
        return [Hit(document, -float(place)) for place, document in enumerate(profile.documents[:k]) if query.strip()]


def profile(*texts: str) -> Profile:
    return Profile("ann", tuple(Document(f"d{place}", text) for place, text in enumerate(texts)))


def scores_of(hits: list[Hit]) -> dict[str, float]:
    return {hit.document.text: hit.score for hit in hits}


def test_scores_are_the_models_own_of_query_and_document(model: str) -> None:
    from sentence_transformers import CrossEncoder

    expected = CrossEncoder(model, local_files_only=True).predict([("tea", text) for text in TEXTS])

    hits = Rerank(model, over=All()).search(profile(*TEXTS), "tea", 6)

    assert scores_of(hits) == pytest.approx(dict(zip(TEXTS, map(float, expected), strict=True)), abs=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.score for hit in hits}) == len(TEXTS)


def test_the_model_reads_speaker_and_title(model: str) -> None:
    named = Profile("ann", (Document("1", "tea", title="cold", speaker="milk"), Document("2", "milk cold tea")))

    first, second = Rerank(model, over=All()).search(named, "coffee", 2)

    assert first.score == second.score


def test_only_the_first_hits_are_ranked_and_all_where_more_are_wanted(model: str) -> None:
    over = All()
    retriever = Rerank(model, over=over, depth=2)

    few, many = retriever.search(profile(*TEXTS), "tea", 1), retriever.search(profile(*TEXTS), "tea", 4)

    assert over.asked == [2, 4]
    assert few[0].document.text in TEXTS[:2]
    assert set(scores_of(many)) == set(TEXTS[:4])


def test_equal_texts_score_equal_and_come_in_the_order_of_ids(model: str) -> None:
    hits = Rerank(model, over=All()).search(profile("tea", "milk", "tea", "tea"), "cold tea", 4)

    ties = [hit for hit in hits if hit.document.text == "tea"]
    assert [hit.document.id for hit in ties] == ["d0", "d2", "d3"]
    assert len({hit.score for hit in ties}) == 1


def test_what_finds_nothing_is_not_asked(model: str) -> None:
    retriever = Rerank(model, over="bm25")

    assert retriever.search(profile(*TEXTS), " ", 3) == []
    assert retriever.search_many([(profile(), "tea"), (profile("tea"), "zebra")], 3) == [[], []]


def test_a_copy_in_another_process_ranks_as_before(model: str) -> None:
    retriever = make_retriever(f"rerank:{model},over=bm25,depth=5,window=1")
    expected = retriever.search(profile(*TEXTS), "tea", 4)

    for again in (pickle.loads(pickle.dumps(retriever)), copy.deepcopy(retriever)):
        assert again.search(profile(*TEXTS), "tea", 4) == expected


def test_a_model_with_several_scores_is_refused(tmp_path: Path) -> None:
    retriever = Rerank(save_model(tmp_path, labels=3), over=All())

    with pytest.raises(OptionError, match=naming("3 scores")):
        retriever.search(profile(*TEXTS), "tea", 2)


@pytest.mark.parametrize("options", [{"depth": 0}, {"batch": 0}])
def test_a_wrong_option_is_named(model: str, options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(OptionError, match=naming(f"{name}={value}")):
        Rerank(model, over=All(), **options)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=naming(str(tmp_path / "none"))):
        make_retriever(f"rerank:{tmp_path}/none,over=bm25")


class TestRerank(RetrieverContract):
    @pytest.fixture(autouse=True)
    def _model(self, model: str) -> None:
        self.model = model

    def make(self) -> Retriever:
        return make_retriever(f"rerank:{self.model},over=bm25,depth=30")
