"""An evaluator asked by a prompt of one's own, so that scores compare with those of a published one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question
from matching import naming

import profilegym as pg
from profilegym.envs.question import Aspect
from profilegym.errors import OptionError
from profilegym.rewards.judge_prompts import ASPECT_PROMPT, AspectPrompt, Unreadable
from profilegym.testing import JudgeServer

PUBLISHED = 'Q: {{question}}\nA: {{response}}\nCovers "{{aspect}}"? Reply {"match_score": 0, 1 or 2}.'
PUBLISHED_FILLED = (
    f'Q: What shall I drink?\nA: Rooibos.\nCovers "{make_question().rubric.aspects[0].title}"? '
    'Reply {"match_score": 0, 1 or 2}.'
)
LONG = "word " * 3000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lamp-qa.txt"
    path.write_text(PUBLISHED)
    return path


def test_the_file_is_asked_word_for_word_with_its_slots_filled_once(file: Path) -> None:
    prompt = AspectPrompt.load(file, verdict="match_score", cut=False)

    (asked,) = prompt.messages(make_question(), "{{aspect}} tea", Aspect("drink"))

    assert asked["role"] == "user"
    assert asked["content"] == PUBLISHED.replace("{{question}}", "What shall I drink?").replace(
        '"{{aspect}}"', '"drink"'
    ).replace("{{response}}", "{{aspect}} tea")


def test_its_verdict_stands_under_its_own_key_and_needs_no_reason(file: Path) -> None:
    prompt = AspectPrompt.load(file, verdict="match_score")

    assert prompt.read('So: {"match_score": 2}').match == 2
    for reply in ('{"match": 2}', '{"match_score": 3}', '{"match_score": true}', "two"):
        with pytest.raises(Unreadable):
            prompt.read(reply)


def test_the_packages_own_prompt_still_wants_a_reason() -> None:
    with pytest.raises(Unreadable):
        ASPECT_PROMPT.read('{"match": 2}')


@pytest.mark.parametrize("cut", ["budget", "none"])
def test_long_answers_are_shown_whole_where_nothing_is_cut(cut: str) -> None:
    (_, asked) = ASPECT_PROMPT.whole(cut == "none").messages(make_question(), LONG, Aspect("drink"))

    assert (LONG.strip() in asked["content"]) == (cut == "none")


def test_the_hash_of_the_prompt_is_part_of_the_judges_name(file: Path) -> None:
    with JudgeServer() as server:
        names = {
            pg.make_judge(f"openai:judge,base_url={server.url},api_key=none{options}").name
            for options in ("", f",prompt={file},verdict=match_score", f",prompt={file}", ",cut=none")
        }

    assert len(names) == 4
    assert sum("prompt=lamp-qa-" in name for name in names) == 2


def test_a_judge_with_a_prompt_of_its_own_scores_over_http(file: Path) -> None:
    shown: list[str] = []

    def verdict(body: dict[str, Any]) -> str:
        shown.append(body["messages"][0]["content"])
        assert "response_format" not in body
        return 'In part. {"match_score": 1}'

    with JudgeServer(verdict) as server:
        judge = pg.make_judge(f"openai:judge,base_url={server.url},api_key=none,prompt={file},verdict=match_score")
        found = asyncio.run(judge.score(make_question(), "Rooibos."))

    assert found.score == 0.5
    assert shown == [PUBLISHED_FILLED]


@pytest.mark.parametrize(
    ("text", "values"),
    [("{{answer}} {{response}} {{aspect}}", ["answer", "response"]), ("{{question}}", ["aspect", "response"])],
)
def test_a_file_with_other_slots_is_refused(tmp_path: Path, text: str, values: list[str]) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text(text)

    with pytest.raises(OptionError, match=naming("prompt.txt", *values)):
        AspectPrompt.load(path)


def test_a_file_that_is_not_there_and_another_cut_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=naming("missing.txt")):
        pg.make_judge(f"openai:judge,api_key=none,prompt={tmp_path / 'missing.txt'}")
    with pytest.raises(OptionError, match=naming("half")):
        pg.make_judge("openai:judge,api_key=none,cut=half")
