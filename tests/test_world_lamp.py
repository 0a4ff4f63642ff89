"""LaMP's tasks of the world: the same records from the spec and from the files, and habits that only a past shows."""

import json
import pickle
import re
from hashlib import blake2b
from pathlib import Path

import pytest
from matching import naming

from profilegym import load_questions
from profilegym.errors import DataError, OptionError
from profilegym.evaluation.evaluate import default_reward
from profilegym.studies.world_lamp import run
from profilegym.world.data import WorldLamp, write_lamp
from profilegym.world.data.lamp_habits import TASKS
from profilegym.world.data.tables import load_tables

# A change of this value changes every published number: say so in the changelog under its own heading.
# A new field of a document or a rubric changes it alone: without that field's text the earlier value must come out.
BYTES_OF_SEED_7 = "ee532fa5c390a739f85159b13aa37866"
NAMES = sorted(TASKS)


def load(spec: str) -> WorldLamp:
    questions = load_questions(spec)
    assert isinstance(questions, WorldLamp)
    return questions


def everything(questions: WorldLamp) -> list[str]:
    return [repr((question, question.rubric, question.profile)) for question in questions]


def test_the_same_spec_gives_the_same_bytes() -> None:
    hashed = blake2b(digest_size=16)

    for name in NAMES:
        for text in everything(load(f"{name}:seed=7,users=20")):
            hashed.update(text.encode())

    assert hashed.hexdigest() == BYTES_OF_SEED_7


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_lamps_own_form_and_reads_back_the_same(name: str, tmp_path: Path) -> None:
    questions = load(f"{name}:seed=7,users=20/dev")

    write_lamp(questions, tmp_path)
    again = load_questions(f"{name.removeprefix('world-')}:{tmp_path}/dev")

    assert [repr((q, q.rubric, q.profile)) for q in again] == everything(questions)
    (record, *_) = json.loads((tmp_path / "dev_questions.json").read_text("utf-8"))
    outputs = json.loads((tmp_path / "dev_outputs.json").read_text("utf-8"))
    assert set(record) == {"id", "input", "profile", "user_id", "date"}
    assert set(record["profile"][0]) == {"id", "date", TASKS[name].text_field, TASKS[name].output_field}
    assert outputs["task"] == name.replace("world-lamp-", "LaMP_")
    assert set(outputs["golds"][0]) == {"id", "output"}


def test_a_whole_world_has_no_file_names() -> None:
    with pytest.raises(DataError, match=naming("world-lamp-3:users=20/test")):
        write_lamp(load("world-lamp-3:users=20"), "anywhere")


@pytest.mark.parametrize("name", NAMES)
def test_a_person_asks_four_times_over_one_past(name: str) -> None:
    questions = load(f"{name}:users=20/test")

    for first in range(0, len(questions), 4):
        asked = questions[first : first + 4]
        assert len({question.user_id for question in asked}) == 1
        assert len({question.profile.digest for question in asked}) == 1
        assert len(asked[0].profile) == 40


@pytest.mark.parametrize("name", NAMES)
def test_hardly_a_past_gives_its_question_away(name: str) -> None:
    questions = load(f"{name}:seed=7,users=200")

    assert sum(len(question.profile) < 40 for question in questions) < 0.02 * len(questions)


def test_people_differ_by_split_and_stay_the_same_for_any_number_of_users() -> None:
    splits = {name: load(f"world-lamp-2:users=30/{name}") for name in ("train", "dev", "test")}
    users = {name: {question.user_id for question in questions} for name, questions in splits.items()}

    assert {name: len(of) for name, of in users.items()} == {"train": 18, "dev": 3, "test": 9}
    assert len(set.union(*users.values())) == 30
    assert everything(load("world-lamp-2:users=300/dev"))[:12] == everything(splits["dev"])


def test_only_words_of_the_world_are_used() -> None:
    world = load_tables(False)
    known = world.words | set(re.findall(r"[a-z]+", " ".join(role.word for role in world.roles)))

    for name in NAMES:
        tables = TASKS[name].task_tables
        texts = [*tables.frames, *tables.styles, *tables.things, *tables.roles]
        texts += [text for subject in tables.subjects for text in (*subject.says, *subject.things)]
        words = set(re.findall(r"[a-z']+", re.sub(r"\{\w+\}", "", " ".join(texts)).lower()))
        assert words <= known


@pytest.mark.slow
def test_the_own_past_tells_far_more_than_everybody_elses_and_a_strangers_misleads() -> None:
    pytest.importorskip("rouge_score")
    numbers = run("seed=7,users=100/test")

    for name, gap in (("world-lamp-2", 0.5), ("world-lamp-3", 0.7), ("world-lamp-5", 0.9)):
        scores = numbers[name]
        assert scores["the own past"] > scores["no past, but everybody else's"] + gap
        assert scores["no past, but everybody else's"] > scores["another person's past"] + 0.05
        assert scores["the own past"] > scores["the best hit of bm25, copied"] + 0.4


def test_the_tasks_are_scored_as_lamps_own() -> None:
    rewards = {name: default_reward(f"{name}:seed=7/test") for name in NAMES}

    assert rewards == {"world-lamp-2": "match", "world-lamp-3": "mae", "world-lamp-5": "rouge"}


def test_a_set_goes_to_another_process() -> None:
    questions = load("world-lamp-5:users=20/dev")

    assert everything(pickle.loads(pickle.dumps(questions))) == everything(questions)


@pytest.mark.parametrize(
    ("spec", "error", "named"),
    [
        ("world-lamp-3/tset", DataError, ["'tset'", "'test'", "train", "dev"]),
        ("world-lamp-3:docs=9", OptionError, ["'docs'", "seed", "users"]),
        ("world-lamp-3:users=0", OptionError, ["users=0", 1]),
        ("world-lamp-3:users=7/test", OptionError, ["users=7", "'test'", 8]),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec: str, error: type[Exception], named: list[object]) -> None:
    with pytest.raises(error, match=naming(*named)):
        load_questions(spec)
