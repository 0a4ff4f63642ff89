"""Metrics beside a second computation from the published definition, or from the library that the script uses."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_question

from profilegym import Episode, Rubric, make_reward
from profilegym.envs.data.locomo import CATEGORIES
from profilegym.envs.reward import rewards_of
from profilegym.rewards.answer_metrics import token_f1
from profilegym.rewards.label_metrics import accuracy, macro_f1, mae, rmse
from profilegym.rewards.text_metrics import corpus, meteor_measure, rouge_measure

nltk = pytest.importorskip("nltk")
rouge_score = pytest.importorskip("rouge_score")

VOCABULARY = (
    *("the", "a", "an", "and", "boat", "boats", "Ghent", "painted", "painting", "1,000", "May,", "2023", "dying"),
    *("Enjoys", "it's", "well-known", "sister.", "Likely", "no;", "café", "running", "ran", "tea!", "re-union", "Ines"),
)


def texts(count: int, longest: int = 12, joint: str = " ", seed: int = 7) -> list[str]:
    rng = random.Random(seed)
    return [joint.join(rng.choices(VOCABULARY, k=rng.randint(1, longest))) for _ in range(count)]


def published_f1(answer: str, reference: str) -> float:
    """As LoCoMo defines it: precision and recall of stems that pair off, each with one of the other side."""
    stem = nltk.stem.porter.PorterStemmer().stem

    def stems(text: str) -> list[str]:
        kept = "".join(sign for sign in text.lower() if sign not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
        return [stem(word) for word in kept.split() if word not in ("a", "an", "the", "and")]

    given, left = stems(answer), stems(reference)
    wanted, paired = len(left), 0
    for word in given:
        if word in left:
            left.remove(word)
            paired += 1
    if not paired:
        return 0.0
    precision, recall = paired / len(given), paired / wanted
    return 2 * precision * recall / (precision + recall)


def published_multi_hop(answer: str, reference: str) -> float:
    table = np.array([[published_f1(a, r) for a in answer.split(",")] for r in reference.split(",")])
    return float(table.max(axis=1).mean())


def f1_of(category: int, answer: str, reference: str) -> float | None:
    question = replace(make_question(), rubric=Rubric(reference=reference), category=CATEGORIES[category])
    episode = Episode(question)
    episode.write(f"<answer>{answer}</answer>")
    return rewards_of(make_reward("f1")([episode]))[0].total


def test_locomos_f1_is_equal_to_the_last_bit() -> None:
    for answer, reference in zip(texts(2_000), texts(2_000, seed=8), strict=True):
        assert token_f1(answer, reference) == published_f1(answer, reference)


@pytest.mark.parametrize(
    ("category", "published"),
    [
        (1, published_multi_hop),
        (2, published_f1),
        (3, lambda answer, reference: published_f1(answer, reference.split(";")[0])),
        (4, published_f1),
    ],
)
def test_locomos_f1_of_each_category_is_the_published_one(
    category: int, published: Callable[[str, str], float]
) -> None:
    for answer, reference in zip(texts(500, joint=", "), texts(500, joint="; , ", seed=8), strict=True):
        assert f1_of(category, answer, reference) == pytest.approx(published(answer, reference), abs=1e-15)


def published_rouge(kind: str, answer: str, reference: str) -> float:
    """F of the n-grams, or of the longest common subsequence, of runs of ASCII letters and digits in lower case."""

    def words(text: str) -> list[str]:
        return "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in text.lower()).split()

    def runs(text: str) -> list[str]:
        """As many words in a row as the kind says."""
        size, said = int(kind), words(text)
        return [" ".join(said[place : place + size]) for place in range(len(said) - size + 1)]

    of = words if kind == "L" else runs
    given, wanted = of(answer), of(reference)
    if kind == "L":
        same = longest(given, wanted)
    else:
        same = sum(min(given.count(run), wanted.count(run)) for run in set(wanted))
    if not same:
        return 0.0
    precision, recall = same / len(given), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def longest(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        row = [0, *longer(row, word, other)]
    return row[-1]


def longer(row: list[int], word: str, other: list[str]) -> list[int]:
    """The next row of the table of common lengths."""
    found, last = [], 0
    for place, sought in enumerate(other):
        last = row[place] + 1 if word == sought else max(row[place + 1], last)
        found.append(last)
    return found


@pytest.mark.parametrize("kind", ["1", "2", "L"])
def test_rouge_is_equal_to_the_last_bit(kind: str) -> None:
    measure = rouge_measure(kind)

    for answer, reference in zip(texts(1_000), texts(1_000, seed=8), strict=True):
        assert measure(answer, reference) == {f"rouge{kind}": published_rouge(kind, answer, reference)}


def test_the_rouge_of_a_set_is_the_mean_that_the_published_script_estimates_by_resampling() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import BootstrapAggregator

    answers, references = texts(400), texts(400, seed=8)
    np.random.seed(7)  # rouge_score draws from the global generator
    scorer, aggregator = RougeScorer(["rouge1", "rougeL"]), BootstrapAggregator(n_samples=200)
    for answer, reference in zip(answers, references, strict=True):
        aggregator.add_scores(scorer.score(reference, answer))
    published = aggregator.aggregate()

    for name, mean in corpus(rouge_measure("1+L"), answers, references).items():
        assert published[name].low.fmeasure < mean < published[name].high.fmeasure
        assert published[name].mid.fmeasure == pytest.approx(mean, abs=2e-3)


def test_accuracy_and_macro_f1_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = ["comedy", "action", "classic", "never seen"]
    rng = random.Random(7)
    references = rng.choices(labels[:3], k=300)
    answers = [rng.choice([reference, *labels, "no label"]) for reference in references]

    numbers = {label: place for place, label in enumerate(labels)}  # as the script does: another answer is -1
    given, wanted = ([numbers.get(label, -1) for label in of] for of in (answers, references))
    published = metrics.f1_score(wanted, given, labels=[*numbers.values()], average="macro", zero_division=0)

    assert accuracy(answers, references) == metrics.accuracy_score(wanted, given)
    assert macro_f1(answers, references, labels) == pytest.approx(published, abs=1e-15)


def test_errors_of_ratings_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(7)
    references = [float(rng.randint(1, 5)) for _ in range(300)]
    answers = [rng.choice([reference, rng.randint(1, 5), None]) for reference in references]

    given = [
        (1.0 if abs(1 - wanted) > abs(5 - wanted) else 5.0) if answer is None else float(answer)
        for answer, wanted in zip(answers, references, strict=True)
    ]
    said, meant = ["none" if a is None else str(a) for a in answers], [str(reference) for reference in references]

    assert mae(said, meant) == pytest.approx(metrics.mean_absolute_error(references, given), abs=1e-15)
    assert rmse(said, meant) == pytest.approx(math.sqrt(metrics.mean_squared_error(references, given)), abs=1e-15)


def test_meteor_without_synonyms_is_its_definition_where_each_word_occurs_once() -> None:
    measure = meteor_measure(synonyms=False)
    words, rng = ["one", "two", "three", "four", "five", "six", "seven"], random.Random(7)
    for _ in range(500):
        given, wanted = (rng.sample(words, rng.randint(1, 7)) for _ in range(2))
        pairs = {(place, wanted.index(word)) for place, word in enumerate(given) if word in wanted}
        chunks = sum((place - 1, other - 1) not in pairs for place, other in pairs)
        score = 0.0
        if pairs:
            precision, recall = len(pairs) / len(given), len(pairs) / len(wanted)
            mean = precision * recall / (0.9 * precision + 0.1 * recall)
            score = (1 - 0.5 * (chunks / len(pairs)) ** 3) * mean

        assert measure(" ".join(given), " ".join(wanted))["meteor"] == pytest.approx(score, abs=1e-15)
