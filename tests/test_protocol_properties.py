"""No sequence of characters that a model or a document can produce raises, escapes its tag or forges a block."""

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from protocol_invariants import check_action, check_episode

from profilegym import Episode, Hit, Question

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


@given(text)
@example("<answer>" + "<" * 5000)
def test_any_text_is_an_action(words: str) -> None:
    check_action(words)


@settings(max_examples=300)
@given(st.lists(text, min_size=1, max_size=4), text, text, st.lists(text, max_size=6))
def test_only_the_environment_writes_information(
    documents: list[str], title: str, question: str, turns: list[str]
) -> None:
    check_episode(documents, title, question, turns)


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
