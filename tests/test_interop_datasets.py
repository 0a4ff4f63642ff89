"""Questions and runs as data sets of Hugging Face's library, and back."""

from pathlib import Path

import datasets
import pytest
from matching import naming

import profilegym as pg
from profilegym import AspectMatch, Episode, Hit, Question, QuestionList, QuestionSet, Reward, RunDirectory, Verdict
from profilegym.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def test_questions_come_back_from_a_dataset_as_they_went_into_it() -> None:
    questions = pg.load_questions("world:users=10/test")

    back = QuestionSet.from_hf(questions.to_hf())

    assert list(back) == list(questions)
    assert back[0].rubric == questions[0].rubric


def test_a_mapping_names_columns_and_fields_of_documents_and_rubric() -> None:
    rows = datasets.Dataset.from_list(
        [
            {
                "qid": 7,
                "author": "ann",
                "question": "What tea do I like?",
                "history": [
                    {"body": "I drink rooibos.", "when": "2024-01-02"},
                    {"body": "My dog is Milo.", "when": None},
                ],
                "answer": "Rooibos.",
                "points": ["names the tea"],
            }
        ]
    )
    mapping = {
        "id": "qid", "user_id": "author", "text": "question", "profile": "history", "profile.text": "body",
        "profile.date": "when", "rubric.reference": "answer", "rubric.aspects": "points",
    }  # fmt: skip

    (question,) = QuestionSet.from_hf(rows, mapping)

    assert (question.id, question.user_id, question.text) == ("7", "ann", "What tea do I like?")
    assert [(d.id, d.text, d.date) for d in question.profile.documents] == [
        ("d1", "I drink rooibos.", "2024-01-02"),
        ("d2", "My dog is Milo.", None),
    ]
    assert question.rubric.reference == "Rooibos."
    assert [aspect.title for aspect in question.rubric.aspects] == ["names the tea"]


def test_what_documents_have_under_the_names_of_fields_is_kept_beside_what_is_mapped() -> None:
    posts = [
        {"id": "post-1", "body": "I like rooibos.", "date": "2024-01-01", "title": "Tea", "likes": 3},
        {"id": None, "body": "I also like mint.", "date": "2024-02-01", "title": None, "likes": 0},
        {"id": "post-3", "body": "Now I chose sencha.", "date": "2025-01-01", "title": None, "likes": 1},
    ]
    rows = [{"qid": "q", "user_id": "u", "question": "Tea?", "date": "2024-05-01", "profile": posts}]

    (question,) = QuestionSet.from_hf(rows, {"id": "qid", "text": "question", "profile.text": "body"})

    assert question.profile.documents == (
        pg.Document("post-1", "I like rooibos.", "2024-01-01", "Tea"),
        pg.Document("d2", "I also like mint.", "2024-02-01"),
    )


def test_what_only_has_the_name_of_a_field_is_left_out() -> None:
    posts = [{"body": "I like rooibos.", "date": "Jan 5, 2020", "meta": 3, "title": ["a"], "session": 2}]
    rows = [{"id": "q", "user_id": "u", "text": "Tea?", "profile": posts}]

    (question,) = QuestionSet.from_hf(rows, {"profile.text": "body"})

    assert question.profile.documents == (pg.Document("d1", "I like rooibos.", session="2"),)


def test_documents_may_be_bare_texts_and_rows_any_sequence() -> None:
    rows = [{"id": "q", "user_id": "u", "text": "Tea?", "profile": ["I drink rooibos."], "other": 1}]

    (question,) = QuestionSet.from_hf(rows)

    assert question.profile.documents == (pg.Document("d1", "I drink rooibos."),)


@pytest.mark.parametrize(
    ("mapping", "told"), [({"text": "qestion"}, "'question'"), ({"title": "question"}, "'title'"), ({}, "'text'")]
)
def test_a_mapping_that_does_not_fit_is_an_error(mapping: dict[str, str], told: str) -> None:
    rows = [{"id": "q", "user_id": "u", "question": "Tea?", "profile": []}]

    with pytest.raises(DataError, match=told.strip("'")):
        QuestionSet.from_hf(rows, mapping)


def played(question: Question, answer: str, score: float | None, kind: str = "personalised") -> pg.Trajectory:
    name = "pr2" if kind == "personalised" else "none"
    episode = Episode(question, kind=kind, id=f"{question.id}:{name}:0")  # type: ignore[arg-type]
    if kind == "personalised":
        episode.write("<think>Look.</think><search>tea</search>")
        episode.add_hits([Hit(question.profile.documents[0], 1.0)])
    episode.write(f"<answer>{answer}</answer>")
    verdict = None if score is None else Verdict("rubric", score, (AspectMatch("tea", 1),))
    episode.score(Reward(score, {}, verdict, None if score is not None else "the judge is down"))
    return episode.trajectory()


@pytest.fixture
def run(tmp_path: Path, questions: QuestionList) -> RunDirectory:
    scores = [(0.5, 0.0), (0.25, 1.0), (0.5, 0.5), (None, 0.0), (1.0, None)]
    run = RunDirectory(tmp_path / "run")
    with run.writing({"agent": "pr2", "data": "world"}), run.writer() as writer:
        for question, (own, other) in zip(questions, scores, strict=True):
            writer.write(played(question, "own", own))
            writer.write(played(question, "other", other, "baseline"))
    return run


def test_conversations_are_those_with_the_profile_and_a_score(run: RunDirectory) -> None:
    rows = run.to_dataset("sft", min_score=0.5)

    assert rows["question_id"] == ["q0", "q2", "q4"]
    roles = [message["role"] for message in rows[0]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert len(run.to_dataset()) == 5


def test_pairs_prefer_the_better_answer_and_leave_out_ties_and_the_unscored(run: RunDirectory) -> None:
    rows = run.to_dataset("dpo")

    assert list(rows["question_id"]) == ["q0", "q1"]
    first, second = rows
    assert [message["role"] for message in first["prompt"]] == ["user", "assistant", "user"]
    assert "own" in first["chosen"][0]["content"]
    assert "other" in first["rejected"][0]["content"]
    assert "other" in second["chosen"][0]["content"]
    assert (second["score_chosen"], second["score_rejected"]) == (1.0, 0.25)


def test_a_run_without_such_episodes_and_an_unknown_form_are_errors(run: RunDirectory) -> None:
    with pytest.raises(DataError, match=naming(run.path)):
        run.to_dataset("dpo", min_score=2.0)
    with pytest.raises(OptionError, match=naming("'grpo'")):
        run.to_dataset("grpo")  # type: ignore[arg-type]


@pytest.mark.slow
def test_trls_trainers_take_them(run: RunDirectory) -> None:
    from trl.data_utils import is_conversational, maybe_extract_prompt

    for form in ("sft", "dpo"):
        (row, *_) = run.to_dataset(form)
        assert is_conversational(row)
    assert maybe_extract_prompt(row)["chosen"] == row["chosen"]
