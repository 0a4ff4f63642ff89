import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Document, load_questions
from profilegym.errors import DataError

ITEMS = {
    1: {"id": "d", "title": "On moss", "abstract": "Moss grows."},
    2: {"id": "d", "description": "Two friends steal a train.", "tag": "action"},
    3: {"id": "d", "text": "It rattles.", "score": "2"},
    4: {"id": "d", "title": "Rain again", "text": "It rained."},
    5: {"id": "d", "title": "On moss", "abstract": "Moss grows."},
    6: {"id": "d", "title": "Lunch", "text": "Shall we meet?"},
    7: {"id": "d", "text": "so much rain today"},
}
DOCUMENTS = {
    1: Document("d", "Moss grows.", title="On moss"),
    2: Document("d", "Two friends steal a train.\nTag: action"),
    3: Document("d", "It rattles.\nRating: 2 of 5"),
    4: Document("d", "It rained.", title="Rain again"),
    5: Document("d", "Moss grows.", title="On moss"),
    6: Document("d", "Shall we meet?", title="Lunch"),
    7: Document("d", "so much rain today"),
}
INPUTS = {
    1: 'For an author who has written the paper with the title "{}", which reference is related? [1]: "A" [2]: "B"',
    2: "Which tag does this movie relate to? tags: [comedy, action] description: {}",
    3: "What is the score of the following review on a scale of 1 to 5? review: {}",
    4: "Generate a headline for the following article: {}",
    5: "Generate a title for the following abstract of a paper: {}",
    6: "Generate a subject for the following email: {}",
    7: "Paraphrase the following tweet without any explanation before or after it: {}",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes the two files of a split and gives its `DIR/SPLIT`."""

    def write(
        number: int, records: list[Any], wanted: dict[str, Any] | None, split: str = "dev", **changes: Any
    ) -> str:
        (tmp_path / f"{split}_questions.json").write_text(json.dumps(records), "utf-8")
        if wanted is not None:
            made = {"task": f"LaMP_{number}", "golds": [{"id": i, "output": o} for i, o in wanted.items()]}
            outputs = made | changes
            (tmp_path / f"{split}_outputs.json").write_text(json.dumps(outputs), "utf-8")
        return f"lamp-{number}:{tmp_path}/{split}"

    return write


def record(number: int, question_id: str = "1", **changes: Any) -> dict[str, Any]:
    return {"id": question_id, "input": INPUTS[number].format("Something new"), "profile": [ITEMS[number]]} | changes


@pytest.mark.parametrize("task", range(1, 8))
def test_every_tasks_items_become_documents(write: Callable[..., str], task: int) -> None:
    (question,) = load_questions(write(task, [record(task)], {"1": "an output"}))

    assert question.text == INPUTS[task].format("Something new")
    assert question.query == "Something new"
    assert question.profile.documents == (DOCUMENTS[task],)
    assert question.rubric.reference == "an output"
    assert question.rubric.aspects == ()


@pytest.mark.parametrize("task", range(1, 8))
def test_an_item_that_the_input_is_made_of_is_left_out(write: Callable[..., str], task: int) -> None:
    text = "The small kettle from the second shelf"
    copy = {name: text if name in ("text", "description", "abstract") else "1" for name in ITEMS[task]}
    if task == 1:
        copy |= {"title": text}

    (question,) = load_questions(
        write(task, [record(task, input=INPUTS[task].format(text), profile=[copy, ITEMS[task]])], {"1": "an output"})
    )

    assert question.profile.documents == (DOCUMENTS[task],)
    assert sum(question.profile.left_out.values()) == 1


def test_an_input_of_another_form_is_searched_for_as_it_is(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(3, [record(3, input="How many stars?")], {"1": "4"}))

    assert (question.query, question.search_text) == ("", "How many stars?")


def test_the_time_split_has_users_and_dates(write: Callable[..., str]) -> None:
    items = [ITEMS[4] | {"id": n, "date": date} for n, date in ((2, "2016-11-2"), (1, "2016-1-30"))]

    (question,) = load_questions(write(4, [record(4, user_id=31, profile=items)], {"1": "Snow"}))

    assert question.user_id == "31"
    assert [document.date for document in question.profile.documents] == ["2016-01-30", "2016-11-02"]


def test_the_merged_form_has_the_output_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "dev_ranked.json"
    path.write_text(json.dumps([record(3, output=4), record(3, "2")]), "utf-8")

    questions = load_questions(f"lamp-3:{path}")

    assert [question.rubric.reference for question in questions] == ["4", None]


def test_a_test_split_may_keep_its_outputs_to_itself(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(3, [record(3)], None, "test"))

    assert question.rubric.reference is None
    with pytest.raises(DataError, match=naming("dev_outputs.json")):
        load_questions(write(3, [record(3)], None, "dev"))


def test_the_output_stays_in_the_rubric(write: Callable[..., str], hidden_in: Callable[[object], list[str]]) -> None:
    (question,) = load_questions(write(4, [record(4)], {"1": "CANARY-REFERENCE"}))

    assert hidden_in(question) == hidden_in(question.text) == hidden_in(question.profile) == []
    assert hidden_in(question.rubric)


@pytest.mark.parametrize(
    ("golds", "changes", "named"),
    [
        ({"1": "4", "8": "2"}, {}, ["dev_outputs.json", "'8'"]),
        ({}, {}, [1, "id", "'1'", "outputs"]),
        ({"1": "4"}, {"task": "LaMP_5"}, ["dev_outputs.json", "task", "'LaMP_5'", "'LaMP_3'"]),
        ({"1": "4"}, {"golds": 3}, ["dev_outputs.json", "golds", 3]),
        ({"1": None}, {}, ["golds[0].output", "None"]),
    ],
)
def test_outputs_that_do_not_belong_are_named(
    write: Callable[..., str], golds: dict[str, Any], changes: dict[str, Any], named: list[object]
) -> None:
    spec = write(3, [record(3)], golds, **changes)

    with pytest.raises(DataError, match=naming(*named)):
        load_questions(spec)


def test_items_of_another_task_are_named(write: Callable[..., str]) -> None:
    spec = write(3, [record(3, profile=[ITEMS[2]])], {"1": "4"})

    with pytest.raises(DataError, match=naming("profile[0].text", "id, description, tag")):
        load_questions(spec)


def test_a_spec_without_a_split_says_what_to_write() -> None:
    with pytest.raises(DataError, match=naming("lamp-3:some/folder", "lamp-3:DIR/train", "lamp-3:FILE.json")):
        load_questions("lamp-3:some/folder")
    with pytest.raises(DataError, match=naming("some/dev_questions.json")):
        load_questions("lamp-3:some/dev")
