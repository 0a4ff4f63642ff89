"""No sequence of characters that a model or a document can produce raises, escapes its tag or forges a block."""

import json
import re
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from profilegym import Answer, Document, Episode, Hit, Malformed, Profile, Question, Reward, SearchProfile, Trajectory
from profilegym.envs.action import read_action

PIECES = [
    *("<search>", "</search>", "<answer>", "</answer>", "<information>", "</information>", "<think>", "</think>"),
    *("< Search >", "</ ANSWER\n>", "<tool_call>", "</tool_call>", '{"name": "answer", "arguments": {"text": "x"}}'),
    *(
        "\n2. [2024-01-01] ",
        "No searches are left",
        "Question: ",
        "<|im_end|>",
        "\ud800",
        "\x00",
        "\u2028",
        "{{question}}",
    ),
]
text = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=12)), max_size=12).map("".join)


@given(text, st.sampled_from(["tags", "tools"]))
@example("<answer>" + "<" * 5000, "tags")
def test_any_text_is_an_action(words: str, protocol: str) -> None:
    action, end = read_action(words, protocol)  # type: ignore[arg-type]

    assert isinstance(action, SearchProfile | Answer | Malformed)
    assert 0 <= end <= len(words)
    assert not (isinstance(action, SearchProfile) and not action.query)


@given(text)
def test_reading_what_was_kept_gives_the_same_action(words: str) -> None:
    action, end = read_action(words)

    assert read_action(words[:end])[0] == action


@given(text)
def test_a_query_or_an_answer_holds_no_closing_tag_of_an_action(words: str) -> None:
    action, _ = read_action(words)

    content = {SearchProfile: "query", Answer: "text"}.get(type(action))
    if content:
        assert not re.search(r"<\s*/\s*(search|answer)\s*>", getattr(action, content), re.IGNORECASE)


@settings(max_examples=300)
@given(st.lists(text, min_size=1, max_size=4), text, text, st.lists(text, max_size=6))
def test_only_the_environment_writes_information(
    documents: list[str], title: str, question: str, turns: list[str]
) -> None:
    profile = Profile(
        "u", tuple(Document(f"d{i}", words, date=title, title=title) for i, words in enumerate(documents))
    )
    episode = Episode(Question("q", "u", question, profile), top_k=2, max_searches=3)

    for turn in turns:
        if episode.needs == "text":
            episode.write(turn)
        if episode.needs == "search":
            episode.inform([Hit(document, 1.0) for document in profile.documents])

    first, *rest = [segment.text for segment in episode.segments if segment.author == "environment"]
    assert re.findall(r"<[^>]*>", first) == re.findall(r"<[^>]*>", Episode(Question("q", "u", "", profile)).observation)
    for observation in rest:
        tags = re.findall(r"<[^>]*>", observation)
        found = tags == ["<information>", "</information>"]
        assert found or "<information>" not in observation
        if found:
            block = observation.split("<information>\n")[1].split("\n</information>")[0]
            assert len(block.split("\n")) in (1, 2)
            assert len(block.splitlines()) == len(block.split("\n"))
        assert observation.encode("utf-8")


@given(st.lists(text, min_size=5, max_size=5))
def test_any_episode_is_written_to_one_line_and_read_back(turns: list[str]) -> None:
    profile = Profile("u", (Document("d", "tea"),))
    episode = Episode(Question("q", "u", "Tea?", profile), max_searches=3)
    for turn in turns:
        if episode.needs == "text":
            episode.write(turn)
        if episode.needs == "search":
            episode.inform([Hit(profile.documents[0], 1.0)])
    if episode.needs == "score":
        episode.score(Reward(0.0))

    line = episode.trajectory().to_json()

    assert "\n" not in line
    assert Trajectory.from_json(line) == episode.trajectory()
    assert json.loads(line)["schema"] == 1


def test_hidden_fields_stay_out_whatever_the_policy_writes(
    ask: Callable[..., Question], hidden_in: Callable[[object], list[str]]
) -> None:
    question = ask()

    @given(st.lists(text, max_size=5))
    def play(turns: list[str]) -> None:
        episode = Episode(question, max_searches=3)
        for turn in turns:
            if episode.needs == "text":
                episode.write(turn)
            if episode.needs == "search":
                episode.inform([Hit(document, 1.0) for document in question.profile.documents])
        assert not hidden_in([segment.text for segment in episode.segments])

    play()
