"""From a transcript to tokens: the one place for rollouts, lessons, training and exact servers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._util.registry import Scalar, split_options
from ...envs.trajectory import Segment
from ...errors import OptionError

_OPEN_THOUGHT = re.compile(r"<think>\s*\Z")
_ARGUMENT = "template_"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """How a model's own chat template is used; a model without one reads the transcript's text as it stands.

    `system` replaces the system prompt that the template adds by itself; None keeps it. `arguments` are the template's
    own, such as `enable_thinking`.
    """

    system: str | None = None
    arguments: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "tuple[ChatTemplate, dict[str, Any]]":
        """From the options of a spec: `system=` and `template_NAME=`; and the options that are left."""
        arguments = {k.removeprefix(_ARGUMENT): v for k, v in options.items() if k.startswith(_ARGUMENT)}
        others = {k: v for k, v in options.items() if k != "system" and not k.startswith(_ARGUMENT)}
        system = options.get("system")
        return cls(None if system is None else str(system), arguments), others

    @property
    def spec(self) -> str:
        """As options of a spec: what made this template makes it again."""
        options: dict[str, Scalar] = {} if self.system is None else {"system": self.system}
        options |= {f"{_ARGUMENT}{name}": value for name, value in self.arguments.items()}
        return "".join(f",{name}={_written(value)}" for name, value in options.items())

    def render(self, message: str, tokenizer: Any) -> str:
        """The user's message, up to where the assistant's begins.

        Some templates begin the assistant's thought themselves. The protocol leaves that to the model: what opens a
        thought is cut off, and the model writes it.
        """
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages = [*system, {"role": "user", "content": message}]
        text: str = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False, **self.arguments
        )
        return _OPEN_THOUGHT.sub("", text)


AS_IS = ChatTemplate()


def template_of(spec: str) -> ChatTemplate:
    """Of a model that is to be trained: its spec may say how its template is used, and nothing else."""
    template, others = ChatTemplate.of(split_options(spec.partition(":")[2])[1])
    if others:
        raise OptionError(
            f"model={spec!r}: {', '.join(others)} cannot be set for a model that is trained; only system= and "
            f"{_ARGUMENT}NAME= can"
        )
    return template


def tokens_of(segments: Sequence[Segment], tokenizer: Any, template: ChatTemplate = AS_IS) -> list[list[int]]:
    """The tokens of each segment: exactly those that it carries, else its text's.

    The chat template renders the first segment as the user's message. All that follows stands inside the assistant's,
    as the transcript has it.
    """
    return tokens_of_all([segments], tokenizer, template)[0]


def tokens_of_all(
    transcripts: Iterable[Sequence[Segment]], tokenizer: Any, template: ChatTemplate = AS_IS
) -> list[list[list[int]]]:
    """As `tokens_of`, of many transcripts with one call of the tokenizer."""
    transcripts = list(transcripts)
    texts = [
        (_text(segment, number, tokenizer, template), _is_bare_beginning(number, tokenizer))
        for segments in transcripts
        for number, segment in enumerate(segments)
        if segment.tokens is None
    ]
    begun = iter(_encoded([text for text, begins in texts if begins], tokenizer, special=True))
    others = iter(_encoded([text for text, begins in texts if not begins], tokenizer, special=False))
    return [
        [
            list(segment.tokens)
            if segment.tokens is not None
            else next(begun if _is_bare_beginning(number, tokenizer) else others)
            for number, segment in enumerate(segments)
        ]
        for segments in transcripts
    ]


def _text(segment: Segment, number: int, tokenizer: Any, template: ChatTemplate) -> str:
    return template.render(segment.text, tokenizer) if number == 0 and tokenizer.chat_template else segment.text


def _is_bare_beginning(number: int, tokenizer: Any) -> bool:
    """Where a text begins, the tokenizer adds its own first token; a chat template has written it already."""
    return number == 0 and not tokenizer.chat_template


def _encoded(texts: list[str], tokenizer: Any, special: bool) -> list[list[int]]:
    if not texts:
        return []
    tokens: list[list[int]] = tokenizer(texts, add_special_tokens=special, return_attention_mask=False)["input_ids"]
    return tokens


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
