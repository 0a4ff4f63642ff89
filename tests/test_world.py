import json
import pickle
import tracemalloc
from collections import Counter
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matching import naming

from profilegym import Question, QuestionSet, load_questions, make_retriever
from profilegym.envs.data.leaks import without_leaks
from profilegym.envs.retrieval.analyzer import analyze
from profilegym.errors import DataError, OptionError
from profilegym.rewards.rubric import RubricJudge
from profilegym.studies.world import distinct_words, shown
from profilegym.world.data import SPLITS, World, write_lamp_qa
from profilegym.world.data.names import NAME, is_unseen
from profilegym.world.data.tables import Tables, load_tables

# A change of this value changes every published number: say so in the changelog under its own heading.
# A new field of a document or a rubric changes it alone: without that field's text the earlier value must come out.
BYTES_OF_SEED_7 = "d8e30758dc12b8661dda408590c2415b"


@pytest.fixture(scope="module")
def world() -> World:
    return load("world:seed=7,users=120")


def load(spec: str) -> World:
    questions = load_questions(spec)
    assert isinstance(questions, World)
    return questions


def everything(question: Question) -> str:
    return repr((question, question.rubric, question.profile))


def people(questions: QuestionSet) -> list[Question]:
    return list({question.user_id: question for question in questions}.values())


def evidence(question: Question) -> set[str]:
    return {document for aspect in question.rubric.aspects for document in aspect.documents}


def texts(question: Question) -> list[str]:
    """Whatever a policy may see or write about a question, and the hidden texts beside it."""
    rubric = question.rubric
    aspects = [text for aspect in rubric.aspects for text in (aspect.title, aspect.reason)]
    return [question.text, rubric.reference or "", rubric.narrative, *aspects]


def test_the_same_spec_gives_the_same_bytes() -> None:
    hashed = blake2b(digest_size=16)

    for question in load_questions("world:seed=7,users=20"):
        hashed.update(everything(question).encode())

    assert hashed.hexdigest() == BYTES_OF_SEED_7


def test_a_person_is_the_same_whoever_else_was_asked_for_and_in_whatever_order() -> None:
    few, many = load("world:seed=7,users=20"), load("world:seed=7,users=20000/test")

    assert everything(many.find("world-7-000017-3")) == everything(few.find("world-7-000017-3"))
    assert [everything(few[i]) for i in reversed(range(120))][::-1] == [everything(q) for q in load(few.spec)]


def test_seeds_give_different_people() -> None:
    one, other = load("world:seed=1,users=3"), load("world:seed=2,users=3")

    assert {q.rubric.reference for q in one}.isdisjoint(q.rubric.reference for q in other if q.rubric.hops == 2)
    assert [q.profile.documents[0].date for q in one] != [q.profile.documents[0].date for q in other]


def test_more_documents_leave_a_person_as_they_were() -> None:
    short, long = load("world:seed=7,users=8,docs=40"), load("world:seed=7,users=8,docs=1000")

    for question, same in zip(short, long, strict=True):
        assert (question.text, question.rubric.reference) == (same.text, same.rubric.reference)
        facts = {d.text for d in question.profile.documents}
        assert len(facts & {d.text for d in same.profile.documents}) >= 38


@pytest.mark.parametrize("docs", [40, 100, 1000])
def test_a_profile_has_as_many_different_documents_as_were_asked_for(docs: int) -> None:
    for person in people(load_questions(f"world:users=10,docs={docs}")):
        documents = person.profile.documents

        assert len({d.text for d in documents}) == len({d.id for d in documents}) == docs
        assert [d.date for d in documents] == sorted(d.date or "" for d in documents)
        assert (documents[-1].date or "") < (person.date or "")


def test_the_splits_share_no_user_and_leave_none_out() -> None:
    users = {split: {q.user_id for q in load_questions(f"world:users=60/{split}")} for split in SPLITS if split}

    assert {split: len(held) for split, held in users.items()} == {
        "train": 36,
        "validation": 6,
        "test": 12,
        "test_unseen": 6,
    }
    assert set.union(*users.values()) == {q.user_id for q in load_questions("world:users=60")}


def test_sizes_and_ids_are_known_before_anyone_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("somebody was made")

    monkeypatch.setattr("profilegym.world.data.dataset.make_user_questions", fail)
    world = load("world:users=2000,hops=2/test")

    assert len(world) == len(world.ids) == len(set(world.ids)) == 800


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_hops_keeps_two_questions_a_person(world: World, hops: int) -> None:
    some = load(f"world:seed=7,users=120,hops={hops}")

    assert [everything(q) for q in some] == [everything(q) for q in world if q.rubric.hops == hops]
    assert len(some) == 240
    assert some.ids == [q.id for q in some]


def test_a_question_is_found_by_its_id_and_survives_pickling(world: World) -> None:
    again = pickle.loads(pickle.dumps(world))

    for position in (0, 7, 719):
        assert everything(again.find(world.ids[position])) == everything(world[position])


