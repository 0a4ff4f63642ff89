"""Makes the golden files by asking the real Lucene: `python tests/data/make_golden.py classes|terms|rankings`.

Needs the `pyserini` extra. `classes` (a minute) writes `envs/retrieval/word_classes.txt`: each character is put into
twenty probe texts, and what the tokenizer makes of them tells its class.
"""

import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from profilegym.envs.question import Document, Profile
from profilegym.envs.retrieval import pyserini

HERE = Path(__file__).parent
SEPARATOR = "zqzqz"
FEW_WORDS = ["red", "green", "blue", "boat", "sail", "sea", "wind"]
PROBES = (
    "{}", "k{}k", "1{}1", "{0}{0}", "ア{}ア", "א{}א", "ก{}ก", "👍{}👍", "א{}", "#{}\u20e3", "{}\u20e3", "{0}.1", "{}1",
    '{0}"א', "👍\u200d{}", "👍{0}{0}", "漢{}", "{}\ufe0f", "👍\ufe0f{}\U000e007f", "👍\ufe0f\U000e0061{}",
)  # fmt: skip
EXAMPLES = {
    "L": "b", "H": "ב", "N": "2", "K": "イ", "U": "_", "m": ":", "n": ",", "b": ".", "'": "'", '"': '"',
    "x": "\u0300", "z": "\u200d", "v": "\ufe0f", "t": "\ufe0e", "k": "\u20e3", "c": "\u0e31", "C": "ข", "I": "字",
    "e": "🙂", "i": "Ⓜ", "M": "\U0001f3fc", "R": "🇦", "T": "\U000e0062", "Y": "\U000e007f", "#": "#", "o": "€",
}  # fmt: skip

KIN = {"k": "L", "1": "N", "ア": "K", "א": "H", "ก": "C", "👍": "e", "漢": "I", " ": "o"}  # the probes' own


def main(what: str) -> None:
    {"classes": write_classes, "terms": write_terms, "rankings": write_rankings}[what]()


def write_terms() -> None:
    """Words and texts with the terms that the real analyzer makes of them, as `terms.json`."""
    java = pyserini.start_java()
    analyzer = java.autoclass("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")
    utils = java.autoclass("io.anserini.analysis.AnalyzerUtils")
    words = sorted(set(re.findall(r"[a-z]+", " ".join(topics.values()).lower())))
    terms = {text: list(utils.analyze(analyzer, text).toArray()) for text in [*words, *odd_texts()]}
    write("terms.json", terms)


def odd_texts() -> list[str]:
    """Sentences of many kinds, then scrambles of their characters and of the classes' examples."""
    rng = random.Random(1)
    sentences = (HERE / "odd_texts.txt").read_text("utf-8").split("\n")
    characters = [*"".join(sentences), *EXAMPLES.values(), *"aaas's'._:,123 \t\x00\x1f\ufffd"]
    scrambles = ["".join(rng.choices(characters, k=rng.randint(1, 40))) for _ in range(800)]
    long = ["a" * 300, "a." * 200, "_" * 300 + "x", "𝒂" * 200 + " é", "1,2" * 150, "é_" * 260, "ก" * 300, "👍" * 300]
    return sentences + scrambles + long


def write_rankings() -> None:
    """Top tens of natural text and of made-up words with many ties, as `rankings.json`."""
    paragraphs = [text for topic in topics.values() for text in topic.split("\n\n") if text.strip()][:150]
    rng = random.Random(2)
    repeats = [" ".join(rng.choices(FEW_WORDS, k=rng.randint(1, 40))) for _ in range(150)]
    retriever = pyserini.Pyserini()
    golden = []
    for texts in (paragraphs, repeats):
        words = " ".join(texts).split()
        queries = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(100)]
        who = Profile("golden", tuple(Document(str(number), text) for number, text in enumerate(texts)))
        found = [[int(hit.document.id) for hit in retriever.search(who, query, 10)] for query in queries]
        golden.append({"documents": texts, "queries": queries, "found": found})
    write("rankings.json", golden)


def write(name: str, golden: Any) -> None:
    (HERE / name).write_text(json.dumps(golden, ensure_ascii=True, indent=0) + "\n", "utf-8")


def write_classes() -> None:
    kinds = dict(zip(behaviours(map(ord, EXAMPLES.values())), EXAMPLES, strict=True))
    assert len(kinds) == len(EXAMPLES), (
        f"two classes look alike, a probe is missing: {set(EXAMPLES) - set(kinds.values())}"
    )
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    lines = defaultdict(list)
    for code, behaviour in zip(codes, behaviours(codes), strict=True):
        kin = KIN.get(lower(code))
        lines[kin or kinds[behaviour]].append(code)
    header = "// What Lucene's StandardTokenizer takes each character for; made by tests/data/make_golden.py classes\n"
    body = "".join(f"{letter} {ranges(lines[letter])}\n" for letter in sorted(lines) if letter != "o")
    (HERE.parents[1] / "envs/retrieval/word_classes.txt").write_text(header + body, "utf-8")


def behaviours(codes: Iterable[int]) -> list[str]:
    """What the tokenizer makes of each probe with the character in it, written as `@`."""
    java = pyserini.start_java()
    empty = java.autoclass("org.apache.lucene.analysis.CharArraySet").EMPTY_SET
    analyzer = java.autoclass("io.anserini.analysis.DefaultEnglishAnalyzer").newNonStemmingInstance(empty)
    utils = java.autoclass("io.anserini.analysis.AnalyzerUtils")
    made = []
    for part in batched(codes, 4000):
        texts = [probe.format(chr(code)) for code in part for probe in PROBES]
        found = " ".join(utils.analyze(analyzer, f" \n {SEPARATOR} \n ".join(texts)).toArray()).split(SEPARATOR)
        answers = [words.strip(" ") for words in found]
        assert len(answers) == len(texts)
        for number, code in enumerate(part):
            own = answers[number * len(PROBES) : (number + 1) * len(PROBES)]
            made.append("\n".join(words.replace(lower(code), "@") for words in own))
    return made


def batched(items: Iterable[int], size: int) -> Iterator[list[int]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def lower(code: int) -> str:
    return "i" if code == 0x130 else chr(code).lower()


def ranges(codes: list[int]) -> str:
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in spans)


if __name__ == "__main__":
    main(*sys.argv[1:])
