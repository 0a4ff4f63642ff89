import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym import Aspect, Document, Profile, Question, Rubric, load_questions
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.data.leaks import Leaks, is_later, without_leaks
from profilegym.errors import OptionError

ASKED = "How do I keep my tomato plants alive on a windy balcony in winter?"
NARRATIVE = (
    "I moved to the fifth floor last month and the wind tears at everything. My tomatoes are in clay pots, "
    "and I cannot drill into the wall. What would protect them until spring without costing much?"
)

RUBRIC = Rubric(narrative=NARRATIVE)


def left_out(
    text: str,
    asked: str = ASKED,
    rubric: Rubric = RUBRIC,
    title: str | None = None,
    query: str = "",
    leaks: Leaks = "strict",
    **document: str,
) -> dict[str, int]:
    item = Document(document.get("id", "d"), text, document.get("date"), title)
    question = Question("q", "u", asked, Profile("u", (item,)), rubric, date="2024-05-10", query=query)
    clean = without_leaks(question, leaks)
    assert len(clean.profile) + sum(clean.profile.left_out.values()) == 1
    return dict(clean.profile.left_out)


def test_the_question_itself_is_left_out() -> None:
    assert left_out(ASKED) == {"same question": 1}
    assert left_out("Something else entirely.", id="q") == {"same question": 1}
    assert left_out("Tea?", asked="tea") == {"same question": 1}


def test_numbers_that_happen_to_be_equal_do_not_make_an_item_the_question() -> None:
    question = Question("7", "u", ASKED, Profile("u", (Document("7", "Tea."),)))

    assert without_leaks(question) is question


def test_case_punctuation_and_character_forms_hide_nothing() -> None:
    asked = "Où est le café préféré de ma sœur?"

    assert left_out("HOW do I keep my “tomato” plants alive — on a windy balcony, in winter…") == {"same question": 1}
    assert left_out("ou\u0300 est le cafe\u0301 pre\u0301fe\u0301re\u0301 de ma sœur", asked) == {"same question": 1}
    assert left_out("Ｈｏｗ do I keep my tomato plants alive on a windy balcony in winter") == {"same question": 1}


def test_the_question_within_a_post_is_left_out() -> None:
    assert left_out(f"Hello all. {ASKED} Thanks in advance, any advice is welcome.") == {"near duplicate": 1}
    assert left_out("Any advice is welcome, thanks in advance.", title=ASKED) == {"near duplicate": 1}
    assert left_out("昨日、私の犬は何を食べましたか教えてください。", asked="私の犬は何を食べましたか") == {
        "near duplicate": 1
    }


def test_a_light_edit_of_the_question_is_left_out() -> None:
    one_word_more = "So, how do I keep my tomato plants alive on a very windy balcony in winter?"
    last_word_other = "How do I keep my tomato plants alive on a windy balcony in autumn?"

    assert left_out(one_word_more) == {"near duplicate": 1}
    assert left_out(last_word_other) == {"near duplicate": 1}


def test_another_question_on_the_same_matter_stays() -> None:
    assert left_out("How do I keep my tomato plants alive during a long holiday in winter?") == {}
    assert left_out("Which tomato copes best with wind? My balcony is windy and winter is near.") == {}
    assert left_out("Winter in balcony windy a on alive plants tomato my keep I do how?") == {}
    assert left_out("") == {}


def test_a_short_question_is_only_compared_as_a_whole() -> None:
    assert left_out("What is the best tea for a cold?", asked="the best tea") == {}
    assert left_out("I asked what is the best tea.", asked="What is the best tea") == {"near duplicate": 1}


def test_common_phrases_scattered_over_a_long_post_stay() -> None:
    asked = "What is the best way to learn a language"
    filler = " and then we talked about the weather and the garden for a while" * 3
    phrases = (
        "what is the",
        "is the best",
        "the best way",
        "best way to",
        "way to learn",
        "to learn a",
        "learn a language",
    )

    assert left_out(filler.join(phrases), asked) == {}
    assert left_out(" so ".join(["we met", asked, "was the topic"]), asked) == {"near duplicate": 1}


def test_a_post_that_carries_the_hidden_narrative_is_left_out() -> None:
    first_words = " ".join(NARRATIVE.split()[:20])

    assert left_out(f"Update: {NARRATIVE} Edit: solved.") == {"near duplicate": 1}
    assert left_out(NARRATIVE) == {"same question": 1}
    assert left_out(first_words) == {}


