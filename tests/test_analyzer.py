"""The analyzer against golden terms that the real Lucene made (`tests/data/make_golden.py terms`)."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from profilegym.envs.retrieval import analyzer
from profilegym.envs.retrieval.analyzer import analyze, located

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
    assert all([term for term, _, _ in located(text)] == GOLDEN[text] for text in texts)
    text = "Σ The Dogs' naïve cat’s"
    assert [text[start:end] for _, start, end in located(text)] == ["Σ", "Dogs", "naïve", "cat’s"]


def test_a_text_without_words_has_no_terms() -> None:
    assert [analyze(text) for text in ("", " \n", "...", "___", "the of", "\x00", "\ud800")] == [[]] * 7


def test_a_term_is_one_string_however_often_it_is_met() -> None:
    first, second = analyze("remarkable"), analyze("a remarkably remarkable thing")

    assert first[0] is second[-2]


def test_a_word_is_remembered_no_longer_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyzer, "_REMEMBERED", 10)

    terms = [analyze(f"word{number}x") for number in range(50)]

    assert terms == [[f"word{number}x"] for number in range(50)]
    assert len(analyzer._TERMS) <= 10


@pytest.mark.parametrize("text", ["_" * 50_000, "_\u200d" * 25_000, "a" * 50_000, "é." * 25_000, "#\u0300" * 25_000])
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    def seconds(length: int) -> float:
        start = time.process_time()
        analyze(text[:length])
        return time.process_time() - start

    analyze(text[:10])
    short, long = min(seconds(len(text) // 10) for _ in range(3)), seconds(len(text))

    assert long < 100 * short / 3 + 0.02  # ten times the text; a quadratic one would take a hundred times


def test_the_class_table_is_read_only_for_text_that_needs_it() -> None:
    script = (
        "from profilegym.envs.retrieval import analyzer as a\n"
        "a.analyze('plain text'); print(a._word_classes.cache_info().misses)\n"
        "a.analyze('plain café'); print(a._word_classes.cache_info().misses)"
    )

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.split() == ["0", "1"]
