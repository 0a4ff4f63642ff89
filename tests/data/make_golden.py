"""Makes the golden files by asking the real Lucene: `python tests/data/make_golden.py classes|terms|rankings`.

Needs the `pyserini` extra. `classes` (a minute) writes `envs/retrieval/word_classes.txt`: each character is put into
twenty probe texts, and what the tokenizer makes of them tells its class.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from profilegym.envs.retrieval import pyserini

HERE = Path(__file__).parent
SEPARATOR = "zqzqz"
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


def write_terms() -> None: ...


def write_rankings() -> None: ...


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