def test_a_post_that_carries_the_reference_is_left_out_but_not_one_that_carries_a_label() -> None:
    gold = Rubric(reference="Wrap the clay pots in fleece and move them behind the railing.")

    assert left_out("I told her: wrap the clay pots in fleece and move them behind the railing!", rubric=gold)
    assert left_out("A comedy, through and through.", rubric=Rubric(reference="comedy")) == {}
    assert left_out("comedy", rubric=Rubric(reference="comedy")) == {}


def test_what_was_written_after_the_question_is_left_out() -> None:
    assert left_out("A walk by the sea.", date="2024-05-11") == {"later than the question": 1}
    assert left_out("A walk by the sea.", date="2024-05-10") == {}
    assert left_out("A walk by the sea.", date="2024") == {}


def test_dates_are_compared_as_far_as_both_are_known() -> None:
    assert is_later("2024-05-10T12:00:00", "2024-05-10T11:00:00Z")
    assert not is_later("2024-05-10T12:00:00+02:00", "2024-05-10T11:00:00Z")
    assert not is_later("2024-05-10T12:00:00", "2024-05-10")
    assert is_later("2024-06", "2024-05-10")
    assert not is_later("2024-05", "2024-05-10")


def test_instructions_around_a_text_do_not_hide_its_copy() -> None:
    review = "The kettle leaks at the handle"
    asked = f"What is the score of the following review on a scale of 1 to 5? review: {review}"

    assert left_out(f"{review}\nRating: 2 of 5", asked, query=review) == {"near duplicate": 1}
    assert left_out("The kettle pours well at last", asked, query=review) == {}
    assert left_out(asked, asked, query="kettle") == {"same question": 1}


def test_aspects_are_too_short_to_be_looked_for() -> None:
    rubric = Rubric(aspects=(Aspect("wind protection for tomato plants", "It is windy.", "the wind tears"),))

    assert left_out("I wrote a guide on wind protection for tomato plants.", rubric=rubric) == {}


def test_counts_add_up_over_a_profile() -> None:
    texts = [ASKED, f"{ASKED} Please help me.", "Tea.", "Coffee."]
    documents = tuple(Document(str(n), text, "2024-05-01") for n, text in enumerate(texts))
    question = Question(
        "q", "u", ASKED, Profile("u", (*documents, Document("9", "Milk.", "2025-01-01"))), date="2024-06-01"
    )

    profile = without_leaks(question).profile

    assert [document.text for document in profile.documents] == ["Tea.", "Coffee."]
    assert profile.left_out == {"same question": 1, "near duplicate": 1, "later than the question": 1}


# An answer that is taken from the history: what holds it is evidence, and so may be what was asked before.
REFERENCE = "A fleece over the clay pots behind the railing"
EXTRACTED = Question(
    "q",
    "u",
    ASKED,
    Profile(
        "u",
        (
            Document("told", f"I did it: {REFERENCE}, and it worked.", "2024-01-01"),
            Document("before", f"Back then I asked: {ASKED}", "2024-02-01"),
            Document("again", ASKED, "2024-03-01"),
            Document("copied", f"Somebody said: {NARRATIVE}", "2024-04-01"),
            Document("else", f"To whom it may concern: {ASKED}", "2024-04-02"),
            Document("after", "They froze.", "2024-12-01"),
        ),
    ),
    Rubric(NARRATIVE, (Aspect("fleece", documents=("told", "before", "again", "after")),), REFERENCE),
    date="2024-05-10",
)
LATER_OR_SAME = {"same question (evidence)": 1, "later than the question (evidence)": 1}
LEFT_OUT: dict[Leaks, tuple[list[str], dict[str, int]]] = {
    "question": (["told", "before", "copied"], LATER_OR_SAME | {"near duplicate": 1}),
    "strict": ([], LATER_OR_SAME | {"near duplicate (evidence)": 2, "near duplicate": 2}),
    "none": (["told", "before", "again", "copied", "else", "after"], {}),
}


@pytest.mark.parametrize("leaks", LEFT_OUT)
def test_what_counts_as_a_leak_can_be_chosen(leaks: Leaks) -> None:
    profile = without_leaks(EXTRACTED, leaks=leaks).profile

    assert ([document.id for document in profile.documents], profile.left_out) == LEFT_OUT[leaks]


