"""A seeded corpus of made-up words: users with a topic each, documents of 30 to 150 words, queries of 3 to 12."""

from dataclasses import dataclass

import numpy as np

VOCABULARY = 30_000
ZIPF = 1.05
TOPIC = 300  # words that a user writes more often than others do
FROM_TOPIC = 0.25
Words = list[str]


@dataclass(frozen=True, slots=True)
class Corpus:
    users: list[list[Words]]
    queries: list[tuple[int, Words]]  # the user who asks, and what


def make_corpus(users: int, documents: int, queries_a_user: int, seed: int = 0) -> Corpus:
    """The same arguments make the same words on every machine."""
    rng = np.random.default_rng((seed, documents))
    weights = np.arange(1, VOCABULARY + 1) ** -ZIPF
    common = np.cumsum(weights / weights.sum())
    numbers = [_user(rng, common, documents) for _ in range(users)]
    asked = [(user, _query(rng, common, numbers[user])) for user in range(users) for _ in range(queries_a_user)]
    rng.shuffle(asked)
    return Corpus(
        [[_words(document) for document in written] for written in numbers],
        [(user, _words(query)) for user, query in asked],
    )


def _user(rng: np.random.Generator, common: np.ndarray, documents: int) -> list[np.ndarray]:
    lengths = rng.integers(30, 151, documents)
    words = np.searchsorted(common, rng.random(lengths.sum())).clip(max=VOCABULARY - 1)
    topic = rng.integers(200, VOCABULARY, TOPIC)
    about = rng.random(len(words)) < FROM_TOPIC
    words[about] = topic[rng.exponential(60, about.sum()).astype(int).clip(max=TOPIC - 1)]
    return np.split(words, np.cumsum(lengths)[:-1])


def _query(rng: np.random.Generator, common: np.ndarray, written: list[np.ndarray]) -> np.ndarray:
    """Distinct words, two thirds of them from one of the user's own documents."""
    length = int(rng.integers(3, 13))
    own = rng.choice(written[rng.integers(len(written))], 2 * length // 3)
    other = np.searchsorted(common, rng.random(length - len(own))).clip(max=VOCABULARY - 1)
    return np.array(list(dict.fromkeys(np.concatenate([own, other]).tolist())))


_SPELLED: list[str] = [f"w{number}x" for number in range(VOCABULARY)]  # no stemmer or stop list changes these


def _words(numbers: np.ndarray) -> Words:
    return [_SPELLED[number] for number in numbers]
