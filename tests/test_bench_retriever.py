"""Retrievers beside bm25 on a data set's evidence: the figures by hand, and every form in which they are shown."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import pytest
from matching import names, naming
from typer.testing import CliRunner

from profilegym import (
    Aspect,
    Document,
    Profile,
    Question,
    Rubric,
    load_questions,
    make_retriever,
    register_retriever,
    register_tool,
)
from profilegym.apps.bench_retriever import run
from profilegym.apps.cli import app
from profilegym.benchmarks.retriever import METRICS, Comparison, Figure, compare
from profilegym.benchmarks.tool_use import ToolUse
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.data.question_set import QuestionList
from profilegym.envs.retrieval.retriever import RETRIEVERS, BaseRetriever, Hit
from profilegym.envs.tools.toolset import TOOLS
from profilegym.errors import DataError, OptionError
from profilegym.rewards.search_metrics import Unit

WORDS = ("tea", "milk", "coffee", "water", "bread", "cheese", "soup")


class Backwards(BaseRetriever):
    """Finds all documents, the last one first."""

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        found = profile.documents[::-1][:k]
        return [Hit(document, -float(place)) for place, document in enumerate(found)]


@pytest.fixture(autouse=True)
def _backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RETRIEVERS, "_registered", {})
    monkeypatch.setattr(TOOLS, "_registered", {})
    register_retriever("backwards", Backwards)


def question(user: int, number: int, evidence: tuple[str, ...] = ("d00",), **changes: Any) -> Question:
    """Asks for one of 20 documents by its word; the evidence is the first document, or another one."""
    texts = [f"{WORDS[place % len(WORDS)]} number{place}" for place in range(20)]
    profile = Profile(f"u{user}", tuple(Document(f"d{place:02}", text) for place, text in enumerate(texts)))
    rubric = Rubric(aspects=(Aspect("Names it", documents=evidence),))
    asked = Question(f"u{user}-q{number}", profile.user_id, "number0", profile, rubric, "drinks")
    return replace(asked, **changes)


def figure_of(found: Comparison, spec: str, metric: str, category: str | None = None, by: Unit = "document") -> Figure:
    (row,) = (row for row in found.rows if (row.retriever, row.category, row.by) == (spec, category, by))
    return row.figures[METRICS.index(metric)]


def people(count: int = 6) -> list[Question]:
    """Each asks twice: for what `backwards` finds first, and for what it finds last."""
    return [
        question(user, number, (evidence,), text=text, category=category)
        for user in range(count)
        for number, (evidence, text, category) in enumerate([("d19", "number19", "late"), ("d00", "number0", "early")])
    ]


def test_the_figures_are_those_that_can_be_worked_out_by_hand() -> None:
    found = compare(["backwards"], QuestionList(people()))

    assert (found.questions, found.people, found.documents, found.without_evidence) == (12, 6, 120, 0)
    assert figure_of(found, "bm25", "recall@5").value.people.mean == 1
    assert figure_of(found, "bm25", "MRR").value.people.mean == 1
    assert figure_of(found, "backwards", "recall@15").value.people.mean == 0.5
    assert figure_of(found, "backwards", "recall@25").value.people.mean == 1
    assert figure_of(found, "backwards", "MRR").value.people.mean == pytest.approx((1 + 1 / 20) / 2)
    assert figure_of(found, "backwards", "nDCG@10", "late").value.people.mean == 1
    assert figure_of(found, "backwards", "nDCG@10", "early").value.people.mean == 0


def test_ndcg_counts_all_evidence_of_a_question() -> None:
    found = compare([], QuestionList([question(0, 0, ("d00", "d05"))]))

    ndcg = figure_of(found, "bm25", "nDCG@10").value.people.mean
    assert ndcg == pytest.approx(1 / (1 + 1 / log2(3)))


def talk(*evidence: str, sessions: tuple[str, ...] = (), number: int = 0) -> Question:
    """Twelve turns in sessions of three, `1:1` to `4:3`."""
    turns = tuple(Document(f"{s}:{t}", f"tea {s} {t}", session=str(s)) for s in range(1, 5) for t in range(1, 4))
    aspect = Aspect("Names it", documents=evidence, sessions=sessions)
    return Question(f"talk-q{number}", "u", "tea", Profile("u", turns), Rubric(aspects=(aspect,)))


def test_a_session_is_found_with_any_of_its_documents() -> None:
    found = compare(["backwards"], QuestionList([talk("4:1", "1:1", sessions=("4", "1"))]))

    def value(metric: str, by: Unit) -> float | None:
        return figure_of(found, "backwards", metric, by=by).value.people.mean

    # from the back: 4:3, 4:2, 4:1 … 1:1 is the twelfth; among the first ten are all sessions
    assert (value("recall@5", "document"), value("recall@5", "session")) == (1 / 2, 1 / 2)
    assert (value("recall@10", "document"), value("recall@10", "session")) == (1 / 2, 1)
    assert (value("precision@10", "document"), value("precision@10", "session")) == (1 / 10, 2 / 4)
    assert (value("MRR", "document"), value("MRR", "session")) == (1 / 3, 1)
    best = 1 + 1 / log2(3)
    assert value("nDCG@10", "document") == pytest.approx((1 / log2(4)) / best)
    assert value("nDCG@10", "session") == pytest.approx((1 + 1 / log2(5)) / best)


def test_evidence_that_is_known_by_session_alone_counts_there() -> None:
    found = compare([], QuestionList([talk("4:1"), talk(sessions=("4",), number=1), talk(number=2)]))

    assert (found.questions, found.without_evidence) == (2, 1)
    assert [(row.by, row.questions) for row in found.rows] == [("document", 1), ("session", 1)]


def test_differences_are_taken_question_by_question_over_people_and_over_questions() -> None:
    found = compare(["backwards"], QuestionList(people()))

    one = figure_of(found, "backwards", "recall@15").difference
    assert one is not None
    assert one.questions is not None
    assert (one.people.mean, one.people.people, one.people.n) == (-0.5, 6, 12)
    assert (one.people.low, one.people.high) == (-0.5, -0.5)  # each person's two questions differ alike
    assert one.questions.people == 12
    assert one.questions.low is not None
    assert one.questions.low < -0.5
    assert figure_of(found, "bm25", "recall@15").difference is None


def test_many_people_have_no_interval_over_questions() -> None:
    found = compare(["backwards"], QuestionList(people(40)))

    assert figure_of(found, "backwards", "MRR").value.questions is None


def test_questions_without_evidence_are_left_out_and_counted() -> None:
    questions = [*people(1), question(0, 9, ())]

    assert compare([], QuestionList(questions)).without_evidence == 1
    assert compare([], QuestionList(questions), limit=2).without_evidence == 0
    with pytest.raises(DataError, match=naming("the drinks")):
        compare([], QuestionList([question(0, 9, ())], "the drinks"))


def test_bm25_is_measured_once_and_first() -> None:
    found = compare(["backwards", "bm25", "backwards"], QuestionList(people(1)))

    assert list(found.costs) == ["bm25", "backwards"]
    assert [row.retriever for row in found.rows if row.category is None] == ["bm25", "backwards"]


def test_what_a_retriever_keeps_of_a_profile_is_its_size() -> None:
    found = compare(["bm25:context=2", "backwards"], QuestionList(people(20)))

    assert 0 <= found.costs["backwards"].index_bytes < 50
    assert 100 < found.costs["bm25"].index_bytes < found.costs["bm25:context=2"].index_bytes
    assert all(cost.search_ms_p95 >= cost.search_ms > 0 for cost in found.costs.values())


def test_progress_is_told_after_each_question() -> None:
    told: list[str] = []
    compare(["backwards"], QuestionList([*people(2), question(0, 9, ())]), advance=told.append)

    assert told == ["bm25"] * 5 + ["backwards"] * 5


def test_made_up_people_can_be_searched_too() -> None:
    found = compare(["random"], load_questions("world:users=20/test"))

    better, worse = (figure_of(found, spec, "recall@50").value.people.mean for spec in ("bm25", "random"))
    assert better is not None
    assert worse is not None
    assert better > worse > 0


@pytest.fixture
def data(tmp_path: Path) -> str:
    write_jsonl([*people(), question(7, 9, (), category="[b]none[/b]")], tmp_path / "mine.jsonl")
    return f"jsonl:{tmp_path}/mine.jsonl,leaks=none"


def test_the_terminal_shows_quality_intervals_categories_and_cost(
    data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run(["backwards"], data, None, "terminal", None)

    shown = capsys.readouterr().out
    for part in ("12 questions of 6 people", "1 question without", "-50.0", "[-50.0, -50.0]", "early", "52.5", "p95"):
        assert part in shown


def test_sessions_have_tables_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_jsonl([talk("4:1", sessions=("4",))], tmp_path / "talk.jsonl")
    run(["backwards"], f"jsonl:{tmp_path}/talk.jsonl", None, "terminal", None)

    shown = capsys.readouterr().out
    for part in ("Quality by document", "Quality by session", "backwards by session, with intervals"):
        assert part in shown


def test_json_holds_every_figure(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["backwards"], data, None, "json", None)

    found = json.loads(capsys.readouterr().out)
    assert [row["category"] for row in found["rows"]] == [None, None, "early", "early", "late", "late"]
    last = found["rows"][-1]["figures"]
    assert [figure["metric"] for figure in last] == list(METRICS)
    assert last[-1]["difference"]["people"]["mean"] == 0
    assert set(found["costs"]) == {"bm25", "backwards"}


def test_latex_escapes_what_it_shows(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    register_retriever("back_wards", Backwards)
    run(["back_wards"], data, None, "latex", None)

    shown = capsys.readouterr().out
    assert r"back\_wards & 50.0" in shown
    assert shown.count(r"\begin{tabular}") == shown.count(r"\bottomrule") == 5


def test_the_page_holds_the_same_tables(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["backwards"], data, 4, "json", tmp_path / "page.html")

    written = (tmp_path / "page.html").read_text("utf-8")
    assert written.count("<table") == 5
    assert "4 questions of 2 people" in written
    assert json.loads(capsys.readouterr().out)["questions"] == 4


@pytest.fixture
def call() -> Callable[..., Any]:
    return lambda *arguments: CliRunner().invoke(app, ["--quiet", "bench", "retriever", *arguments])


def test_the_command_takes_retrievers_and_data(call: Callable[..., Any], data: str) -> None:
    result = call("random:seed=1", "recency", "--data", data, "--json")

    assert result.exit_code == 0
    assert list(json.loads(result.stdout)["costs"]) == ["bm25", "random:seed=1", "recency"]


def test_two_forms_at_once_are_refused(call: Callable[..., Any], data: str) -> None:
    assert names(call("random", "--data", data, "--json", "--latex").exception, "--json", "--latex")


def story(number: int = 0) -> Question:
    """Thirty posts; the search finds every tenth, and the evidence stands beside one of these."""
    texts = ["tea" if place % 10 == 5 else f"word{place}" for place in range(30)]
    profile = Profile(f"u{number}", tuple(Document(f"d{place:02}", text) for place, text in enumerate(texts)))
    rubric = Rubric(aspects=(Aspect("Names it", documents=("d16",)),))
    return Question(f"u{number}-q", profile.user_id, "tea", profile, rubric)


def test_tools_are_measured_by_a_fixed_use_beside_one_search() -> None:
    tools = "search_profile+read_around"
    found = compare([], QuestionList([story()]), tools=tools)

    alone, together = (figure_of(found, name, "recall@15") for name in ("bm25", f"bm25, {tools}"))
    assert (alone.value.people.mean, together.value.people.mean) == (0, 1)
    assert together.difference is not None
    assert together.difference.people.mean == 1


def test_a_fixed_use_gives_the_question_to_searches_and_what_they_show_to_readers() -> None:
    def about(profile: Profile, topic: str) -> list[Document]:
        """Find posts about a topic."""
        return [one for one in profile.documents if one.id == "d20" and topic == "tea"]

    profile = story().profile
    register_tool("about", about)
    use = ToolUse("about+search_profile+read_around+latest", make_retriever("bm25"))

    shown = [hit.document.id for hit in use.search(profile, "tea", 30)]

    assert shown[:4] == ["d20", "d05", "d15", "d25"]  # of about and the search
    assert shown[4:7] == ["d29", "d28", "d27"]  # the latest
    assert shown[7:9] == ["d19", "d21"]  # around the first
    assert len(set(shown)) == len(shown)
    assert [hit.document.id for hit in use.search(profile, "tea", 5)] == shown[:5]
    assert use.search(Profile("nobody", ()), "tea", 5) == []


def test_a_tool_without_a_fixed_use_is_refused() -> None:
    def by_month(profile: Profile, month: int) -> list[Document]:
        """Read a month."""
        return []

    register_tool("by_month", by_month)
    for tools in ("search_profile+by_month", "search_profile"):
        with pytest.raises(OptionError, match=naming(tools.rpartition("+")[2])):
            ToolUse(tools, make_retriever("bm25"))


def test_the_command_takes_tools(tmp_path: Path) -> None:
    write_jsonl([story(number) for number in range(3)], tmp_path / "questions.jsonl")
    data, tools = f"jsonl:{tmp_path}/questions.jsonl", "search_profile+read_around"

    asked = CliRunner().invoke(app, ["bench", "retriever", "bm25", "--data", data, "--tools", tools, "--json"])

    found = json.loads(asked.stdout)
    assert found["tools"] == tools
    assert list(found["costs"]) == ["bm25", f"bm25, {tools}"]