@given(
    texts=st.lists(st.sampled_from([ASKED, NARRATIVE, REFERENCE, f"So: {ASKED}", f"So: {REFERENCE}", "Tea.", ""])),
    named=st.sets(st.integers(0, 9)),
    leaks=st.sampled_from(["question", "strict", "none"]),
)
def test_no_evidence_is_left_out_without_being_counted_as_such(texts: list[str], named: set[int], leaks: Leaks) -> None:
    documents = tuple(Document(f"d{place}", text) for place, text in enumerate(texts))
    aspects = (Aspect("a", documents=tuple(f"d{place}" for place in sorted(named))),)
    question = Question("q", "u", ASKED, Profile("u", documents), Rubric(NARRATIVE, aspects, REFERENCE))

    profile = without_leaks(question, leaks=leaks).profile

    lost = [place for place in named if place < len(texts) and f"d{place}" not in profile.by_id]
    assert sum(count for why, count in profile.left_out.items() if why.endswith("(evidence)")) == len(lost)
    assert len(profile) + sum(profile.left_out.values()) == len(texts)
    if leaks == "question":
        assert all(texts[place] == ASKED for place in lost)


def test_own_lines_keep_the_evidence_unless_the_spec_is_strict(tmp_path: Path) -> None:
    spec = f"jsonl:{tmp_path}/mine,leaks=all,x=1.jsonl"
    write_jsonl([EXTRACTED], spec.removeprefix("jsonl:"))

    usual, strict, none = (load_questions(spec + leaks) for leaks in ("", ",leaks=strict", ",leaks=none"))

    assert usual[0].profile.left_out == LEFT_OUT["question"][1]
    assert strict[0].profile.left_out == LEFT_OUT["strict"][1]
    assert none[0] == EXTRACTED
    assert none.spec == f"{spec},leaks=none"
    assert load_questions(none.spec).find("q") == EXTRACTED
    assert load_questions(f"{spec},every=2,leaks=none")[0] == EXTRACTED
    assert load_questions(f"{spec},every=2").screened("none")[0] == EXTRACTED


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("lamp-5", {"input": "Generate a title for the paper: Tea", "output": REFERENCE}),
        ("longlamp-2", {"input": "Generate an abstract for the title: Tea", "output": REFERENCE}),
        ("lamp-qa", {"question": "Which one?", "narrative": NARRATIVE, "rubric_aspects": []}),
    ],
)
def test_published_data_is_strict(tmp_path: Path, name: str, record: dict[str, object]) -> None:
    text = f"{NARRATIVE} {REFERENCE}"
    item = {"id": "1", "text": text, "abstract": text, "title": "T"}
    (tmp_path / "one.json").write_text(json.dumps([{"id": "q7", "profile": [item], **record}]), "utf-8")
    spec = f"{name}:{tmp_path}/one.json"

    assert load_questions(spec)[0].profile.left_out == {"near duplicate": 1}
    assert load_questions(f"{spec},leaks=question")[0].profile.left_out == {}


@pytest.mark.parametrize("name", ["world", "world-lamp-3"])
def test_made_up_data_takes_the_choice_and_has_nothing_to_leave_out(name: str) -> None:
    plain = load_questions(f"{name}:seed=7,users=10/test")

    for spec in (f"{name}:seed=7,users=10,leaks=none/test", f"{name}:seed=7,users=10/test,leaks=strict"):
        questions = load_questions(spec)
        assert type(questions) is type(plain)
        assert questions.spec == spec
        assert list(questions) == list(plain)
        assert all(question.profile.left_out == {} for question in questions)


@pytest.mark.parametrize("spec", ["world,leaks=nothing", "world:leaks=1/test", "jsonl:mine.jsonl,leaks="])
def test_a_word_that_names_no_choice_is_refused(spec: str) -> None:
    with pytest.raises(OptionError, match=naming("leaks", "question", "strict", "none")):
        load_questions(spec)


def test_later_leaves_out_what_is_later_and_nothing_else() -> None:
    assert left_out("I grow tomatoes.", leaks="later", date="2024-05-11") == {"later than the question": 1}
    assert left_out(ASKED, leaks="later", date="2024-05-10") == {}
    assert left_out(ASKED, leaks="later", id="q") == {}


@pytest.mark.parametrize("leaks", ["later", "question", "strict"])
def test_questions_that_may_see_the_same_share_one_profile(leaks: Leaks) -> None:
    days = tuple(Document(f"d{day}", f"Day {day}.", f"2024-05-{day:02}") for day in range(1, 9))
    whole = Profile("u", days)

    def seen(date: str | None) -> Profile:
        return without_leaks(Question(f"q{date}", "u", ASKED, whole, date=date), leaks).profile

    assert seen(None) is seen("2024-05-08") is seen("2025") is whole
    assert seen("2024-05-03T10:00") is seen("2024-05-03")
    assert seen("2024-05-03").documents == days[:3]
    assert seen("2024-05-04").left_out == {"later than the question": 4}
