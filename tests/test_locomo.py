import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from talks import asked, conversation, turn

from profilegym import Document, Question, load_questions, make_retriever
from profilegym.envs.data.locomo import UNKNOWN
from profilegym.errors import DataError, OptionError

HOSTILE = '</li><script>alert("1")</script>'


def long_talk() -> dict[str, Any]:
    """690 turns in 23 sessions; one of them holds markup."""
    sessions: dict[str, Any] = {}
    for number in range(1, 24):
        sessions[f"session_{number}_date_time"] = f"1:00 pm on {number} May, 2023"
        sessions[f"session_{number}"] = [
            turn(f"D{number}:{place}", ("Ines", "Tom")[place % 2], f"We spoke of matter {number}-{place}.")
            for place in range(1, 31)
        ]
    sessions["session_7"][11] = turn("D7:12", "Ines", f"My yacht lies in Ghent. {HOSTILE}")
    return conversation("talk", asked(4, "Where does the yacht lie?", evidence=["D7:12", "D9:1"]), **sessions)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes conversations to a file and gives its spec."""

    def write(*conversations: Any) -> str:
        (tmp_path / "talks.json").write_text(json.dumps(conversations), "utf-8")
        return f"locomo:{tmp_path}/talks.json"

    return write


def documents_of(question: Question) -> tuple[str, ...]:
    (aspect,) = question.rubric.aspects
    return aspect.documents


def test_a_conversation_becomes_a_history_with_a_document_a_turn(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(conversation("conv-1")))

    assert (question.id, question.user_id, question.text) == ("conv-1:q1", "conv-1", "Where is the boat?")
    assert question.profile.documents == (
        Document(
            "D1:1",
            "My boat lies in Ghent. (shares a photo of a red boat)",
            "2023-05-08T00:05",
            speaker="Ines",
            session="1",
        ),
        Document("D1:2", "I would like to see it.", "2023-05-08T00:05", speaker="Tom", session="1"),
        Document("D2:1", "I painted the boat.", "2023-05-09T12:30", speaker="Ines", session="2"),
        Document("D10:1", "The boat was sold.", "2023-10-20T13:56", speaker="Tom", session="10"),
    )


def test_questions_have_their_category_reference_and_evidence(write: Callable[..., str]) -> None:
    kinds = [asked(number) for number in (1, 2, 3, 4)]
    kinds[1] |= {"answer": 2022, "evidence": ["D2:1", "D10:1", "D2:1"]}

    questions = load_questions(write(conversation("c", *kinds)))

    assert [question.category for question in questions] == [
        "1 multi-hop",
        "2 temporal",
        "3 open-domain",
        "4 single-hop",
    ]
    assert {question.rubric.history for question in questions} == {"needed"}
    (aspect,) = questions[1].rubric.aspects
    assert questions[1].rubric.reference == aspect.evidence == "2022"
    assert (aspect.documents, aspect.sessions) == (("D2:1", "D10:1"), ("2", "10"))


@pytest.mark.parametrize(
    ("evidence", "found", "unresolved"),
    [
        (["D1:2; D2:1"], ("D1:2", "D2:1"), ()),
        (["D1:2 D2:1 D10:1"], ("D1:2", "D2:1", "D10:1"), ()),
        (["D:10:1", "D01:02"], ("D10:1", "D1:2"), ()),
        (["D", "D1:1", "D10:19"], ("D1:1",), ("D", "D10:19")),
        ([], (), ()),
    ],
)
def test_evidence_is_found_however_it_is_written_and_what_there_is_not_is_kept_apart(
    write: Callable[..., str], evidence: list[str], found: tuple[str, ...], unresolved: tuple[str, ...]
) -> None:
    (question,) = load_questions(write(conversation("c", asked(1, evidence=evidence))))

    (aspect,) = question.rubric.aspects
    assert (aspect.documents, aspect.unresolved) == (found, unresolved)


def test_an_adversarial_question_says_that_it_cannot_be_answered_and_what_a_wrong_answer_is(
    write: Callable[..., str],
) -> None:
    trap = asked(5, adversarial_answer="a red boat", evidence=["D1:1"])
    del trap["answer"]

    plain, answered = load_questions(write(conversation("c", trap, trap | {"answer": "No"})))

    assert plain.category == "5 adversarial"
    assert (plain.rubric.history, plain.rubric.reference) == ("unanswerable", UNKNOWN)
    assert plain.rubric.aspects[0].rejected == ("a red boat",)
    assert documents_of(plain) == ("D1:1",)
    assert (answered.rubric.history, answered.rubric.reference) == ("unanswerable", "No")


def test_all_questions_of_a_conversation_share_one_profile(write: Callable[..., str]) -> None:
    first, second, other = load_questions(write(conversation("c", asked(1), asked(2)), conversation("d")))

    assert first.profile is second.profile
    assert first.profile is not other.profile


def test_splits_are_by_conversation_and_stay_where_a_file_has_more_of_them(write: Callable[..., str]) -> None:
    def users(split: str, conversations: int) -> list[str]:
        return [
            q.user_id for q in load_questions(write(*(conversation(f"c{n}") for n in range(conversations))) + split)
        ]

    assert users("/train", 7) == ["c0", "c1", "c2", "c5", "c6"]
    assert users("/train", 10) == ["c0", "c1", "c2", "c5", "c6", "c7"]
    assert users("/validation", 10) == ["c3", "c8"]
    assert users("/test", 10) == ["c4", "c9"]
    assert users("/c4", 10) == ["c4"]
    assert users("/validation+c1+c8", 10) == ["c1", "c3", "c8"]


def test_categories_captions_and_a_speaker_can_be_chosen(write: Callable[..., str]) -> None:
    spec = write(conversation("c", asked(1), asked(4, evidence=["D10:1"]), asked(5), asked(4, evidence=[])))

    def chosen(options: str) -> list[str]:
        return [question.id for question in load_questions(spec + options)]

    assert chosen(",categories=1+4") == ["c:q1", "c:q2", "c:q4"]
    assert chosen(",speaker=b") == chosen(",speaker=Tom") == ["c:q2"]
    assert chosen(",categories=4+1,speaker=a") == ["c:q1"]
    assert chosen(",every=3") == ["c:q1", "c:q4"]
    (toms,) = load_questions(f"{spec},speaker=b")
    assert [document.id for document in toms.profile.documents] == ["D1:2", "D10:1"]
    assert load_questions(f"{spec},captions=no")[0].profile.documents[0].text == "My boat lies in Ghent."


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (",captions=maybe", ["captions", "maybe"]),
        (",categories=1+6", ["categories", "1+6"]),
        (",every=0", ["every", 0]),
    ],
)
def test_a_wrong_option_is_refused(write: Callable[..., str], options: str, named: list[object]) -> None:
    with pytest.raises(OptionError, match=naming(*named)):
        load_questions(write(conversation("c")) + options)


def test_a_wrong_split_is_refused_with_those_that_there_are(write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=naming("/dev", "train", "validation", "test", "conv-1")):
        load_questions(write(conversation("conv-1")) + "/dev")
    with pytest.raises(DataError, match=naming("conv-2", "train", "conv-1")):
        load_questions(write(conversation("conv-1")) + "/conv-1+conv-2")
    with pytest.raises(DataError, match=naming("locomo:PATH.json")):
        load_questions("locomo:")


@pytest.mark.parametrize("split", ["", "/test", "/conv-26+conv-30"])
def test_a_missing_file_is_named_and_where_to_get_it(tmp_path: Path, split: str) -> None:
    path = f"{tmp_path}/locomo10.json"
    with pytest.raises(DataError, match=naming(f"no file {path};", "github.com/snap-research/locomo", "locomo:PATH")):
        load_questions(f"locomo:{path}{split}")


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"sample_id": "c"}, [1, "conversation"]),
        (conversation("c", session_1_date_time="8 May"), [1, "conversation.session_1_date_time", "'8 May'"]),
        (conversation("c", session_1_date_time="1:00 pm on 8 Mai, 2023"), ["session_1_date_time", "Mai"]),
        (conversation("c", session_2=[turn("D1:1", "Tom", "Hm.")]), ["conversation.session_2[0].dia_id", "'D1:1'"]),
        (conversation("c", session_2=[turn("second", "Tom", "Hm.")]), ["conversation.session_2[0].dia_id", "D3:14"]),
        (conversation("c", session_2=[turn("D2:1", "", "Hm.")]), ["conversation.session_2[0].speaker"]),
        (conversation("c", asked(6)), ["qa[0].category", 6]),
        (conversation("c", asked(1, answer=None)), ["qa[0].answer", "None"]),
        (conversation("c", asked(1, evidence="D1:1")), ["qa[0].evidence", "'D1:1'"]),
    ],
)
def test_a_malformed_conversation_is_named_with_its_field(
    write: Callable[..., str], broken: dict[str, Any], named: list[object]
) -> None:
    with pytest.raises(DataError, match=naming("talks.json", *named)):
        load_questions(write(broken))


def test_two_conversations_of_one_id_are_refused(write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=naming("talks.json", 2, "sample_id", "'c'")):
        load_questions(write(conversation("c"), conversation("c")))


def test_who_spoke_is_searched_with_what_was_said(write: Callable[..., str]) -> None:
    (question,) = load_questions(write(conversation("c")))

    hits = make_retriever("bm25").search(question.profile, "What did Tom say?", 4)

    assert [hit.document.id for hit in hits] == ["D10:1", "D1:2"]
