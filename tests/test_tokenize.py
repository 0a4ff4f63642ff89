"""A transcript's segments, tokenised one by one, have the tokens that a server makes of the whole text."""

from string import ascii_letters, punctuation
from typing import Any

import pytest

from profilegym.agents.models.tokenize import tokens_of
from profilegym.envs.trajectory import Segment

pytest.importorskip("transformers")

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TRANSCRIPT = [
    Segment("environment", "What shall I read?\n\n"),
    Segment("policy", "<search>books</search>"),
    Segment("environment", "\n\n<information>\n1. [2020] Ghosts.\n</information>\n3 searches are left.\n\n"),
    Segment("policy", "<answer>Ghosts.</answer>"),
]


def tokenizer(before: Any, *merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """Of single characters, and of these pairs; `before` splits the text into words."""
    letters = [*ascii_letters, *punctuation, *"0123456789", "Ċ", "Ġ", "\n", " "]
    vocabulary = {token: number for number, token in enumerate([*letters, *("".join(pair) for pair in merges)])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    made.pre_tokenizer, made.decoder = before, decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made)


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)  # GPT-2's words, as SmolLM2 has them
WHOLE_LINE_BREAKS = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(r"\n+|[^\n]+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)


@pytest.mark.parametrize(("before", "alone"), [(BYTE_LEVEL, False), (WHOLE_LINE_BREAKS, True)])
def test_line_breaks_before_a_turn_are_those_of_the_whole_text(before: Any, alone: bool) -> None:
    reader = tokenizer(before, ("Ċ", "Ċ"))
    whole = reader("".join(segment.text for segment in TRANSCRIPT))["input_ids"]

    found = tokens_of(TRANSCRIPT, reader)

    assert [token for tokens in found for token in tokens] == whole
    assert (found[2] == reader(TRANSCRIPT[2].text)["input_ids"]) is alone


def test_white_space_that_a_tokenizer_joins_to_the_next_word_stays_with_its_segment() -> None:
    reader = tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), ("Ċ", "A"), ("Ċ", "Ċ"))

    found = tokens_of(TRANSCRIPT, reader)

    assert found[2] == reader(TRANSCRIPT[2].text)["input_ids"]
