import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym import Aspect, Document, Profile, Question, Rubric, load_questions
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.errors import DataError

DOCUMENTATION = Path(__file__).parent.parent / "docs" / "data.md"
WORDS = st.text(st.characters(exclude_categories=["Cs"]))  # anything but half an emoji
ROUND_TRIP = [
    Question("1", "u", "Tea?", Profile("u", ())),
    Question(
        id="2",
        user_id="ü",
        text="Which tea does my sister like?",
        profile=Profile(
            "ü", (Document("a", "“Rooibos”\n\\", "2024-01-02", ""), Document("b", "", "2024-01-03T10:00:00Z"))
        ),
        rubric=Rubric(
            narrative="She visits.",
            aspects=(Aspect("Names rooibos", "r", "e", ("rooibos",), ("oolong", "mint"), ("a",)), Aspect("Short")),
            reference="",
            hops=0,
        ),
        category="food",
        date="2024-02",
        query="tea that my sister likes",
    ),
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes lines to a file and gives its spec."""

    def write(*lines: Any) -> str:
        (tmp_path / "mine.txt").write_text("\n".join(map(json.dumps, lines)), "utf-8")
        return f"jsonl:{tmp_path / 'mine.txt'}"

    return write


def line(**changes: Any) -> dict[str, Any]:
    whole = {"id": "1", "user_id": "u", "text": "Tea?", "profile": [{"id": "a", "text": "I drink tea."}]}
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def test_what_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    write_jsonl(ROUND_TRIP, tmp_path / "mine.jsonl")

    assert list(load_questions(f"jsonl:{tmp_path}/mine.jsonl")) == ROUND_TRIP


@given(texts=st.lists(WORDS, max_size=4), reference=st.none() | WORDS)
def test_any_text_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], reference: str | None
) -> None:
    documents = tuple(Document(f"d{n}", text, title=text) for n, text in enumerate(texts))
    rubric = Rubric("n", (Aspect("t", "".join(texts), accepted=tuple(texts)),), reference)
    path = tmp_path_factory.mktemp("any") / "mine.jsonl"

    write_jsonl([question := Question("q", "u", "Which tea?", Profile("u", documents), rubric)], path)

    assert load_questions(f"jsonl:{path}")[0] == question


def test_the_example_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    (example,) = (block for block in DOCUMENTATION.read_text("utf-8").split("```json\n")[1:])
    shown = json.loads(example.split("```")[0])
    (tmp_path / "mine.jsonl").write_text(json.dumps(shown), "utf-8")

    (question,) = load_questions(f"jsonl:{tmp_path}/mine.jsonl")

    assert question.rubric.aspects
    assert question.profile.documents
    assert question.profile.left_out == {}


def test_hidden_fields_stay_in_the_rubric(write: Callable[..., str], hidden_in: Callable[[object], list[str]]) -> None:
    aspect = {"title": "CANARY-ASPECT", "reason": "CANARY-REASON", "evidence": "CANARY-EVIDENCE"}
    aspect |= {"accepted": ["CANARY-ACCEPTED"]}  # type: ignore[dict-item]
    rubric = {"narrative": "CANARY-NARRATIVE", "aspects": [aspect], "reference": "CANARY-REFERENCE"}

    (question,) = load_questions(write(line(rubric=rubric)))

    assert hidden_in(question) == hidden_in(question.text) == hidden_in(question.profile) == []
    assert len(hidden_in(question.rubric)) == 6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"user_id": ...}, ["user_id", "id, text, profile"]),
        ({"profil": []}, ["profil", "id, user_id, text, profile, rubric, category, date"]),
        (
            {"profile": [{"id": 1, "text": "x", "day": 1}]},
            ["profile[0].day", "id, text, date, title"],
        ),
        (
            {"profile": [{"id": 1, "text": "x"}] * 2},
            ["profile[1].id", 1],
        ),
        ({"rubric": []}, ["rubric", "[]"]),
        ({"rubric": {"hops": -1}}, ["rubric.hops", -1, 0]),
        (
            {"rubric": {"aspects": [{"title": "t", "accepted": "x"}]}},
            ["rubric.aspects[0].accepted", "'x'"],
        ),
        ({"date": "2024-13-01"}, ["date", "'2024-13-01'", "2019-07-30"]),
    ],
)
def test_a_malformed_line_is_named_with_its_field(
    write: Callable[..., str], changes: dict[str, Any], named: list[object]
) -> None:
    with pytest.raises(DataError, match=naming("mine.txt", 2, "'1'", *named)):
        load_questions(write(line(id="0"), line(**changes)))


def test_a_question_is_read_from_disk_once_while_it_is_in_use(write: Callable[..., str]) -> None:
    questions = load_questions(write(*(line(id=str(n)) for n in range(300))))

    first = questions[0]

    assert questions[0] is first
    assert [question.id for question in questions] == [str(n) for n in range(300)]
    assert questions[0] is not first
    assert questions[0] == first


def test_a_file_that_changed_is_not_mixed_up_with_the_old_one(write: Callable[..., str], tmp_path: Path) -> None:
    questions = load_questions(write(line()))

    (tmp_path / "mine.txt").write_text("", "utf-8")

    with pytest.raises(DataError, match=naming(tmp_path / "mine.txt", "changed")):
        questions.find("1")
