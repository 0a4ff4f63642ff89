"""The pilot's tokenizer: a word is one token, a name is its syllables, anything else is its bytes."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..._util.prompts import template
from ...agents.prompts import FOLDER
from ...agents.rag import prlm, tagpr
from ...envs.prompts import FOLDER as PROTOCOL
from ...envs.tagpr_tags import TAGS as STEPS
from ..data.names import NAME, SYLLABLES

END = "<|end|>"
PAD = "<|pad|>"
TAGS = tuple(f"<{slash}{name}>" for name in ("think", "search", "information", "answer", *STEPS) for slash in ("", "/"))
_WORDS = r"\n\d+\. |\[\d{4}|-\d\d| ?[\p{L}']+|\d| ?[^\s\p{L}\d]+|\s+"
_ANSWER_NOW = ("There is nothing to search this time: answer now.", "No searches are left: answer now.\n\n")
_MOST = 1_000_000  # vocabulary limit, never reached
_LEAST = 3  # minimum count of a word to be one token


def make_tokenizer(texts: Iterable[str], phrases: Sequence[str] = ()) -> Any:
    """A tokenizer that encodes every text without loss; frequent words of `texts` are one token.

    Each phrase is one token wherever it occurs.
    """
    phrases = [*_phrases(), *phrases]
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    cut = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    added = Tokenizer(models.BPE())
    whole = [AddedToken(text, normalized=False) for text in (*TAGS, *phrases)]
    added.add_tokens(whole)
    added.pre_tokenizer = cut
    counted = Tokenizer(models.WordLevel())
    counted.pre_tokenizer = cut
    trainer = trainers.WordLevelTrainer(vocab_size=_MOST, min_frequency=_LEAST, show_progress=False)
    counted.train_from_iterator((_without(phrases, text) for text in texts), trainer)
    words = counted.get_vocab()
    named = {_bytes_of(cut, text) for text in _syllables()}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    often = [word for word in sorted(words, key=words.__getitem__) if not _is_name(word)]
    pieces = dict.fromkeys([*sorted(named), *often, *alphabet])
    scores = [(piece, -10.0 - (len(piece) == 1)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, len(scores) - 1, False))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(whole)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def _phrases() -> list[str]:
    """Frequent phrases of the environment, one token each."""
    return [
        template("tags", PROTOCOL).partition("{{budget}}")[0],
        "\n\nQuestion: ",
        template("plan", FOLDER).partition("{{question}}")[0],
        "\n</information>\n",
        " searches are left.\n\n",
        *_ANSWER_NOW,
        *(agent.instructions for agent in (prlm(), tagpr())),
    ]


def _without(phrases: Iterable[str], text: str) -> str:
    for phrase in phrases:
        text = text.replace(phrase, "\n")
    return text


def _syllables() -> list[str]:
    return [form for s in SYLLABLES for form in (s, s.capitalize(), f" {s.capitalize()}")]


def _bytes_of(cut: Any, text: str) -> str:
    return "".join(piece for piece, _ in cut.pre_tokenize_str(text))


def _is_name(word: str) -> bool:
    return NAME.fullmatch(word.removeprefix("Ġ")) is not None
