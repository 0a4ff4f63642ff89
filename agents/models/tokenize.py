"""From a transcript to tokens: the one place for rollouts, lessons, training and exact servers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any

from ..._util.registry import Scalar, split_options
from ...envs.text import well_formed
from ...envs.trajectory import Segment
from ...errors import OptionError
from .call_forms import CallingTurn, Reader, ToolCall
from .tool_chat import ToolChat, Tools

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
        return self.write([{"role": "user", "content": message}], tokenizer)

    def write(
        self, messages: Sequence[Mapping[str, Any]], tokenizer: Any, tools: Tools | None = None, begin: bool = True
    ) -> str:
        """The messages as the template writes them; with `begin`, up to where the next turn of the assistant begins."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        offered = {} if tools is None else {"tools": list(tools)}
        text: str = tokenizer.apply_chat_template(
            [*system, *messages], add_generation_prompt=begin, tokenize=False, **offered, **self.arguments
        )
        return _OPEN_THOUGHT.sub("", text) if begin else text


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


def tool_chat(tokenizer: Any, template: ChatTemplate = AS_IS) -> ToolChat | None:
    """How the model's chat template writes native tool calls; None where it has none, or takes no tools."""
    if not tokenizer.chat_template or not tokenizer.eos_token:
        return None
    return _tool_chat(tokenizer, template.system, tuple(template.arguments.items()), str(tokenizer.chat_template))


def tokens_of(
    segments: Sequence[Segment],
    tokenizer: Any,
    template: ChatTemplate = AS_IS,
    tools: Tools | None = None,
    open_turn: bool = False,
) -> list[list[int]]:
    """The tokens of each segment: exactly those that it carries, else its text's.

    The chat template renders the first segment as the user's message. All that follows stands inside the assistant's,
    as the transcript has it. With `tools`, and a template that takes tools, calls and results are messages of their
    own; `open_turn` says that the last segment may be the beginning of a turn.
    """
    return tokens_of_all([segments], tokenizer, template, [tools], open_turn)[0]


def tokens_of_all(
    transcripts: Iterable[Sequence[Segment]],
    tokenizer: Any,
    template: ChatTemplate = AS_IS,
    tools: Iterable[Tools | None] = repeat(None),
    open_turn: bool = False,
) -> list[list[list[int]]]:
    """As `tokens_of`, of many transcripts, each with its tools, with one call of the tokenizer."""
    transcripts = list(transcripts)
    texts = [
        (text, _is_bare_beginning(number, tokenizer))
        for segments, offered in zip(transcripts, tools, strict=False)
        for number, (segment, text) in enumerate(
            zip(segments, _texts(segments, tokenizer, template, offered, open_turn), strict=True)
        )
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


def _texts(
    segments: Sequence[Segment], tokenizer: Any, template: ChatTemplate, tools: Tools | None, open_turn: bool
) -> Sequence[str]:
    """Of those without tokens; of the others, any text."""
    chat = tool_chat(tokenizer, template) if tools is not None else None
    if chat is not None and tools is not None:
        return chat.texts(segments, tools, lambda turn: _has_end(turn, tokenizer), open_turn)
    texts = [segment.text for segment in segments]
    if tokenizer.chat_template and segments[0].tokens is None:
        texts[0] = template.render(texts[0], tokenizer)
    return texts


def _has_end(turn: Segment, tokenizer: Any) -> bool:
    """Whether a sampled turn has its end. A turn without tokens is written with it.

    Not all ends have a role by name, such as that of a text: Llama 3.1 ends a call with `<|eom_id|>`.
    """
    if not turn.tokens or turn.tokens[-1] in tokenizer.all_special_ids:
        return True
    added = tokenizer.added_tokens_decoder.get(turn.tokens[-1])
    return added is not None and bool(added.special)


@lru_cache(maxsize=8)
def _tool_chat(
    tokenizer: Any, system: str | None, arguments: tuple[tuple[str, Scalar], ...], chat_template: str
) -> ToolChat | None:
    """Cached, as a few renderings find it out; `chat_template` is the tokenizer's, which may be changed."""
    template = ChatTemplate(system, dict(arguments))

    def write(messages: Sequence[Mapping[str, Any]], tools: Tools, begin: bool) -> str:
        return template.write(messages, tokenizer, tools, begin)

    controls = (token for token in tokenizer.added_tokens_decoder.values() if token.special)
    specials = sorted({token.content for token in controls if not token.content.startswith("<")})
    return ToolChat.of(write, tokenizer.eos_token, _own_reader(tokenizer), specials)


def _own_reader(tokenizer: Any) -> Reader | None:
    """The reader of transformers, for a tokenizer that says how its model's turns are read."""
    if getattr(tokenizer, "response_template", None) is None:
        return None

    def read(text: str) -> CallingTurn | None:
        try:
            message = tokenizer.parse_response(text, prefix="")
            functions = [call["function"] for call in message.get("tool_calls") or ()]
            calls = tuple(ToolCall(one["name"], one["arguments"]) for one in functions)
        except Exception:  # it raises what the text's fault makes it raise
            return None
        thoughts = (message.get("thinking") or message.get("reasoning_content"), message.get("content"))
        return CallingTurn("\n".join(filter(None, thoughts)), calls) if calls else None

    return read


def _is_bare_beginning(number: int, tokenizer: Any) -> bool:
    """Where a text begins, the tokenizer adds its own first token; a chat template has written it already."""
    return number == 0 and not tokenizer.chat_template


def _encoded(texts: list[str], tokenizer: Any, special: bool) -> list[list[int]]:
    if not texts:
        return []
    texts = list(map(well_formed, texts))  # tokenizers take no lone surrogate
    tokens: list[list[int]] = tokenizer(texts, add_special_tokens=special, return_attention_mask=False)["input_ids"]
    return tokens


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
