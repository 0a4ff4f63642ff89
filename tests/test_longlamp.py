import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Document, load_questions
from profilegym.errors import DataError

REVIEW = {"overall": 5, "summary": "Warm", "description": "A wool hat", "reviewText": "Kept my ears warm."}
ITEMS: dict[str, dict[str, Any]] = {
    "longlamp-1": {"title": "Lunch", "text": "Shall we meet?"},
    "longlamp-2": {"title": "On moss", "abstract": "Moss grows."},
    "longlamp-3": REVIEW,
    "longlamp-4": {"input": "I fed the birds", "output": "This morning I fed the birds."},
}
DOCUMENTS = {
    "longlamp-1": Document("d1", "Shall we meet?", title="Lunch"),
    "longlamp-2": Document("d1", "Moss grows.", title="On moss"),
    "longlamp-3": Document("d1", "Kept my ears warm.\nRating: 5 of 5\nProduct: A wool hat", title="Warm"),
    "longlamp-4": Document("d1", "This morning I fed the birds.", title="I fed the birds"),
}


def record(task: str, **changes: Any) -> dict[str, Any]:
    return {"input": "Write something.", "output": "Something.", "profile": [ITEMS[task]]} | changes


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes records to a file and gives its path."""

    def write(*records: Any, name: str = "test.json") -> str:
        lines = "\n".join(map(json.dumps, records))
        (tmp_path / name).write_text(lines if name.endswith("l") else json.dumps(records), "utf-8")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("name", ITEMS)
def test_every_tasks_items_become_documents(write: Callable[..., str], name: str) -> None:
    (question,) = load_questions(f"{name}:{write(record(name))}")

    assert (question.id, question.user_id, question.text) == ("q1", "q1", "Write something.")
    assert question.profile.documents == (DOCUMENTS[name],)
    assert question.rubric.reference == "Something."


def test_topics_may_be_called_content_and_summary(write: Callable[..., str]) -> None:
    item = {"summary": "I fed the birds", "content": "This morning I fed the birds."}

    (question,) = load_questions(f"longlamp-4:{write(record('longlamp-4', profile=[item]))}")

    assert question.profile.documents == (DOCUMENTS["longlamp-4"],)


@pytest.mark.parametrize(
    ("name", "field"), [("longlamp-2", "name"), ("longlamp-3", "reviewerId"), ("longlamp-4", "author")]
)
def test_the_field_that_names_the_user_is_known(write: Callable[..., str], name: str, field: str) -> None:
    questions = load_questions(f"{name}:{write(record(name, **{field: 'Ada'}), record(name, **{field: 'Ada'}))}")

    assert [(question.id, question.user_id) for question in questions] == [("q1", "Ada"), ("q2", "Ada")]


@pytest.mark.parametrize("file", ["test.json", "test.jsonl"])
def test_a_split_of_a_folder_is_found(write: Callable[..., str], file: str) -> None:
    folder = Path(write(record("longlamp-2"), name=file)).parent

    assert len(load_questions(f"longlamp-2:{folder}/test")) == 1
    with pytest.raises(DataError, match=naming(f"{folder}/train.json", f"{folder}/train.jsonl")):
        load_questions(f"longlamp-2:{folder}/train")


def test_the_item_that_is_the_output_is_left_out(write: Callable[..., str]) -> None:
    wanted = "We show that moss remembers where the light comes from."
    item = {"title": "Moss and light", "abstract": wanted}

    (question,) = load_questions(
        f"longlamp-2:{write(record('longlamp-2', output=wanted, profile=[item, ITEMS['longlamp-2']]))}"
    )

    assert [document.title for document in question.profile.documents] == ["On moss"]
    assert sum(question.profile.left_out.values()) == 1


def test_the_output_stays_in_the_rubric(write: Callable[..., str], hidden_in: Callable[[object], list[str]]) -> None:
    (question,) = load_questions(f"longlamp-3:{write(record('longlamp-3', output='CANARY-REFERENCE'))}")

    assert hidden_in(question) == hidden_in(question.text) == hidden_in(question.profile) == []
    assert hidden_in(question.rubric)


def test_items_of_another_task_name_that_task(write: Callable[..., str]) -> None:
    path = write(record("longlamp-3"))

    with pytest.raises(DataError, match=naming("profile[0].output", "longlamp-3")):
        load_questions(f"longlamp-4:{path}")


def test_the_hub_is_read_through_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    rows = library.Dataset.from_list([record("longlamp-3", reviewerId="R1")])
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str, split: str) -> Any:
        asked.append((*names, split))
        return rows

    monkeypatch.setattr(library, "load_dataset", load_dataset)

    (question,) = load_questions("longlamp-3:product_review_user/val")

    assert asked == [("LongLaMP/LongLaMP", "product_review_user", "val")]
    assert question.profile.documents == (DOCUMENTS["longlamp-3"],)
    with pytest.raises(DataError, match=naming("'validation'", "train", "val", "test")):
        load_questions("longlamp-3:product_review_user/validation")
