import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym import Aspect, Document, Profile, Question, QuestionList, Rubric, load_questions
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
            history="unneeded",
        ),
        category="food",
        date="2024-02",
        query="tea that my sister likes",
    ),
    Question(
        "3",
        "v",
        "When does Tom come?",
        Profile(
            "v", (Document("a", "I come on Friday.", None, None, "Tom", "3", (("place", "Ghent"), ("by", "boat"))),)
        ),
        Rubric(aspects=(Aspect("On Friday", documents=("a",), sessions=("3",), unresolved=("D9",)),), history="needed"),
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


def test_documents_are_in_order_of_the_moments_of_their_dates(write: Callable[..., str]) -> None:
    dates = ["2024-03-01T23:00:00-08:00", "2024-03-02T01:00:00+09:00", "2024-03-01", "2024-03", "2024-03-02T06:59Z"]

    (question,) = load_questions(
        write(line(profile=[{"id": date, "text": "I drink tea.", "date": date} for date in dates]))
    )

    assert [document.id for document in question.profile.documents] == [dates[place] for place in (3, 2, 1, 4, 0)]


def test_profiles_can_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    asked = [*ROUND_TRIP, replace(ROUND_TRIP[1], id="4", text="And which cake?")]

    write_jsonl(asked, tmp_path / "asked.jsonl", profiles=tmp_path / "all, of=them.jsonl")

    questions = load_questions(f"jsonl:{tmp_path}/asked.jsonl,profiles={tmp_path}/all, of=them.jsonl")
    assert list(questions) == asked
    assert questions[1].profile is questions[3].profile
    assert "profile" not in (tmp_path / "asked.jsonl").read_text("utf-8")
    assert len((tmp_path / "all, of=them.jsonl").read_text("utf-8").splitlines()) == 3


def test_more_users_than_are_kept_in_memory_are_read_again(tmp_path: Path) -> None:
    users = [Profile(str(n), (Document("a", f"I drink {n} cups."),)) for n in range(200)]
    asked = [Question(f"q{n}", user.user_id, "How many?", user) for n, user in enumerate(users)]

    write_jsonl(asked, tmp_path / "asked.jsonl", profiles=tmp_path / "profiles.jsonl")

    questions = load_questions(f"jsonl:{tmp_path}/asked.jsonl,profiles={tmp_path}/profiles.jsonl")
    assert list(questions) == list(questions) == asked


def test_a_user_with_two_profiles_cannot_be_written_as_one(tmp_path: Path) -> None:
    other = replace(ROUND_TRIP[0], id="9", profile=Profile("u", (Document("a", "Tea."),)))

    with pytest.raises(DataError, match=naming("'u'", "'9'", "leaks=none")):
        write_jsonl([ROUND_TRIP[0], other], tmp_path / "asked.jsonl", profiles=tmp_path / "profiles.jsonl")


def test_equal_profiles_of_a_user_are_one_object_and_others_are_not(write: Callable[..., str]) -> None:
    other = [{"id": "a", "text": "I drink coffee."}]

    first, again, changed, stranger = load_questions(
        write(line(), line(id="2"), line(id="3", profile=other), line(id="4", user_id="v"))
    )

    assert first.profile is again.profile
    assert len({id(question.profile) for question in (first, changed, stranger)}) == 3
    assert [question.profile.user_id for question in (first, changed, stranger)] == ["u", "u", "v"]


@pytest.mark.parametrize(
    ("questions", "profiles", "named"),
    [
        ([line(profile=...)], [{"user_id": "v", "profile": []}], ["mine.txt", 1, "user_id", "'u'", "profiles.txt"]),
        ([line()], [{"user_id": "u", "profile": []}], ["mine.txt", 1, "profile", "id, user_id, text, rubric"]),
        ([line(profile=...)], [{"user_id": "u", "profile": []}] * 2, ["profiles.txt", 2, "user_id", "'u'"]),
        ([line(profile=...)], [{"user_id": "u", "posts": []}], ["profiles.txt", 1, "posts", "user_id, profile"]),
        ([line(profile=...)], [{"user_id": "u"}], ["profiles.txt", 1, "profile", "missing"]),
        ([line(profile=...)], [{"user_id": "u", "profile": [{"id": "a"}]}], ["profiles.txt", 1, "profile[0].text"]),
    ],
)
def test_two_files_that_do_not_fit_are_named(
    write: Callable[..., str], tmp_path: Path, questions: list[Any], profiles: list[Any], named: list[object]
) -> None:
    (tmp_path / "profiles.txt").write_text("\n".join(map(json.dumps, profiles)), "utf-8")

    with pytest.raises(DataError, match=naming(*named)):
        load_questions(f"{write(*questions)},profiles={tmp_path}/profiles.txt")


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
        ({"rubric": {"history": "maybe"}}, ["rubric.history", "'maybe'", "needed, unneeded, unanswerable"]),
        ({"profile": [{"id": 1, "text": "x", "meta": {"place": 1}}]}, ["profile[0].meta.place", 1]),
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


def test_a_file_may_be_written_from_its_own_questions_and_stays_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_jsonl(ROUND_TRIP, path)
    questions = load_questions(f"jsonl:{path}")

    write_jsonl((question for question in questions if question.id == ROUND_TRIP[0].id), path)

    kept = path.read_text("utf-8")
    assert load_questions(f"jsonl:{path}").ids == [ROUND_TRIP[0].id]
    other = replace(ROUND_TRIP[0], id="other", profile=Profile(ROUND_TRIP[0].user_id, (Document("a", "b"),)))
    with pytest.raises(DataError):
        write_jsonl([ROUND_TRIP[0], other], path, profiles=tmp_path / "profiles.jsonl")
    assert path.read_text("utf-8") == kept
    assert [file.name for file in tmp_path.iterdir()] == ["mine.jsonl"]


def test_a_link_leads_to_the_file_that_is_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    real.touch()
    link.symlink_to(real)

    write_jsonl(ROUND_TRIP, link)

    assert link.is_symlink()
    assert load_questions(f"jsonl:{real}").ids == [question.id for question in ROUND_TRIP]


def test_two_questions_of_a_list_with_one_id_are_an_error() -> None:
    one = ROUND_TRIP[0]
    with pytest.raises(DataError, match=naming(repr(one.id))):
        QuestionList([one, replace(one, user_id="bob")])
