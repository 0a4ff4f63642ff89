"""Data of one's own, by a factory in a file or in a module."""

from pathlib import Path

import gymnasium as gym
import pytest
from matching import naming

import profilegym
from profilegym import Document, Profile, Question, load_questions
from profilegym.apps.view.questions import Questions
from profilegym.envs.data import QuestionSet
from profilegym.envs.data.loading import DATA_SETS, is_known
from profilegym.errors import DataError, OptionError, UnknownName

SOURCE = """
from profilegym import Document, Profile, Question, QuestionList, load_questions

def listed(user="ann", number=2):
    profile = Profile(user, (Document("1", "What do I drink?"), Document("2", "Rooibos.")))
    return [Question(f"q{place}", user, "What do I drink?", profile) for place in range(number)]

def lazily():
    yield from listed()

def unnamed():
    return QuestionList(listed())

def worldly(users=1):
    return load_questions(f"world:users={users}")

def numbered():
    return [Question("q", 7, "Tea?", Profile(7, (Document("1", "Rooibos."),)))]

def text():
    return "world"

def nothing():
    return None
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data_of_mine.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return path


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DATA_SETS, "_registered", {})
    profile = Profile("ann", (Document("1", "Rooibos."),))
    profilegym.register_data("ready", lambda name, rest: [Question(rest, name, "Tea?", profile)])


@pytest.mark.parametrize("factory", ["listed", "lazily", "unnamed"])
def test_a_factory_in_a_file_gives_questions_under_the_name_of_its_spec(file: Path, factory: str) -> None:
    questions = load_questions(f"{file}:{factory}")

    assert isinstance(questions, QuestionSet)
    assert questions.spec == f"{file}:{factory}"
    assert [question.id for question in questions] == ["q0", "q1"]


@pytest.mark.parametrize("module", ["data_of_mine", "{file}"])
def test_what_follows_a_factory_is_its_argument_and_options(file: Path, module: str) -> None:
    questions = load_questions(f"{module.format(file=file)}:listed,bo,number=3")

    assert [question.user_id for question in questions] == ["bo"] * 3


def test_a_set_of_another_name_is_known_by_the_spec_that_made_it(file: Path) -> None:
    spec = f"{file}:worldly,users=2"

    assert load_questions(spec).spec == spec
    assert list(load_questions(spec)) == list(load_questions("world:users=2"))


def test_an_environment_is_made_of_what_a_factory_or_a_loader_lists(file: Path, registered: None) -> None:
    for data in (f"{file}:listed", "ready:q7"):
        env = gym.make("profilegym/ProfileQA-v0", data=data, reward="none")
        env.reset(seed=1)
        env.close()


def test_leaks_are_looked_for_where_the_spec_says_so(file: Path) -> None:
    whole, screened = load_questions(f"{file}:listed"), load_questions(f"{file}:listed,bo,leaks=question")

    assert len(whole[0].profile) == 2
    assert screened.find("q1").profile.left_out == screened[0].profile.left_out == {"same question": 1}
    assert screened[0].user_id == "bo"
    assert screened.spec == f"{file}:listed,bo,leaks=question"


@pytest.mark.parametrize(
    ("spec", "error", "named"),
    [
        ("{file}:other", UnknownName, ["no attribute 'other'"]),
        ("{file}.py:listed", UnknownName, ["data_of_mine.py.py'"]),
        ("no.such.module:listed", UnknownName, ["No module named 'no'"]),
        ("nosuchmodule:listed", UnknownName, ["'nosuchmodule:listed'", "jsonl", "lamp-1"]),
        ("wrold/test", UnknownName, ["'wrold/test'", "jsonl", "lamp-1"]),
        ("{file}:listed,size=2", OptionError, ["'size'"]),
        ("{file}:text", DataError, ["'world'"]),
        ("{file}:numbered", DataError, ["the id of a user is 7", "text"]),
        ("{file}:nothing", DataError, ["'None'"]),
    ],
)
def test_what_cannot_be_loaded_is_named(file: Path, spec: str, error: type[Exception], named: list[str]) -> None:
    with pytest.raises(error, match=naming(*named)):
        load_questions(spec.format(file=file))


def test_the_viewer_runs_no_code_that_a_file_names(file: Path) -> None:
    file.write_text("raise SystemExit")

    for spec in (f"{file}:listed", "data_of_mine:listed", f"{file}:listed,leaks=none"):
        assert not is_known(spec)
        with pytest.raises(DataError):
            Questions(spec).load(spec)
    assert is_known("world/test")
    assert len(Questions("world").load("world:users=1")) == 6
