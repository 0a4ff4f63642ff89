"""How a chat template writes tools, calls and results: the texts of a transcript with native tool calls."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ...envs.trajectory import Segment
from ...errors import ModelError
from .call_forms import READERS, CallingTurn, Reader, ToolCall, in_transcripts_form, read_tagged

Tools = Sequence[Mapping[str, Any]]  # JSON schemas, in the form that chat models take
Write = Callable[[Sequence[Mapping[str, Any]], Tools, bool], str]  # messages, tools, whether the next turn begins

_MARK = "q7Zk2mX9"  # stands for the turn in a rendered conversation; no text of ours contains it
_ASKED = {"role": "user", "content": "?"}
_PROBE = ToolCall("probe_tool", {"value": _MARK})
_PROBE_SCHEMA = {
    "type": "function",
    "function": {
        "name": _PROBE.name,
        "description": "Finds out how a template writes tools.",
        "parameters": {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]},
    },
}
# The policy writes names and ids. Templates repeat them after its turn, where they could be control tokens.
_NAME = re.compile(r"[\w.:/-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9]{9}")  # as Mistral's templates want it
# What the prompt of several tools says to models that read the tools as text.
_TOOLS_AS_TEXT = re.compile(r"^Call one tool at a time\. In plain text .*?\n\n", re.DOTALL | re.MULTILINE)
_TOOLS_APART = "Call one tool, or several at once. `answer` gives your answer and ends the conversation.\n\n"


def without_tools_as_text(prompt: str) -> str:
    """The prompt of several tools for a model that is given the tools apart from it."""
    return _TOOLS_AS_TEXT.sub(lambda _: _TOOLS_APART, prompt, count=1)


@dataclass(frozen=True, slots=True)
class ToolChat:
    """The chat template of a model that takes tools. `end` is the text of the token that ends a turn."""

    write: Write
    end: str
    read: Reader
    specials: tuple[str, ...] = ()  # texts of control tokens, which no text from outside may contain

    @classmethod
    def of(cls, write: Write, end: str, parse: Reader | None = None, specials: Sequence[str] = ()) -> "ToolChat | None":
        """None where the template has no place for tools, or writes calls in no known form.

        The form is the one whose reader reads the template's own call. `parse` is the tokenizer's own reader.
        """
        for read in (parse,) if parse else READERS:
            chat = cls(write, end, read, tuple(specials))
            try:
                takes_tools = _PROBE.name in write([_ASKED], [_PROBE_SCHEMA], True)
                written = chat._written(_message(CallingTurn("", (_PROBE,))), [_PROBE_SCHEMA])
                chat._after_calls((_PROBE,), ["!"], [_PROBE_SCHEMA])
            except Exception:  # templates raise what they like for a message that they do not expect
                return None
            found = read(written.removesuffix(end))
            if takes_tools and found is not None and [call[:2] for call in found.calls] == [_PROBE[:2]]:
                return chat
        return None

    def in_transcripts_form(self, text: str) -> str:
        """What the model wrote, as the transcript has it."""
        return in_transcripts_form(text, self.read)

    def texts(
        self, segments: Sequence[Segment], tools: Tools, ended: Callable[[Segment], bool], open_turn: bool = False
    ) -> list[str]:
        """The text of each segment, as the model reads it; "" for those that have tokens already.

        All results of a turn stand in the text of the first. `ended` says whether a turn with tokens has its end.
        `open_turn`: the last segment, if it is the policy's, is the beginning of a turn.
        """
        found: list[str] = []
        before: list[Segment] = []  # the policy's turn
        for author, group in groupby(segments, key=lambda segment: segment.author):
            part = list(group)
            if author == "policy":
                is_open = open_turn and len(found) + len(part) == len(segments)
                found += [one.text if is_open else self._turn(one, tools) for one in part]
                before = part
                continue
            if part[0].tokens is not None:
                text = ""
            elif not before:
                text = self.write([_user(self._plain(without_tools_as_text(_joined(part))))], tools, True)
            else:
                text = self._after(before, part, tools, ended(before[-1]))
            found += [text] + [""] * (len(part) - 1)
        return found

    def _turn(self, turn: Segment, tools: Tools) -> str:
        """A turn without tokens, as the template writes it, with its end."""
        if turn.tokens is not None:
            return ""
        calling = read_tagged(turn.text)
        message = {"role": "assistant", "content": turn.text} if calling is None else _message(calling)
        return self._written(message, tools)

    def _written(self, message: Mapping[str, Any], tools: Tools) -> str:
        whole, begun = self.write([_ASKED, message], tools, False), self.write([_ASKED], tools, True)
        end = whole.rfind(self.end)
        if not whole.startswith(begun) or end < len(begun):
            raise ModelError(
                "the chat template does not end the assistant's turn, or begins it in another way each time"
            )
        return whole[len(begun) : end + len(self.end)]

    def _after(self, turn: Sequence[Segment], results: Sequence[Segment], tools: Tools, has_end: bool) -> str:
        """From the end of a turn to where the next begins: its results, or the correction of a turn without calls."""
        texts = [self._plain(result.text.strip()) for result in results]
        calling = read_tagged(_joined(turn))
        if calling is not None and len(calling.calls) >= len(texts):
            after = self._after_calls(calling.calls[: len(texts)], texts, tools)
        else:
            messages = [_ASKED, {"role": "assistant", "content": _MARK}, _user("\n\n".join(texts))]
            after = self._after_mark(self.write(messages, tools, True))
        return after if has_end else self.end + after

    def _after_calls(self, calls: Sequence[ToolCall], results: Sequence[str], tools: Tools) -> str:
        """Some templates write only one call a turn: the results of all follow it."""
        marked = [*calls[:-1], calls[-1]._replace(arguments=_PROBE.arguments)]
        answered = list(_results(calls, results))
        try:
            text = self.write([_ASKED, _message(CallingTurn("", tuple(marked))), *answered], tools, True)
        except Exception:
            if len(marked) == 1:
                raise
            text = self.write([_ASKED, _message(CallingTurn("", (marked[-1],))), *answered], tools, True)
        return self._after_mark(text)

    def _after_mark(self, text: str) -> str:
        end = text.find(self.end, text.rfind(_MARK))
        if _MARK not in text or end < 0:
            raise ModelError(f"the chat template does not end the assistant's turn with {self.end!r}")
        return text[end + len(self.end) :]

    def _plain(self, text: str) -> str:
        """Text from outside cannot contain a control token. The environment escapes those that begin with `<`."""
        for special in self.specials:
            text = text.replace(special, f"&#{ord(special[0])};{special[1:]}")
        return text


def _joined(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _message(turn: CallingTurn) -> dict[str, Any]:
    """The assistant's message with its calls. Templates want the arguments as an object, not as JSON text."""
    calls = [
        {
            "id": _call_id(call, number),
            "type": "function",
            "function": {"name": _name(call), "arguments": {} if call.arguments is None else call.arguments},
        }
        for number, call in enumerate(turn.calls)
    ]
    return {"role": "assistant", "content": turn.thought, "tool_calls": calls}


def _results(calls: Sequence[ToolCall], results: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, (call, result) in enumerate(zip(calls, results, strict=True)):
        yield {"role": "tool", "tool_call_id": _call_id(call, number), "name": _name(call), "content": result}


def _name(call: ToolCall) -> str:
    return call.name if _NAME.fullmatch(call.name) else "unknown"


def _call_id(call: ToolCall, number: int) -> str:
    return call.id if call.id and _ID.fullmatch(call.id) else f"call{number:05}"
