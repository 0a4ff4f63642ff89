"""What an evaluator LLM is asked about an answer, and how its reply is read."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from .._util.prompts import fill, fill_text, slots_of, template, version, version_of
from ..envs.question import Aspect, Question
from ..envs.text import after_thinking
from ..errors import JudgeError, OptionError
from .prompts import FOLDER

PAIR_PROMPT = f"{version('pair_rules', FOLDER)}+{version('pair', FOLDER)}"

# PR2's budgets in tokens. Without a tokenizer, four bytes of UTF-8 count as one token.
SLOTS = {"question", "details", "response", "aspect", "reason", "evidence", "mark"}
BUDGETS = {"question": 128, "details": 512, "response": 512, "aspect": 64, "reason": 64, "evidence": 64}
TOTAL = 1200 - 24
LEAST_DETAILS = 128
PAIR_BUDGETS = {"question": 128, "details": 512, "aspects": 768, "first": 512, "second": 512}
_BYTES_A_TOKEN = 4
_CUT = " […]"

_BREAKS = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
# Invisible characters outside category Cf: fillers, the joiner, variation selectors, blank Braille.
INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_CONTROL_TOKEN = re.compile(r"\[(?=/?[A-Z_]{3,}\])")  # [INST] and the like are single tokens to some models


MATCHES = (0, 1, 2)
PLACES = {"first": 1, "second": -1, "neither": 0}
_OBJECT = re.compile(r"""\{\s*["']?\w+["']?\s*:""")  # a brace in prose does not begin an object
_SHOWN = 200


class Opinion(NamedTuple):
    """An evaluator's judgement of one aspect."""

    match: int
    reason: str


class Unreadable(JudgeError):
    """A reply without a readable verdict."""


@dataclass(frozen=True, slots=True)
class AspectPrompt:
    """What is asked about one aspect of an answer, and where the reply holds its verdict.

    `user` has the slots `question`, `details`, `response`, `aspect`, `reason`, `evidence` and `mark`. Without `cut`
    the parts are shown whole. The reply is a JSON object with `verdict`, 0, 1 or 2.
    """

    user: str
    system: str | None
    version: str
    verdict: str = "match"
    cut: bool = True

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        verdict: str = "match",
        cut: bool = True,
        needs: Iterable[str] = ("response", "aspect"),
    ) -> "AspectPrompt":
        """From a text file, for scores that are comparable with those of a published evaluator."""
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"prompt={str(path)!r} cannot be read: {error}") from error
        slots = slots_of(text)
        if unknown := sorted(slots - SLOTS):
            raise OptionError(f"prompt={str(path)!r} has slots that nothing fills: {unknown}; known: {sorted(SLOTS)}")
        if missing := sorted(set(needs) - slots):
            raise OptionError(f"prompt={str(path)!r} lacks the slots {missing}, as in {{{{{missing[0]}}}}}")
        return cls(text, None, f"{Path(path).stem}-{version_of(repr((text, verdict, cut)))}", verdict, cut)

    def whole(self, wanted: bool) -> "AspectPrompt":
        """The same prompt, with parts of any length where that is wanted."""
        return replace(self, cut=False, version=f"{self.version}+whole") if wanted else self

    def messages(self, question: Question, answer: str, aspect: Aspect) -> list[dict[str, str]]:
        """The rules where there are any, then the parts, between marks that no part contains."""
        parts = {
            "question": clean(question.text),
            "details": clean(question.rubric.narrative),
            "response": clean(answer),
            "aspect": clean(aspect.title),
            "reason": clean(aspect.reason),
            "evidence": clean(aspect.evidence),
        }
        if self.cut:
            parts = fitted(parts)
        mark = mark_for((parts["question"], parts["details"], parts["response"]), parts)
        asked = {"role": "user", "content": fill_text(self.user, parts | {"mark": mark})}
        return [asked] if self.system is None else [{"role": "system", "content": self.system}, asked]

    def read(self, reply: str) -> Opinion:
        """From the last complete JSON object; raises `Unreadable` rather than guess from a broken one."""
        found = _object_in(reply)
        match found.get(self.verdict):
            case int(match) if match in MATCHES and not isinstance(match, bool):
                reason = found.get("reason", "" if self.system is None else None)
                if isinstance(reason, str):
                    return Opinion(match, reason)
        raise Unreadable(f"no {self.verdict!r} of 0, 1 or 2 with its 'reason' in the reply: {shortened(reply)!r}")


def messages(question: Question, answer: str, aspect: Aspect) -> list[dict[str, str]]:
    """One call about one aspect, by the prompt that comes with the package."""
    return ASPECT_PROMPT.messages(question, answer, aspect)


def pair_messages(question: Question, first: str, second: str) -> list[dict[str, str]]:
    """One call that compares two answers by all aspects at once, delimited as in `messages`."""
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
    filled = fill(prompt, FOLDER, mark=mark, **parts)
    return [{"role": "system", "content": template(f"{prompt}_rules", FOLDER)}, {"role": "user", "content": filled}]


def clean(text: str) -> str:
    """Removes or shows invisible characters, and breaks what a model could read as a control token."""
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
    """Cuts each part to its budget and all to the total: the details are cut first, the aspect never."""
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
    """A deterministic delimiter that occurs in no part and cannot be guessed without reading all of `known`."""
    seed = "\0".join(known).encode()
    text = unicodedata.normalize("NFKC", "\0".join(parts.values())).casefold()
    mark, tries = "", 0
    while not mark or mark in text:
        mark, tries = blake2b(seed, digest_size=8, salt=tries.to_bytes(8, "little")).hexdigest(), tries + 1
    return mark


def parse(reply: str) -> Opinion:
    """The verdict in a reply to the prompt that comes with the package."""
    return ASPECT_PROMPT.read(reply)


def parse_preference(reply: str) -> int:
    """1 for the first answer, -1 for the second, 0 for neither; raises `Unreadable` as `parse` does."""
    match _object_in(reply):
        case {"better": str(better), "reason": str()} if better in PLACES:
            return PLACES[better]
    raise Unreadable(
        f"no 'reason' with a 'better' of first, second or neither in the evaluator's reply: {shortened(reply)!r}"
    )


def _object_in(reply: str) -> Any:
    if (found := _last_object(after_thinking(reply))) is None:
        raise Unreadable(f"no verdict in the evaluator's reply: {shortened(reply)!r}")
    return found


def shortened(text: str) -> str:
    """The beginning and the end, where verdicts are."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]} … {text[-half:]}"


def _last_object(text: str) -> Any:
    """None where an object is cut off or broken, as its inside may be a quotation of the answer."""
    found, position = None, 0
    while begin := _OBJECT.search(text, position):
        try:
            found, position = _DECODER.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            return None
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_each_key_once)


def _schema(verdict: str, kind: str, offered: Iterable[int | str]) -> dict[str, Any]:
    """The reason comes before the verdict, so that the model writes it first."""
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, verdict: {"type": kind, "enum": list(offered)}},
        "required": ["reason", verdict],
        "additionalProperties": False,
    }


ASPECT_PROMPT = AspectPrompt(
    template("judge", FOLDER),
    template("judge_rules", FOLDER),
    f"{version('judge_rules', FOLDER)}+{version('judge', FOLDER)}",
)
SCHEMA = _schema("match", "integer", MATCHES)
PREFERENCE_SCHEMA = _schema("better", "string", PLACES)
