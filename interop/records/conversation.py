"""Makes a question and a trajectory of a conversation that another framework recorded."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from ...agents.models.call_forms import read_tagged
from ...agents.turn_format import with_calls
from ...envs.action import Answer, Malformed, SearchProfile, parse_action
from ...envs.episode import NOTHING_FOUND
from ...envs.question import Document, Profile, Question, Rubric
from ...envs.reward import Reward
from ...envs.text import well_formed
from ...envs.tools.results import numbered_lines
from ...envs.trajectory import Ended, Kind, Trajectory
from ...evaluation.imported import Imported

POLICY = "assistant"
_BLOCK = re.compile(r"<information>(.*?)</information>", re.DOTALL)
_TAG = re.compile(r"<(?:think|search|answer)>")
_TOOL = re.compile(r"<tool>(.*?)</tool>", re.DOTALL)
_TITLED = re.compile(r'\(Title: "?(.*?)"?\) ?(.*)', re.DOTALL)
_QUESTION = re.compile(r".*\bQuestion:\s*(.+?)\s*(?:<\|.*)?\Z", re.DOTALL)
_ANSWERING = ("answer", "submit", "final_answer")  # names of tools that end an episode

Call = tuple[str, Any]  # name and arguments


class Message(NamedTuple):
    """One message. The policy's has the role `assistant`, every other one is the environment's."""

    role: str
    text: str
    calls: Sequence[Call] = ()
    tokens: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What was recorded of an episode. `attempt` tells the attempts at one question apart; unknown values are None."""

    messages: Sequence[Message]
    agent: str
    attempt: str
    source: Mapping[str, Any]
    question_id: str | None = None
    text: str | None = None  # of the question
    user_id: str | None = None
    data: str | None = None  # the data set that has the question
    reference: str | None = None
    kind: Kind = "personalised"
    model: str | None = None
    reward: Reward | None = None
    advantage: float | None = None
    ended: Ended | None = None
    error: str | None = None
    usage: Mapping[str, Any] | None = None
    timing: Mapping[str, float] | None = None


@dataclass
class _Transcript:
    """What the messages say, as the fields of a trajectory."""

    segments: list[Any] = field(default_factory=list)
    searches: list[Any] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)
    turns: int = 0
    malformed: int = 0
    answer: str | None = None


def imported(conversation: Conversation) -> Imported:
    """The question and the trajectory. A question without a known id is named after its prompt."""
    messages = _with_one_prompt(conversation.messages)
    prompt = messages[0].text
    question_id = well_formed(conversation.question_id or f"q-{_digest(prompt)}")
    text = conversation.text or _question_in(prompt) or prompt or question_id
    user_id = well_formed(
        conversation.user_id or question_id
    )  # nobody is known, so each question counts as a user's own
    found = _read(messages)
    ended = conversation.ended or ("answered" if found.answer is not None else "budget")
    profile = Profile(user_id, tuple(found.documents.values()))
    question = Question(question_id, user_id, text, profile, Rubric(reference=conversation.reference))
    trajectory = Trajectory(
        f"{question_id}:{conversation.agent}:{conversation.attempt}",
        question_id,
        user_id,
        conversation.kind,
        found.segments,
        tuple(found.searches),
        found.answer if ended == "answered" else None,
        ended,
        found.malformed,
        data=conversation.data,
        agent=conversation.agent,
        model=conversation.model,
        reward=conversation.reward or Reward(None, unscored=conversation.error or "the record has no reward"),
        advantage=conversation.advantage,
        usage=conversation.usage,
        timing=conversation.timing,
        search_ms=(None,) * (len(found.searches) // 3),
        calls=tuple(found.calls) if any(found.calls) else (),
        error=conversation.error,
        source=conversation.source,
    )
    return Imported(question, trajectory)


def _with_one_prompt(messages: Sequence[Message]) -> list[Message]:
    """What comes before the policy's first turn as one message, as episodes have it."""
    first = next((place for place, message in enumerate(messages) if message.role == POLICY), len(messages))
    prompt = "\n\n".join(message.text for message in messages[:first])
    return [Message("user", prompt), *messages[first:]]


def _read(messages: Sequence[Message]) -> _Transcript:
    found = _Transcript()
    tagged = any(_TAG.search(message.text) for message in messages if message.role == POLICY)
    for place, message in enumerate(messages):
        if message.role != POLICY:
            found.segments += "environment", message.text, None, None
            continue
        text = with_calls(message.text, [(*call, None) for call in message.calls]) if message.calls else message.text
        found.segments += "policy", text, message.tokens, message.logprobs
        results = [later.text for later in _results(messages[place + 1 :])]
        _take_turn(found, message, tagged, results)
        found.turns += 1
    return found


def _results(later: Sequence[Message]) -> Iterator[Message]:
    """What the environment wrote before the policy's next turn."""
    for message in later:
        if message.role == POLICY:
            return
        yield message


def _take_turn(found: _Transcript, message: Message, tagged: bool, results: Sequence[str]) -> None:
    """Adds the turn's searches, and its answer if it is the last one."""
    calls = list(message.calls or _calls_in(message.text))
    action = parse_action(message.text, cites=True)
    found.answer = None
    if calls:
        for number, (name, arguments) in enumerate(calls):
            if name in _ANSWERING:
                found.answer = _first_text(arguments)
            else:
                _add_search(found, _first_text(arguments), "".join(results[number : number + 1]), name, arguments)
    elif isinstance(action, Answer):
        found.answer = action.text
    elif isinstance(action, SearchProfile):
        _add_search(found, action.query, "".join(results))
    elif tagged:
        found.malformed += isinstance(action, Malformed)
    elif not results:
        found.answer = message.text.strip() or None


def _add_search(found: _Transcript, query: str, result: str, tool: str | None = None, arguments: Any = None) -> None:
    shown = [_document(line) for block in _BLOCK.findall(result) for line in numbered_lines(block)]
    shown = [document for document in shown if document.text != NOTHING_FOUND]
    found.documents |= {document.id: document for document in shown}
    found.searches += found.turns, query, tuple(dict.fromkeys((document.id, None) for document in shown))
    given = arguments if isinstance(arguments, Mapping) or tool is None else {"arguments": arguments}
    found.calls += tool, given, False


def _document(line: str) -> Document:
    """The id is a hash: what results show has none, or one that means nothing elsewhere."""
    titled = _TITLED.fullmatch(line)
    title, text = (titled[1], titled[2]) if titled else (None, line)
    return Document(f"d-{_digest(line)}", text.strip(), title=title or None)


def _calls_in(text: str) -> Iterator[Call]:
    """Calls that the text holds in tags."""
    read = read_tagged(text)
    yield from ((call.name, call.arguments) for call in (read.calls if read else ()))
    for block in _TOOL.findall(text):
        try:
            call = json.loads(block)
            yield call["name"], call.get("arguments")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue


def _first_text(arguments: Any) -> str:
    """The query or the answer among a call's arguments: the first that is a text."""
    if isinstance(arguments, str):
        try:
            return _first_text(json.loads(arguments))
        except (ValueError, RecursionError):
            return arguments
    values = arguments.values() if isinstance(arguments, Mapping) else ()
    return next((value for value in values if isinstance(value, str)), json.dumps(arguments, ensure_ascii=False))


def _question_in(prompt: str) -> str | None:
    asked = _QUESTION.fullmatch(prompt)
    return asked[1] if asked else None


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