@pytest.mark.parametrize(
    ("spec", "error", "named"),
    [
        ("world/tset", DataError, ["'tset'", "'test'"]),
        ("world:sed=3", OptionError, ["'sed'", "'seed'"]),
        ("world:users=many", OptionError, ["users=many"]),
        ("world:users=0", OptionError, ["users=0", 1]),
        ("world:docs=39", OptionError, ["docs=39", 40]),
        ("world:docs=1001", OptionError, ["docs=1001", 1000]),
        ("world:hops=3", OptionError, ["hops=3", 0, 1, 2]),
        ("world:hops=true", OptionError, ["hops=True"]),
        ("world:seed=-1", OptionError, ["seed=-1", 0]),
        ("world:users=7/test", OptionError, ["users=7", "'test'", 8]),
        ("world:7", OptionError, ["'7'", "users="]),
    ],
)
def test_a_wrong_spec_is_refused_with_what_would_work(spec: str, error: type[Exception], named: list[object]) -> None:
    with pytest.raises(error, match=naming(*named)):
        load_questions(spec)


@pytest.mark.parametrize("wrong", ["world-7-000017-6", "world-8-000017-1", "world-7-000120-1", "world-7-000016-1", "x"])
def test_an_id_that_is_not_in_the_set_is_an_error(wrong: str) -> None:
    with pytest.raises(DataError, match=naming(repr(wrong), "world-7-000007")):
        load("world:seed=7,users=120/test").find(wrong)


def test_lengths_are_those_of_a_person_who_writes(world: World) -> None:
    for question in world:
        assert 10 <= len(question.text.split()) <= 23
        assert 30 <= len(question.rubric.narrative.split()) <= 62
        assert 8 <= len((question.rubric.reference or "").split()) <= 25
        assert 2 <= len(question.rubric.aspects) <= 5
        assert all(8 <= len(d.text.split()) <= 25 for d in question.profile.documents)

    assert 10 <= sum(len(q.text.split()) for q in world) / len(world) <= 15


def test_a_small_tokenizer_can_know_every_word() -> None:
    seen, unseen = load_questions("world:users=300"), load_questions("world:users=2000,docs=40/test_unseen")

    words = distinct_words([*seen, *unseen])

    assert 1300 < len(words) < 1500


def test_training_never_shows_a_name_of_test_unseen(world: World) -> None:
    seen, unseen = set[str](), set[str]()

    for question in world:
        names = unseen if question.id[-3] == "9" else seen
        names.update(NAME.findall(" ".join([question.rubric.reference or "", *texts(question)])))

    assert len(seen) > 100
    assert len(unseen) > 10
    assert not any(map(is_unseen, seen))
    assert all(map(is_unseen, unseen))


def wordings(tables: Tables) -> set[str]:
    topics = [topic for domain in tables.domains for topic in domain.topics]
    kinds = [role.kind for role in tables.roles]
    topics += [topic for kind in kinds for topic in kind.topics]
    questions = (tables.leads, tables.tip_asks, tables.common_fact_asks)
    return {
        text
        for group in (
            *questions,
            *((k.says + k.frames) for k in kinds),
            *((t.asks + t.says + t.changes) for t in topics),
        )
        for text in group
    }


def test_training_never_shows_a_wording_of_test_unseen() -> None:
    seen, unseen = wordings(load_tables(False)), wordings(load_tables(True))

    assert not seen & unseen
    assert len(seen) > 250
    assert len(unseen) > 120


@pytest.mark.slow
def test_unseen_wordings_are_new_but_their_words_are_not() -> None:
    seen, unseen = load_questions("world:users=1000/train"), load_questions("world:users=2000/test_unseen")

    assert distinct_words(unseen) <= distinct_words(seen)


def test_names_are_no_words_and_look_different_to_a_stemmer(world: World) -> None:
    words = {word for unseen in (False, True) for word in load_tables(unseen).words}

    for person in people(world):
        names = {name for d in person.profile.documents for name in NAME.findall(d.text)}
        assert 5 <= len(names) <= 8
        assert not {name.lower() for name in names} & words
        assert all(analyze(name) == [name.lower()] for name in names)
        assert not any(a[:4] == b[:4] for a, b in combinations(names, 2))


def test_ids_and_order_tell_nothing_but_the_position(world: World) -> None:
    positions = []

    for question in world:
        ids = [d.id for d in question.profile.documents]
        assert ids == [f"d{i:03d}" for i in range(len(ids))]
        positions += [ids.index(document) / len(ids) for document in evidence(question)]

    assert Counter(int(4 * position) for position in positions).most_common()[-1][1] > len(positions) / 6


def test_each_person_has_two_questions_of_each_kind_in_mixed_order(world: World) -> None:
    orders = {tuple(q.rubric.hops for q in world[i : i + 6]) for i in range(0, len(world), 6)}

    assert {tuple(sorted(order, key=str)) for order in orders} == {(0, 0, 1, 1, 2, 2)}
    assert len(orders) > 40


