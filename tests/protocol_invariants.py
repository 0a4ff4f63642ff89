"""What must hold of the protocol whatever a model or a document says; for the property tests and for the fuzzer."""

import json
import re
from collections.abc import Sequence
from typing import get_args

from profilegym import Answer, Document, Episode, Hit, Malformed, Profile, Question, Reward, SearchProfile, Trajectory
from profilegym.envs.action import Protocol, read_action

CLOSING = re.compile(r"<\s*/\s*(search|answer)\s*>", re.IGNORECASE)
TAG = re.compile(r"<[^>]*>")


def check_action(words: str) -> None:
    """Any text is an action, within the text; reading what was kept gives it again."""
    for protocol in get_args(Protocol):
        action, end = read_action(words, protocol)
        assert isinstance(action, SearchProfile | Answer | Malformed)
        assert 0 <= end <= len(words)
        assert not (isinstance(action, SearchProfile) and not action.query)
        assert read_action(words[:end], protocol)[0] == action
    match read_action(words)[0]:
        case SearchProfile(content) | Answer(content):
            assert not CLOSING.search(content)


def check_episode(documents: Sequence[str], title: str, question: str, turns: Sequence[str]) -> None:
    """Only the environment writes `<information>`, one block at a time; the record survives a round trip."""
    for opening in (False, True):
        for protocol in get_args(Protocol):
            _check_episode(documents, title, question, turns, opening, protocol)


def _check_episode(
    documents: Sequence[str], title: str, question: str, turns: Sequence[str], opening: bool, protocol: Protocol
) -> None:
    profile = Profile("u", tuple(Document(f"d{i}", text, date=title, title=title) for i, text in enumerate(documents)))
    asked = Question("q", "u", question, profile)
    episode = Episode(asked, top_k=2, max_searches=3, initial_search=opening, protocol=protocol)
    if opening:
        episode.add_hits([Hit(document, 1.0) for document in profile.documents])
    for turn in turns:
        if episode.needs == "text":
            episode.write(turn)
        if episode.needs == "search":
            episode.add_hits([Hit(document, 1.0) for document in profile.documents])
    if episode.needs == "score":
        episode.score(Reward(0.0))

    first, *replies = [segment.text for segment in episode.segments if segment.author == "environment"]
    prompt, mark, found = first.rpartition("<information>") if opening else (first, "", "")
    assert TAG.findall(prompt) == TAG.findall(Episode(Question("q", "u", "", profile), protocol=protocol).observation)
    if opening:
        _check_reply(mark + found)
    for reply in replies:
        _check_reply(reply)
    _check_record(episode)


def _check_reply(reply: str) -> None:
    assert reply.encode("utf-8")
    if TAG.findall(reply) == ["<information>", "</information>"]:
        block = reply.split("<information>\n")[1].split("\n</information>")[0]
        assert 1 <= len(block.splitlines()) == len(block.split("\n")) <= 2
    else:
        assert "information>" not in reply


def _check_record(episode: Episode) -> None:
    line = episode.trajectory().to_json()
    assert "\n" not in line
    assert Trajectory.from_json(line) == episode.trajectory()
    assert json.loads(line)["schema"] == 1
