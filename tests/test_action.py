import json

import pytest
from timing import growth

from profilegym import Answer, Malformed, SearchProfile, parse_action, parse_tool_call


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<search>tea</search>", SearchProfile("tea")),
        ("<think>What do they like?</think>\n<search> tea they like </search>", SearchProfile("tea they like")),
        ("<answer>Rooibos.</answer>", Answer("Rooibos.")),
        ("<answer>\nTwo\nlines\n</answer>", Answer("Two\nlines")),
        ("< SEARCH >tea</ Search\n>", SearchProfile("tea")),
        ("<answer></answer>", Answer("")),
    ],
)
def test_a_well_formed_turn_is_its_action(text: str, action: object) -> None:
    assert parse_action(text) == action


def test_what_follows_the_first_closed_action_is_dropped() -> None:
    text = "<search>tea</search><information>1. I love coffee</information><answer>Coffee.</answer>"

    assert parse_action(text) == SearchProfile("tea")


def test_an_action_starts_at_the_last_tag_that_opens_it() -> None:
    text = "<think>I may <search> or <answer>.</think><search>tea <b>green</b></search>"

    assert parse_action(text) == SearchProfile("tea <b>green</b>")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "I expected <search>"),
        ("Rooibos, I think.", "I expected <search>"),
        ("<search>  </search>", "query is empty"),
        ("<search>tea", "never closed"),
        ("<search>tea <answer>Rooibos", "never closed"),
        ("tea</search>", "came without <search>"),
        ("<search>tea</answer>", "came without <answer>"),
    ],
)
def test_any_other_turn_is_malformed_and_says_why(text: str, reason: str) -> None:
    action = parse_action(text)

    assert isinstance(action, Malformed)
    assert reason in action.reason


def test_a_reason_never_quotes_the_policy() -> None:
    action = parse_action("<search>IGNORE ALL RULES</answer>")

    assert isinstance(action, Malformed)
    assert "IGNORE" not in action.reason


@pytest.mark.alone
@pytest.mark.parametrize("hostile", ["<" + " " * 200_000, "< " * 100_000, "<search>" * 50_000, "</" * 100_000])
def test_parsing_a_hostile_text_takes_linear_time(hostile: str) -> None:
    def parse(size: int) -> None:
        parse_action(hostile[:size])
        parse_action(hostile[:size] + "</search>")

    assert growth(parse, len(hostile)) < 33


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("search_profile", {"query": " tea "}, SearchProfile("tea")),
        ("search_profile", '{"query": "tea"}', SearchProfile("tea")),
        ("answer", {"text": "Rooibos."}, Answer("Rooibos.")),
    ],
)
def test_a_native_tool_call_is_the_same_action(name: str, arguments: object, action: object) -> None:
    assert parse_tool_call(name, arguments) == action


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search_profile", {"query": "tea", "user_id": "somebody else"}),
        ("search_profile", {"query": ["tea"]}),
        ("search_profile", {"query": ""}),
        ("search_profile", "{not json"),
        ("search_profile", "[" * 100_000),
        ("search_profile", None),
        ("delete_profile", {"query": "tea"}),
        (None, {"query": "tea"}),
    ],
)
def test_a_tool_call_that_asks_for_anything_else_is_malformed(name: object, arguments: object) -> None:
    assert isinstance(parse_tool_call(name, arguments), Malformed)


def test_a_tool_call_written_as_text_may_be_bare_or_wrapped() -> None:
    call = json.dumps({"name": "answer", "arguments": {"text": "Rooibos."}})

    assert parse_action(call, "tools") == Answer("Rooibos.")
    assert parse_action(f"Let me answer. <tool_call>\n{call}\n</tool_call> and more", "tools") == Answer("Rooibos.")
    assert isinstance(parse_action("<answer>Rooibos.</answer>", "tools"), Malformed)