def test_personal_aspects_rest_on_documents_that_hold_an_accepted_phrase(world: World) -> None:
    for question in world:
        for aspect in question.rubric.aspects:
            told = [question.profile.by_id[document].text for document in aspect.documents]
            assert all(any(phrase in text for phrase in aspect.accepted) for text in told)
            assert not set(aspect.accepted) & set(aspect.rejected)
        assert (question.rubric.hops == 0) == (not evidence(question))


def test_an_attribute_of_somebody_is_told_without_their_role(world: World) -> None:
    for question in (q for q in world if q.rubric.hops == 2):
        who, *others = question.rubric.aspects
        role = who.title.removeprefix("The name of my ")
        assert role in question.text
        assert role in who.evidence
        assert who.accepted[0] not in question.text
        for aspect in others:
            for document in aspect.documents:
                text = question.profile.by_id[document].text
                assert who.accepted[0] in text
                assert role not in text.split()


def test_outdated_values_stand_in_earlier_documents(world: World) -> None:
    changed = 0

    for question in (q for q in world if q.rubric.hops == 1):
        for aspect in (a for a in question.rubric.aspects if a.documents):
            current = question.profile.by_id[aspect.documents[0]]
            if any(f"{start} {old}" in current.text for old in aspect.rejected for start in ("No more", "gave up")):
                changed += 1
                old = [d for d in question.profile.documents if any(p in d.text for p in aspect.rejected)]
                assert any((d.date or "") < (current.date or "") for d in old)

    assert changed


def test_a_question_that_is_the_same_for_all_has_a_tempting_document(world: World) -> None:
    retriever, judge = make_retriever("bm25"), RubricJudge()

    for question in (q for q in world if q.rubric.hops == 0):
        best = retriever.search(question.profile, question.text, 1)[0].document
        quirks = [
            d
            for d in question.profile.documents
            if all(any(p in d.text for p in a.rejected) for a in question.rubric.aspects)
        ]
        assert quirks
        assert judge.verdict(question, best.text).score <= 0.5


def found(questions: list[Question], world: World | None) -> float:
    retriever = make_retriever("bm25")
    searched = [(q, world.gold_queries(q.id) if world else (q.text,)) for q in questions]
    return sum(evidence(q) <= shown(q, queries, retriever) for q, queries in searched) / len(searched)


@pytest.mark.parametrize("spec", ["world:seed=11,users=100", "world:seed=11,users=600/test_unseen"])
def test_the_plan_finds_the_evidence_and_the_question_alone_does_not(spec: str) -> None:
    world = load(spec)
    one, two = ([q for q in world if q.rubric.hops == hops] for hops in (1, 2))

    assert found(one + two, world) >= 0.97
    assert found(one, None) <= 0.55
    assert found(two, None) <= 0.15
    plans = [(world.gold_queries(q.id), q.rubric.hops) for q in world]
    assert all(len(queries) <= 3 and (not queries) == (hops == 0) for queries, hops in plans)


def test_no_document_gives_its_question_away(world: World) -> None:
    for question in world:
        assert not without_leaks(question).profile.left_out


def test_a_question_does_not_show_its_rubric(world: World) -> None:
    for question in world:
        assert question.rubric.narrative not in repr(question)
        assert question.rubric.narrative not in " ".join(d.text for d in question.profile.documents)


def test_the_world_writes_itself_as_lamp_qa(tmp_path: Path, world: World) -> None:
    write_lamp_qa(world[:12], tmp_path / "world.json")

    records: list[dict[str, Any]] = json.loads((tmp_path / "world.json").read_text("utf-8"))
    again = load_questions(f"lamp-qa:{tmp_path / 'world.json'}")

    assert [sorted(record) for record in records] == [["id", "narrative", "profile", "question", "rubric_aspects"]] * 12
    for question, same in zip(world[:12], again, strict=True):
        assert (question.id, question.text, question.profile.documents) == (same.id, same.text, same.profile.documents)
        assert question.rubric.narrative == same.rubric.narrative
        assert [a.title for a in question.rubric.aspects] == [a.title for a in same.rubric.aspects]


@pytest.mark.parametrize(
    "spec", ["world:users=33/test", "world:users=37,hops=1/validation", "world:users=25", "world-lamp-2:users=13/test"]
)
def test_a_user_s_first_question_is_found_by_the_user_s_id(spec: str) -> None:
    questions = load_questions(spec)
    firsts: dict[str, int] = {}
    for position, question in enumerate(questions):
        assert questions.user_of(position) == question.user_id
        firsts.setdefault(question.user_id, position)

    assert {user: questions.first_of(user) for user in firsts} == firsts
    name = next(iter(firsts)).rpartition("-")[0]
    absent = ["", "nobody", f"{name}-", f"{name}-999999", f"{name}-0000007", f"{name}-²", "world-1-000007"]
    assert [questions.first_of(user) for user in absent] == [None] * len(absent)


def test_a_world_of_a_million_users_is_not_held_in_memory() -> None:
    tracemalloc.start()
    questions = load_questions("world:users=1000000/test")
    found = questions.first_of("world-0-999988")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found is not None
    assert questions[found].user_id == "world-0-999988"
    assert len(questions) == 1_200_000
    assert peak < 1_000_000
