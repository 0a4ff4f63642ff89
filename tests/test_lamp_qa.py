import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matching import naming

from profilegym import Aspect, Document, load_questions
from profilegym.envs.reward import AspectMatch, Verdict
from profilegym.envs.trajectory import Trajectory
from profilegym.errors import DataError, MissingExtra
from profilegym.evaluation.summary import RunTotals
from profilegym.world.data import write_lamp_qa


def record(question_id: str | int = "writers_1", **changes: Any) -> dict[str, Any]:
    posts = [
        {"id": "writers_8", "text": "Which pen is best? I write in the rain.", "category": "writers"},
        {"id": "writers_9", "text": "How long may a chapter be? Mine reach forty pages."},
    ]
    aspect = {"aspect": "CANARY-ASPECT", "reason": "CANARY-REASON", "evidence": "CANARY-EVIDENCE"}
    whole = {
        "id": question_id,
        "question": "How should I name the villain of my third novel?",
        "narrative": "CANARY-NARRATIVE",
        "profile": posts,
        "rubric_aspects": [aspect],
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes records to a file and gives its spec."""

    def write(*records: Any, name: str = "data.json") -> str:
        (tmp_path / name).write_text(json.dumps(records), "utf-8")
        return f"lamp-qa:{tmp_path / name}"

    return write


def test_a_record_becomes_a_question(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(record(), name="Art_and_Entertainment_test.json"))

    assert (question.id, question.user_id) == ("writers_1", "writers_1")
    assert question.text == "How should I name the villain of my third novel?"
    assert question.profile.documents[1] == Document("writers_9", "How long may a chapter be? Mine reach forty pages.")
    assert question.rubric.narrative == "CANARY-NARRATIVE"
    assert question.rubric.aspects == (Aspect("CANARY-ASPECT", "CANARY-REASON", "CANARY-EVIDENCE"),)
    assert question.category == "Art_and_Entertainment"


CONFIGS = ("Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture")


@pytest.fixture
def folder(write: Callable[..., str], tmp_path: Path) -> Path:
    """The three files of a test split, with one, two and three questions."""
    for number, config in enumerate(CONFIGS, 1):
        write(*(record(f"{config}_{n}") for n in range(number)), name=f"{config}_test.json")
    return tmp_path


def test_the_three_files_of_a_split_are_one_data_set_of_three_categories(folder: Path) -> None:
    spec = f"lamp-qa:{folder}/test"
    questions = load_questions(spec)

    assert questions.spec == spec
    assert [question.category for question in questions] == [CONFIGS[n] for n in (0, 1, 1, 2, 2, 2)]
    assert questions.find(questions.ids[4]).id == questions[-2].id == "Society_and_Culture_1"
    assert load_questions(f"{spec},leaks=none")[5].id == "Society_and_Culture_2"


def test_the_score_over_all_files_is_the_mean_of_the_three_means(folder: Path) -> None:
    def verdict(match: int) -> Verdict:
        return Verdict("j", match / 2, (AspectMatch("CANARY-ASPECT", match, ""),))

    questions, totals = load_questions(f"lamp-qa:{folder}/test"), RunTotals()
    for question, match in zip(questions, (2, 2, 1, 0, 1, 0), strict=True):
        who = (f"{question.id}:0", question.id, question.user_id)
        totals.add(Trajectory(*who, "personalised", (), (), "x", "answered", verdict=verdict(match)), question, {})

    assert totals.summary()["macro"]["score"]["mean"] == pytest.approx((1 + 3 / 4 + 1 / 6) / 3)
    assert totals.summary()["score"]["mean"] == pytest.approx(3 / 6)


def test_a_missing_file_and_an_id_in_two_files_are_named(folder: Path, write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=naming(f"{CONFIGS[0]}_validation.json")):
        load_questions(f"lamp-qa:{folder}/validation")
    write(record(f"{CONFIGS[0]}_0"), name=f"{CONFIGS[2]}_test.json")
    with pytest.raises(DataError, match=naming(f"{CONFIGS[0]}_0")):
        load_questions(f"lamp-qa:{folder}/test")


def test_the_world_written_as_lamp_qa_reads_back(tmp_path: Path) -> None:
    world = load_questions("world:seed=7,users=4")
    write_lamp_qa(world, tmp_path / "world.json")

    questions = load_questions(f"lamp-qa:{tmp_path}/world.json")

    assert questions.ids == list(world.ids)
    for mine, theirs in zip(questions, world, strict=True):
        assert (mine.text, mine.profile.documents) == (theirs.text, theirs.profile.documents)
        assert mine.rubric.narrative == theirs.rubric.narrative
        assert [aspect.title for aspect in mine.rubric.aspects] == [aspect.title for aspect in theirs.rubric.aspects]


def test_hidden_fields_stay_in_the_rubric(write: Callable[..., str], hidden_in: Callable[[object], list[str]]) -> None:
    (question,) = load_questions(write(record()))

    assert hidden_in(question) == hidden_in(question.text) == hidden_in(question.profile) == []
    assert hidden_in(question.rubric)


def test_numbers_as_ids_become_strings_and_dates_are_honoured(write: Callable[..., str]) -> None:
    posts = [{"id": 3, "text": "Later.", "date": "2020-5-1"}, {"id": 2, "text": "Earlier.", "date": "2019-12-31"}]

    question = load_questions(write(record(7, profile=posts, user_id=12, date="2021"))).find("7")

    assert question.user_id == "12"
    assert [(document.id, document.date) for document in question.profile.documents] == [
        ("2", "2019-12-31"),
        ("3", "2020-05-01"),
    ]


def test_leaks_are_left_out_and_counted(write: Callable[..., str]) -> None:
    posts = [*record()["profile"], {"id": "writers_1", "text": "The post itself."}]

    (question,) = load_questions(write(record(profile=posts)))

    assert len(question.profile) == 2
    assert question.profile.left_out == {"same question": 1}


def test_items_that_share_an_id_stay_whole_under_ids_of_their_own(write: Callable[..., str]) -> None:
    posts = [{"id": name, "text": text} for name, text in (("a", "One."), ("a#2", "Two."), ("a", "Three."))]

    (question,) = load_questions(write(record(profile=posts)))

    assert [(d.id, d.text) for d in question.profile.documents] == [("a", "One."), ("a#2", "Two."), ("a#3", "Three.")]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"question": 4}, ["'b'", "question", 4]),
        ({"question": " "}, ["question", "' '"]),
        (
            {"question": ...},
            ["question", "id, narrative, profile, rubric_aspects"],
        ),
        ({"narrative": None}, ["narrative", "None"]),
        ({"profile": {}}, ["profile", "{}"]),
        ({"profile": ["x"]}, ["profile[0]", "'x'"]),
        ({"profile": [{"id": "p"}]}, ["profile[0].text", "'id'"]),
        ({"profile": [{"id": [], "text": ""}]}, ["profile[0].id", "[]"]),
        ({"profile": [{"id": "p", "text": "", "date": "May"}]}, ["profile[0].date", "'May'"]),
        ({"rubric_aspects": [{"aspect": ""}]}, ["rubric_aspects[0].aspect", "''"]),
        ({"id": ...}, ["id", "question, narrative, profile, rubric_aspects"]),
        ({"id": True}, ["id", "True"]),
        ({"id": "a"}, ["'a'", "id", 1]),
    ],
)
def test_a_malformed_record_is_named_with_its_field(
    write: Callable[..., str], changes: dict[str, Any], named: list[object]
) -> None:
    spec = write(record("a"), record("b", **changes))

    with pytest.raises(DataError, match=naming("data.json", 2, *named)):
        load_questions(spec)


def test_an_empty_list_is_no_data_set(write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=naming("data.json")):
        load_questions(write())


def test_a_long_value_is_shortened_in_a_message(write: Callable[..., str]) -> None:
    with pytest.raises(DataError) as caught:
        load_questions(write(record(question=["word"] * 10_000)))

    assert len(str(caught.value)) < 300


def test_the_hub_is_read_through_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    rows = library.Dataset.from_list([record("a"), record("b")])
    asked: list[tuple[str, ...]] = []

    def load_dataset(*names: str, split: str) -> Any:
        asked.append((*names, split))
        return rows

    monkeypatch.setattr(library, "load_dataset", load_dataset)

    questions = load_questions("lamp-qa:Society_and_Culture/validation")

    assert asked == [("alireza7/LaMP-QA", "Society_and_Culture", "validation")]
    assert questions.ids == ["a", "b"]
    assert questions[1].category == "Society_and_Culture"
    assert [document.id for document in questions[1].profile.documents] == ["writers_8", "writers_9"]


def test_all_three_configurations_come_from_the_hub_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(
        library, "load_dataset", lambda _, config, split: library.Dataset.from_list([record(f"{config}-{split}")])
    )

    questions = load_questions("lamp-qa:all/test")

    assert questions.ids == [f"{config}-test" for config in CONFIGS]
    assert [question.category for question in questions] == list(CONFIGS)


def test_a_hub_that_fails_says_what_was_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: str, split: str) -> None:
        raise ConnectionError("the hub is out of reach")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=offline))

    with pytest.raises(
        DataError, match=naming("alireza7/LaMP-QA", "Society_and_Culture", "test", "the hub is out of reach")
    ):
        load_questions("lamp-qa:Society_and_Culture/test")


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(MissingExtra, match=r"pip install 'profilegym\[hub\]'"):
        load_questions("lamp-qa:Society_and_Culture/test")


@pytest.mark.parametrize(
    ("rest", "named"),
    [
        ("Arts_and_Entertainment/test", ["'Arts_and_Entertainment'", "'Art_and_Entertainment'"]),
        ("Society_and_Culture/dev", ["'dev'", "train", "validation", "test"]),
        ("somewhere", ["lamp-qa:PATH.json", "lamp-qa:Art_and_Entertainment/test"]),
        ("", ["lamp-qa:"]),
    ],
)
def test_a_name_that_is_not_known_gets_the_nearest_one(rest: str, named: list[str]) -> None:
    with pytest.raises(DataError, match=naming(*named)):
        load_questions(f"lamp-qa:{rest}")
