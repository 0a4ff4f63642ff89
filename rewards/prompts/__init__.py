"""What a judge is asked, and how foreign text is kept inside its place there."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from ..._util.prompts import fill, template, version
from ...envs.question import Aspect, Question

PROMPT = f"{version('judge_rules', __name__)}+{version('judge', __name__)}"
PAIR_PROMPT = f"{version('pair_rules', __name__)}+{version('pair', __name__)}"

# PR2's budgets in tokens. There is no tokenizer here: four bytes of UTF-8 count as one token.
BUDGETS = {"question": 128, "details": 512, "response": 512, "aspect": 64, "reason": 64, "evidence": 64}
TOTAL = 1200 - 24
LEAST_DETAILS = 128
PAIR_BUDGETS = {"question": 128, "details": 512, "aspects": 768, "first": 512, "second": 512}
_BYTES_A_TOKEN = 4
_CUT = " […]"

_BREAKS = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# Letters and marks that show nothing, beside the category Cf: fillers, the joiner, variation selectors, blank Braille.
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_CONTROL_TOKEN = re.compile(r"\[(?=/?[A-Z_]{3,}\])")  # [INST] and its kind are single tokens to some models


def messages(question: Question, answer: str, aspect: Aspect) -> list[dict[str, str]]:
    """One call: the rules, and the parts between marks that none of them can hold."""
    parts = fitted(
        {
            "question": clean(question.text),
            "details": clean(question.rubric.narrative),
            "response": clean(answer),
            "aspect": clean(aspect.title),
            "reason": clean(aspect.reason),
            "evidence": clean(aspect.evidence),
        }
    )
    known = (parts["question"], parts["details"], parts["response"])
    return _asked("judge", mark_for(known, parts), parts)


def pair_messages(question: Question, first: str, second: str) -> list[dict[str, str]]:
    """One call that compares two answers by all aspects at once, each part kept in its place as in `messages`."""
    whole = {
        "question": clean(question.text),
        "details": clean(question.rubric.narrative),
        "aspects": "\n".join([_item(aspect) for aspect in question.rubric.aspects]),
        "first": clean(first),
        "second": clean(second),
    }
    parts = {name: _cut(text, PAIR_BUDGETS[name]) for name, text in whole.items()}
    return _asked("pair", mark_for(parts.values(), parts), parts)


def _item(aspect: Aspect) -> str:
    texts = {"aspect": aspect.title, "reason": aspect.reason, "evidence": aspect.evidence}
    title, reason, evidence = (_cut(clean(text), BUDGETS[name]) for name, text in texts.items())
    return f"- {title}\n  why: {reason or '-'}\n  evidence: {evidence or '-'}"


def _asked(prompt: str, mark: str, parts: Mapping[str, str]) -> list[dict[str, str]]:
    filled = fill(prompt, __name__, mark=mark, **parts)
    return [{"role": "system", "content": template(f"{prompt}_rules", __name__)}, {"role": "user", "content": filled}]


def clean(text: str) -> str:
    """What cannot be seen is removed or made visible, and what a model could take for a control token is broken."""
    text = _BREAKS.sub("\n", text)
    if not text.isascii() or not text.isprintable():
        text = "".join([_visible(letter) for letter in INVISIBLE.sub("", text)])
    return _CONTROL_TOKEN.sub("[ ", text.replace("<", "&lt;")).strip()


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cf":
        return ""
    return "�" if category in ("Cc", "Cs", "Co", "Cn") and letter not in "\n\t" else letter


def fitted(parts: Mapping[str, str]) -> dict[str, str]:
    """Each part within its budget, and all within the total: the details give way, the aspect never."""
    cut = {name: _cut(text, BUDGETS[name]) for name, text in parts.items()}
    rest = sum([_tokens(text) for name, text in cut.items() if name != "details"])
    cut["details"] = _cut(cut["details"], max(LEAST_DETAILS, min(BUDGETS["details"], TOTAL - rest)))
    return cut


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def _cut(text: str, tokens: int) -> str:
    if _tokens(text) <= tokens:
        return text
    kept = text.encode()[: tokens * _BYTES_A_TOKEN - len(_CUT.encode())]
    return kept.decode(errors="ignore").rstrip() + _CUT


def mark_for(known: Iterable[str], parts: Mapping[str, str]) -> str:
    """Not to be guessed by who cannot read all that is known, the same for the same text, and found in no part."""
    seed = "\0".join(known).encode()
    text = unicodedata.normalize("NFKC", "\0".join(parts.values())).casefold()
    mark, tries = "", 0
    while not mark or mark in text:
        mark, tries = blake2b(seed, digest_size=8, salt=tries.to_bytes(8, "little")).hexdigest(), tries + 1
    return mark
