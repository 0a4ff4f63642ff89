"""A retriever of one's own, found by each of the ways in."""

import sys
from pathlib import Path

import pytest
from matching import naming

from profilegym import Document, Profile, Retriever, load_questions, make_retriever, register_retriever
from profilegym.envs.retrieval.retriever import RETRIEVERS
from profilegym.errors import OptionError, UnknownName

PROFILE = Profile("ann", (Document("1", "green tea"),))
SOURCE = """
from profilegym.envs.retrieval import Hit, BaseRetriever

class First(BaseRetriever):
    def __init__(self, label="", score=1.0):
        self.label, self.score = label, score

    def search(self, profile, query, k):
        return [Hit(document, self.score) for document in profile.documents[:k]]

class Shy:
    def __init__(self):
        raise TypeError("made inside")
"""


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RETRIEVERS, "_registered", {})


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `firstfinder.search` that can be imported, and its file."""
    package = tmp_path / "firstfinder"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "search.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return package / "search.py"


def score_of(retriever: Retriever) -> float:
    return retriever.search(PROFILE, "tea", 1)[0].score


def test_by_module_path(plugin: Path) -> None:
    retriever = make_retriever("firstfinder.search:First")

    assert retriever.search(PROFILE, "tea", 1)[0].document.id == "1"


def test_by_a_module_without_a_dot(plugin: Path) -> None:
    (plugin.parent.parent / "undotted_finder.py").write_text(SOURCE)

    assert score_of(make_retriever("undotted_finder:First,score=0.5")) == 0.5


def test_by_a_module_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "finder_beside_me.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    assert vars(make_retriever("finder_beside_me:First,here"))["label"] == "here"


def test_a_name_that_is_built_in_hides_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recency.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)

    assert type(make_retriever("recency")).__module__ == "profilegym.envs.retrieval.recency"


def test_by_file_path_with_an_argument_and_options(plugin: Path) -> None:
    retriever = make_retriever(f"{plugin}:First,mine,score=0.25")

    assert vars(retriever)["label"] == "mine"
    assert score_of(retriever) == 0.25


def test_by_the_name_it_was_registered_under(plugin: Path) -> None:
    from firstfinder.search import First  # type: ignore[import-not-found]

    register_retriever("first", First)

    assert score_of(make_retriever("first:mine,score=0.5")) == 0.5


def test_by_entry_point_of_an_installed_distribution(plugin: Path) -> None:
    metadata = plugin.parent.parent / "firstfinder-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: firstfinder\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[profilegym.retrievers]\nfirst-found = firstfinder.search:First\n")

    assert score_of(make_retriever("first-found:score=2")) == 2
    assert "first-found" in RETRIEVERS.names()


def test_an_object_is_its_own_retriever() -> None:
    retriever = make_retriever("recency")

    assert make_retriever(retriever) is retriever


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("nosuch", ["'nosuch'", "bm25", "dense", "package.module:factory"]),
        ("no/such/file.py:make", ["'no/such/file.py:make'", "'no/such/file.py'"]),
        ("no.such.module:make", ["'no.such.module:make'", "No module named 'no'"]),
        ("firstfinder.search:Second", ["'firstfinder.search:Second'", "no attribute 'Second'"]),
        ("bm52:k1=1", ["'bm52:k1=1'", "bm25", "dense"]),
        ("firstfinder:k1=1", ["'firstfinder:k1=1'", "no attribute 'k1=1'", "bm25", "dense"]),
    ],
)
def test_a_plugin_that_is_not_there_is_named(plugin: Path, spec: str, named: list[str]) -> None:
    with pytest.raises(UnknownName, match=naming(*named)):
        make_retriever(spec)


def test_an_option_that_the_factory_lacks_is_named(plugin: Path) -> None:
    with pytest.raises(
        OptionError, match=naming("'firstfinder.search:First,speed=9'", "'speed'", "known: label, score")
    ):
        make_retriever("firstfinder.search:First,speed=9")


def test_a_text_in_the_place_of_a_number_is_refused() -> None:
    with pytest.raises(OptionError, match=naming("bm25", "k1='abc'", "a number")):
        make_retriever("bm25:k1=abc")


def test_what_a_factory_makes_must_be_a_retriever(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Bad: pass")

    with pytest.raises(OptionError, match=naming("mine.py:Bad", "no retriever", "search_many")):
        make_retriever(f"{tmp_path / 'mine.py'}:Bad")


@pytest.mark.parametrize(("spec", "meant"), [("bm52", "'bm25'"), ("mine/own.py", "mine/own.py:FACTORY")])
def test_a_name_that_is_nearly_right_is_told_what_may_be_meant(spec: str, meant: str) -> None:
    with pytest.raises(UnknownName, match=naming(repr(spec), meant)):
        make_retriever(spec)


def test_a_file_is_told_its_loader() -> None:
    with pytest.raises(UnknownName, match=naming("write jsonl:mine.jsonl")):
        load_questions("mine.jsonl")


def test_an_error_inside_the_factory_is_not_mistaken_for_a_bad_option(plugin: Path) -> None:
    with pytest.raises(TypeError, match="made inside"):
        make_retriever("firstfinder.search:Shy")


@pytest.mark.parametrize("name", ["", "my:own", "2nd", "a b"])
def test_a_name_that_no_spec_could_hold_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=naming(repr(name))):
        register_retriever(name, lambda: make_retriever("recency"))
