"""Splits a transcript in tags, Search-R1's or ours, into what the policy and what the environment wrote."""

import re

from .conversation import POLICY, Message

# A block of results with the reminder that may follow it, or Search-R1's correction of a turn without an action.
_BLOCK = (
    r"\s*+(?:<information>.*?</information>"
    r"(?:\s*\n(?:No [\w ]+: answer now\.|\d+ (?:search|call)\w* (?:is|are) left[^\n]*))?"
    r"|My previous action is invalid\..*?Let me try again\.)\s*"
)
_AT_ONCE = re.compile(_BLOCK, re.DOTALL)  # straight after another, which took the white space between them
_ENVIRONMENT = re.compile(rf"(?<!\s){_BLOCK}", re.DOTALL)
_TEMPLATE = re.compile(r"<\|im_start\|>assistant\s*|<\|start_header_id\|>assistant<\|end_header_id\|>\s*")
_ASKED = re.compile(r"\bQuestion:[^\n]*\n*")
_ACTION_ENDS = ("</search>", "</tool>", "</tool_call>")


def messages_in(text: str) -> list[Message]:
    """A block of results that follows no search is the policy's own writing."""
    messages: list[Message] = []
    written = start = 0
    while (block := _AT_ONCE.match(text, start) or _ENVIRONMENT.search(text, start)) is not None:
        start = block.end()
        turn = text[written : block.start()]
        if "<information>" in block[0] and not turn.endswith(_ACTION_ENDS):
            continue
        messages += [Message(POLICY, turn), Message("user", block[0])] if turn else [Message("user", block[0])]
        written = start
    rest = text[written:]
    return [*messages, Message(POLICY, rest)] if rest.strip() else messages


def prompt_and_messages(text: str) -> list[Message]:
    """A whole transcript: the prompt ends where the chat template begins the policy's turn, else after its question."""
    ends = _TEMPLATE.search(text) or _ASKED.search(text)
    start = ends.end() if ends else 0
    return [Message("user", text[:start]), *messages_in(text[start:])]
