"""ROUGE, BLEU and METEOR as LaMP and LongLaMP use them, computed by rouge-score, sacrebleu and nltk."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from ..errors import MissingExtra, OptionError, RewardError
from .label_metrics import ByReference, Measure, pairs_of

KINDS = ("1", "2", "L", "Lsum")


def rouge(kinds: str = "1+L", stemmer: bool = False) -> ByReference:
    """The sum of F values; without stemming by default, as in LaMP's evaluation."""
    return ByReference(rouge_measure(kinds, stemmer))


def bleu() -> ByReference:
    """Sentence BLEU in [0, 1]."""
    _sacrebleu()  # raises where it is not installed
    return ByReference(_bleu)


def meteor(synonyms: bool = True) -> ByReference:
    """`synonyms=false` needs no WordNet data, but is not the published METEOR."""
    return ByReference(meteor_measure(synonyms))


def rouge_measure(kinds: str, stemmer: bool = False) -> Measure:
    names = {kind: f"rouge{kind}" for kind in str(kinds).split("+")}
    if wrong := set(names) - set(KINDS):
        raise OptionError(f"no ROUGE {', '.join(sorted(wrong))!r}; give some of {'+'.join(KINDS)}")
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtra("ROUGE", "metrics") from error
    return partial(_rouge, RougeScorer(list(names.values()), use_stemmer=stemmer))


def meteor_measure(synonyms: bool = True) -> Measure:
    """Uses nltk's word tokenizer without its sentence splitter, which needs more data."""
    try:
        from nltk.tokenize import NLTKWordTokenizer
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError as error:
        raise MissingExtra("METEOR", "metrics") from error
    words, wordnet = NLTKWordTokenizer().tokenize, _wordnet() if synonyms else _NoSynonyms()
    return partial(_meteor, words, partial(single_meteor_score, wordnet=wordnet))


def corpus(measure: Measure, answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean of each measured value, as LaMP and LongLaMP report ROUGE and METEOR."""
    measured = [measure(answer.strip(), reference.strip()) for answer, reference in pairs_of(answers, references)]
    return {name: fmean(parts[name] for parts in measured) for name in measured[0]}


def corpus_bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """Corpus SacreBLEU in [0, 1]; not the mean over sentences."""
    stripped = [(answer.strip(), reference.strip()) for answer, reference in pairs_of(answers, references)]
    hypotheses, others = map(list, zip(*stripped, strict=True))
    return float(_sacrebleu().corpus_bleu(hypotheses, [others]).score) / 100


def _rouge(scorer: Any, answer: str, reference: str) -> dict[str, float]:
    return {name: float(score.fmeasure) for name, score in scorer.score(reference, answer).items()}


def _bleu(answer: str, reference: str) -> dict[str, float]:
    return {"bleu": _sacrebleu().sentence_bleu(answer, [reference]).score / 100}


def _meteor(words: Callable[[str], Any], score: Callable[..., float], answer: str, reference: str) -> dict[str, float]:
    return {"meteor": float(score(words(reference), words(answer)))}


class _NoSynonyms:
    """A WordNet without entries."""

    def synsets(self, word: str) -> list[Any]:
        return []


def _wordnet() -> Any:
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise RewardError(
            "METEOR needs WordNet's data, which is not installed: get it with `python -m nltk.downloader wordnet`, or "
            "leave synonyms out with meteor:synonyms=false"
        ) from error
    return wordnet


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingExtra("BLEU", "metrics") from error
    return sacrebleu
