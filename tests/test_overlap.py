"""ROUGE, BLEU and METEOR."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from conftest import make_question
from matching import naming

from profilegym import Episode, Rubric, make_reward
from profilegym.envs.reward import rewards_of
from profilegym.errors import DataError, MissingExtra, OptionError, RewardError
from profilegym.rewards.text_metrics import corpus, corpus_bleu, rouge_measure

for module in ("rouge_score", "sacrebleu", "nltk"):
    pytest.importorskip(module)


def answered(answer: str, reference: str | None) -> Episode:
    episode = Episode(replace(make_question(), rubric=Rubric(reference=reference)))
    episode.write(f"<answer>{answer}</answer>")
    return episode


def test_rouge_is_that_worked_out_by_hand_and_its_sum_the_reward() -> None:
    (reward,) = rewards_of(make_reward("rouge:1+2+L")([answered("the cat sat", "the cat ran away")]))

    # one words: 2 of 3, 2 of 4; two words: 1 of 2, 1 of 3; longest: 2 of 3, 2 of 4
    assert reward.parts == {
        "rouge1": pytest.approx(4 / 7),
        "rouge2": pytest.approx(2 / 5),
        "rougeL": pytest.approx(4 / 7),
    }
    assert reward.total == pytest.approx(8 / 7 + 2 / 5)


def test_words_are_stemmed_only_where_that_was_asked_for() -> None:
    episode = answered("cats running", "cat runs")

    assert rewards_of(make_reward("rouge:1")([episode]))[0].total == 0
    assert rewards_of(make_reward("rouge:1,stemmer=true")([episode]))[0].total == 1


def test_lsum_counts_lines() -> None:
    (reward,) = rewards_of(make_reward("rouge:L+Lsum")([answered("c d\na b", "a b\nc d")]))

    assert reward.parts == {"rougeL": 0.5, "rougeLsum": 1.0}


def test_bleu_lies_between_0_and_1_and_a_corpus_is_not_the_mean_of_its_sentences() -> None:
    same, other = "one two three four five", "six seven"

    rewards = rewards_of(make_reward("bleu")([answered(same, same), answered(other, same)]))

    assert [reward.total for reward in rewards] == [pytest.approx(1), pytest.approx(0)]
    assert 0.5 < corpus_bleu([same, other], [same, same]) < 1


def test_a_corpus_is_the_mean_of_rouge() -> None:
    assert corpus(rouge_measure("1"), ["a b", "c"], ["a b", "d"]) == {"rouge1": 0.5}


@pytest.mark.parametrize("measure", [corpus_bleu, partial(corpus, rouge_measure("1"))])
@pytest.mark.parametrize("references", [[], ["a b", "a b"]])
def test_a_corpus_needs_a_reference_for_each_answer(
    measure: Callable[[list[str], list[str]], Any], references: list[str]
) -> None:
    with pytest.raises(DataError, match=naming(1, len(references))):
        measure(["a b"], references)


def test_meteor_without_synonyms_knows_stems() -> None:
    reward = make_reward("meteor:synonyms=false")

    (stems,) = rewards_of(reward([answered("the cats", "the cat")]))
    (nothing,) = rewards_of(reward([answered("a dog", "the cat")]))

    assert stems.total == pytest.approx(1 - 0.5 * (1 / 2) ** 3)
    assert nothing.total == 0


def test_meteor_says_which_data_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr("nltk.corpus.wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))

    with pytest.raises(RewardError, match=r"nltk\.downloader wordnet"):
        make_reward("meteor")


def test_an_answer_without_a_reference_is_unscored() -> None:
    (reward,) = rewards_of(make_reward("rouge")([answered("tea", None)]))

    assert reward.total is None


def test_an_unknown_rouge_and_a_missing_extra_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=naming("'7'", "1+2+L+Lsum")):
        make_reward("rouge:1+7")
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"profilegym\[metrics\]"):
        make_reward("bleu")
