"""The analyzer against golden terms that the real Lucene made (`tests/data/make_golden.py terms`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from timing import growth

from profilegym.envs.retrieval import analyzer
from profilegym.envs.retrieval.analyzer import analyze, analyze_with_spans
from profilegym.envs.retrieval.porter import stem

GOLDEN: dict[str, list[str]] = json.loads((Path(__file__).parent / "data/terms.json").read_text("utf-8"))


def test_every_golden_text_becomes_the_terms_that_lucene_made() -> None:
    different = {text: (analyze(text), terms) for text, terms in GOLDEN.items() if analyze(text) != terms}

    assert len(GOLDEN) > 3500
    assert different == {}


def test_words_lose_case_possessive_and_ending_and_stop_words_go() -> None:
    assert analyze("The Dogs' and the cat’s TECHNOLOGIES don't stop") == ["dog", "cat", "technolog", "don't", "stop"]


def test_each_term_is_told_with_the_word_that_it_was_made_of() -> None:
    texts = [text for text in GOLDEN if max(map(len, text.split()), default=0) < 100]

    assert len(texts) > 3400
    assert all([term for term, _, _ in analyze_with_spans(text)] == GOLDEN[text] for text in texts)
    text = "Σ The Dogs' naïve cat’s"
    assert [text[start:end] for _, start, end in analyze_with_spans(text)] == ["Σ", "Dogs", "naïve", "cat’s"]


def test_a_text_without_words_has_no_terms() -> None:
    assert [analyze(text) for text in ("", " \n", "...", "___", "the of", "\x00", "\ud800")] == [[]] * 7


def test_a_term_is_one_string_however_often_it_is_met() -> None:
    first, second = analyze("remarkable"), analyze("a remarkably remarkable thing")

    assert first[0] is second[-2]


def test_a_word_is_remembered_no_longer_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(word: str) -> str:
        stemmed.append(word)
        return stem(word)

    words, stemmed = [f"word{number}x" for number in range(50)], list[str]()
    monkeypatch.setattr(analyzer, "_CACHED_WORDS", 10)
    monkeypatch.setattr(analyzer, "stem", noted)

    assert [analyze(word) for word in words * 2] == [[word] for word in words * 2]
    assert stemmed == words * 2
    assert analyze(words[-1]) == [words[-1]]
    assert len(stemmed) == 100


@pytest.mark.alone
@pytest.mark.parametrize("text", ["_" * 50_000, "_\u200d" * 25_000, "a" * 50_000, "é." * 25_000, "#\u0300" * 25_000])
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    assert growth(lambda size: analyze(text[:size]), len(text)) < 33


@pytest.mark.slow
def test_the_class_table_is_read_only_for_text_that_needs_it() -> None:
    script = (
        "import sys; from profilegym.envs.retrieval.analyzer import analyze\n"
        "sys.addaudithook(lambda event, given: event == 'open' and 'word_classes' in str(given[0]) and print('read'))\n"
        "analyze('plain text'); print('then'); analyze('plain café'); analyze('naïve')"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["then", "read"]
