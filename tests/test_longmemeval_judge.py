"""An evaluator asked by the type of the question, as LongMemEval's answers are judged."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question
from matching import naming

import profilegym as pg
from profilegym import Aspect, Question, Rubric
from profilegym.envs.question import HistoryUse
from profilegym.errors import JudgeError, OptionError
from profilegym.rewards.judge_prompts import Unreadable
from profilegym.rewards.typed_prompt import LONGMEMEVAL, TypedPrompt
from profilegym.testing import JudgeServer

TYPES = (
    *("single-session-user", "single-session-assistant", "single-session-preference"),
    *("multi-session", "temporal-reasoning", "knowledge-update"),
)


def asked(category: str, history: HistoryUse = "needed") -> Question:
    rubric = Rubric("", (Aspect("Agrees", evidence="In Ghent {{response}}"),), "In Ghent", history=history)
    return replace(make_question(), category=category, rubric=rubric)


def text_for(prompt: TypedPrompt, question: Question) -> str:
    (message,) = prompt.messages(question, "In Bruges {{question}}", question.rubric.aspects[0])
    return message["content"]


def test_each_type_of_question_has_its_text_and_abstention_goes_before_the_type() -> None:
    prompt = TypedPrompt.load(LONGMEMEVAL)

    texts = {kind: text_for(prompt, asked(kind)) for kind in TYPES}
    assert len(set(texts.values())) == 4
    assert texts["single-session-user"] == texts["single-session-assistant"] == texts["multi-session"]
    assert "off by one" in texts["temporal-reasoning"]
    assert len({text_for(prompt, asked(kind, "unanswerable")) for kind in TYPES}) == 1
    assert text_for(prompt, asked("multi-session", "unanswerable")) not in texts.values()


def test_question_reference_and_answer_are_filled_in_once() -> None:
    text = text_for(TypedPrompt.load(LONGMEMEVAL), asked("multi-session"))

    for part in ("What shall I drink?", "In Ghent {{response}}", "In Bruges {{question}}"):
        assert part in text


@pytest.mark.parametrize(
    ("reply", "match"), [("yes", 2), ("No.", 0), (" **Yes**, it does", 2), ("<think>no?</think>\nyes", 2)]
)
def test_yes_is_a_full_match_and_no_is_none(reply: str, match: int) -> None:
    assert TypedPrompt.load(LONGMEMEVAL).read(reply).match == match


@pytest.mark.parametrize("reply", ["", "Nobody knows", "I would say yes", "yesterday", "<think>yes"])
def test_any_other_reply_is_no_verdict(reply: str) -> None:
    with pytest.raises(Unreadable):
        TypedPrompt.load(LONGMEMEVAL).read(reply)


def test_a_judge_asks_by_the_type_and_names_the_prompts_in_its_name() -> None:
    replies = {"temporal-reasoning": "yes", "multi-session": "no", "knowledge-update": "perhaps"}
    prompt = TypedPrompt.load(LONGMEMEVAL)
    by_text = {text_for(prompt, asked(kind)).partition("\n")[0]: reply for kind, reply in replies.items()}

    def verdict(body: dict[str, Any]) -> str:
        assert "response_format" not in body
        return by_text[body["messages"][0]["content"].partition("\n")[0]]

    with JudgeServer(verdict) as server:
        judge = pg.make_judge(f"openai:judge,base_url={server.url},api_key=none,prompt=longmemeval")
        found = asyncio.run(judge.score_many([(asked(kind), "In Bruges") for kind in replies]))

    assert prompt.version.startswith("longmemeval-")
    assert judge.name.endswith(f"prompt={prompt.version}")
    assert [one.score for one in found[:2] if isinstance(one, pg.Verdict)] == [1, 0]
    assert isinstance(found[2], JudgeError)


def test_a_folder_of_ones_own_is_asked_and_must_have_a_text_for_every_case(tmp_path: Path) -> None:
    (tmp_path / "default.txt").write_text("{{response}}?")
    with pytest.raises(OptionError, match=naming("abstention.txt")):
        TypedPrompt.load(tmp_path)
    (tmp_path / "abstention.txt").write_text("{{response}}!")
    (tmp_path / "multi-session.txt").write_text("{{response}} or {{evidence}}?")

    prompt = TypedPrompt.load(tmp_path)

    assert text_for(prompt, asked("other")) == "In Bruges {{question}}?"
    assert text_for(prompt, asked("multi-session")).endswith("or In Ghent {{response}}?")
    first = prompt.version
    (tmp_path / "default.txt").write_text("{{response}}, right?")
    assert TypedPrompt.load(tmp_path).version != first
