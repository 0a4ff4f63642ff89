"""No sequence of characters that a model or a document can produce raises, escapes its tag or forges a block."""

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from protocol_invariants import check_action, check_episode

from profilegym import Episode, Hit, Question, load_questions
from profilegym.envs.text import clean, clean_lines

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


@given(text)
@example("a\r\n\x0b\x85 \x1f\tb\n\n\n")
def test_the_lines_of_a_question_say_no_more_and_no_less_than_its_words(question: str) -> None:
    shown = clean_lines(question)

    assert " ".join(shown.split()) == clean(question)
    assert all(line == "" or line.startswith("    ") for line in shown.split("\n")[1:])
    assert shown.splitlines() == (shown.split("\n") if shown else [])
    assert "<" not in shown
    assert "\n\n\n" not in shown


@given(st.text(st.characters(exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_a_question_of_one_line_is_shown_as_any_other_text(question: str) -> None:
    assert clean_lines(question) == clean_lines(f"\n{question}\r\n") == clean(question)


def test_the_questions_of_made_up_people_are_shown_letter_by_letter() -> None:
    for spec in ("world:seed=7,users=20", "world-lamp-2:users=5", "world-lamp-3:users=5", "world-lamp-5:users=5"):
        for question in load_questions(spec):
            assert Episode(question).observation.endswith(f"\n\nQuestion: {question.text}")


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
                episode.add_hits([Hit(document, 1.0) for document in question.profile.documents])
        assert not hidden_in([segment.text for segment in episode.segments])

    play()
