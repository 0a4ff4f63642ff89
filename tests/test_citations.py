"""Answers that name the documents they rest on, and what calls of tools cost."""

import json
import re
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from conftest import make_question
from matching import naming

from profilegym import (
    Answer,
    Aspect,
    Episode,
    Malformed,
    Profile,
    Question,
    Rubric,
    Trajectory,
    make_reward,
    parse_action,
)
from profilegym.agents.turn_format import answer_with, as_call, call_tool
from profilegym.apps.view.redaction import redacted
from profilegym.apps.view.steps import Citation, Hit, parts_of, steps_of
from profilegym.envs.batch_step import BatchStepper
from profilegym.envs.episode_options import checked_options
from profilegym.envs.retrieval import make_retriever
from profilegym.envs.reward import Reward, no_reward, rewards_of
from profilegym.errors import DataError, OptionError
from profilegym.evaluation.evaluate import Settings
from profilegym.evaluation.summary import figures
from profilegym.rewards.search_metrics import Cited, evidence_cited
from profilegym.training.recipe import Recipe
from profilegym.training.settings import check_settings, read_settings

SEVERAL = "search_profile+read_around+latest"


def question(*evidence: str) -> Question:
    """By one person with two posts, `u1-0` of rooibos and `u1-1` of a dog."""
    return replace(make_question(), rubric=Rubric("", (Aspect("a", documents=evidence),)))


def played(asked: Question, *turns: str, **options: Any) -> Episode:
    episode = Episode(asked, **checked_options(options))
    for turn in turns:
        BatchStepper(make_retriever("bm25"), no_reward).step_one(episode, turn)
    return episode


def reward_of(spec: str, episode: Episode) -> Reward:
    (reward,) = rewards_of(make_reward(spec)([episode]))
    return reward


@pytest.mark.parametrize(
    ("text", "cites"),
    [
        ('<answer cites="u1-0, u1-1">tea</answer>', ("u1-0", "u1-1")),
        ("< Answer  cites = 'u1-0' >tea</answer>", ("u1-0",)),
        ('<answer cites="">tea</answer>', ()),
        ('<answer cites=" , ,a,">tea</answer>', ("a",)),
        ("<answer>tea</answer>", ()),
    ],
)
def test_an_answer_names_documents_in_its_opening_tag(text: str, cites: tuple[str, ...]) -> None:
    assert parse_action(text, cites=True) == Answer("tea", cites)


@pytest.mark.parametrize(
    "text",
    [
        '<answer cites="a<b">tea</answer>',
        "<answer cites=a>tea</answer>",
        '<answer id="a">tea</answer>',
        "<answer cites>",
    ],
)
def test_another_attribute_is_no_answer(text: str) -> None:
    assert isinstance(parse_action(text, cites=True), Malformed)


def test_without_the_option_nothing_is_different() -> None:
    plain, off = Episode(question()), Episode(question(), **checked_options({"cites": False, "costs": None}))

    assert (off.observation, off.trajectory().prompt) == (plain.observation, plain.trajectory().prompt)
    assert isinstance(parse_action('<answer cites="a">tea</answer>'), Malformed)
    assert "cites" not in plain.trajectory().to_json()
    assert Trajectory.from_json(plain.trajectory().to_json()).cites is None


SEARCH, ANSWER = "<think>a</think><search>rooibos</search>", "<think>b</think>"


@pytest.mark.parametrize("options", [{}, {"tools": SEVERAL}])
def test_the_documents_are_shown_with_ids_and_the_named_ones_recorded(options: dict[str, Any]) -> None:
    answer = f'{ANSWER}<answer cites="u1-0, made up, u1-0, u1-1">tea</answer>'

    episode = played(question("u1-0"), SEARCH, answer, cites=True, **options)

    assert "(u1-0) [2024-01-01] I only drink rooibos." in episode.segments[2].text
    assert '<answer cites="id1, id2">' in episode.segments[0].text
    assert (episode.answer, episode.cites) == ("tea", ("u1-0", "made up", "u1-1"))
    record = episode.trajectory()
    assert Trajectory.from_json(record.to_json()).cites == ["u1-0", "made up", "u1-1"]
    assert record.structure_ok


@pytest.mark.parametrize("document_id", ["Smith, 2020", 'the "best" tea', "a>b <c>, 'd'"])
@pytest.mark.parametrize("protocol", ["tags", "tools"])
def test_any_id_can_be_cited(document_id: str, protocol: Any) -> None:
    asked = question()
    named = replace(asked.profile.documents[0], id=document_id)
    asked = replace(asked, profile=replace(asked.profile, documents=(named, *asked.profile.documents[1:])))
    searching = as_call("<search>rooibos</search>") if protocol == "tools" else SEARCH
    options = {"cites": True, "tools": SEVERAL, "protocol": protocol}

    episode = played(asked, searching, **options)
    (shown,) = re.findall(r"^1\. \((.*)\) \[2024", episode.segments[2].text, re.MULTILINE)
    around = played(asked, call_tool("read_around", {"id": shown}, protocol=protocol), **options)
    for cites in ([shown], [document_id]):
        again = played(asked, searching, answer_with("tea", "", protocol, cites), **options)
        assert again.cites == (document_id,)

    assert document_id in [name for name, _ in around.searches[0].hits]
    if protocol == "tags":
        assert played(asked, searching, f'<answer cites="{shown}">tea</answer>', **options).cites == (document_id,)


def test_native_calls_have_an_argument_for_it() -> None:
    search = as_call("<search>rooibos</search>")

    episode = played(question(), search, as_call(answer_with("tea", "", cites=["u1-0"])), cites=True, protocol="tools")

    assert episode.tools is not None
    assert "cites" in episode.tools.tools["answer"].by_name
    assert (episode.answer, episode.cites) == ("tea", ("u1-0",))


def test_a_baseline_cites_nothing() -> None:
    assert (
        Episode(question(), kind="baseline", cites=True).observation == Episode(question(), kind="baseline").observation
    )
    assert Episode(question(), kind="baseline", cites=True).cites is None


@pytest.mark.parametrize(
    ("evidence", "cites", "cited"),
    [
        (("u1-0",), "u1-0", Cited(1, 1, 1)),
        (("u1-0",), "u1-0, u1-9", Cited(0.5, 1, 2 / 3)),
        (("u1-0", "u1-1"), "u1-0", Cited(1, 0.5, 2 / 3)),
        (("u1-1",), "u1-1", Cited(0, 0, 0)),  # evidence, but no search showed it
        (("u1-0",), "", Cited(0, 0, 0)),
    ],
)
def test_citations_are_measured_against_the_evidence(evidence: tuple[str, ...], cites: str, cited: Cited) -> None:
    asked = question(*evidence)
    episode = played(asked, SEARCH, f'{ANSWER}<answer cites="{cites}">tea</answer>', cites=True, top_k=1)

    measured = dict(figures(episode.trajectory(), asked, {}))

    assert evidence_cited(asked, episode.cites or (), episode.searches) == cited
    assert [measured[f"cite_{name}"] for name in Cited._fields] == list(cited)
    for name, value in cited._asdict().items():
        assert reward_of(f"citations:{name}", episode) == Reward(value, {"citations": value})


def test_documents_with_long_ids_are_shown_by_short_ones_and_cited_by_them() -> None:
    asked = question()
    first, second = asked.profile.documents
    long = [replace(first, id="x" * 5_000), replace(second, id="x" * 4_999)]
    asked = replace(asked, profile=Profile("u1", tuple(long)))
    episode = Episode(asked, cites=True)
    step = BatchStepper(make_retriever("bm25"), no_reward).step_one

    step(episode, "<search>rooibos dog</search>")
    shown = re.findall(r"^(?:\d+\. )?\((x\S+)\)", episode.observation, re.MULTILINE)
    step(episode, f'{ANSWER}<answer cites="{shown[1]}">tea</answer>')

    assert len(episode.observation) < 1_000
    assert len(set(shown)) == 2
    assert max(map(len, shown)) <= 100
    assert episode.cites == (episode.searches[0].hits[1][0],)


def test_what_cannot_be_measured_is_unscored() -> None:
    without_evidence = reward_of("citations", played(question(), f"{ANSWER}<answer>tea</answer>", cites=True))
    not_asked = reward_of("citations", played(question("u1-0"), f"{ANSWER}<answer>tea</answer>"))

    assert without_evidence.total is None
    assert not_asked.total is None
    assert without_evidence.unscored != not_asked.unscored
    with pytest.raises(OptionError, match=naming("ndcg")):
        make_reward("citations:ndcg")


def test_the_documents_of_another_user_are_no_evidence() -> None:
    asked = question("u1-0")
    other = replace(asked, profile=replace(asked.profile, user_id="u2"))

    episode = played(other, SEARCH, f'{ANSWER}<answer cites="u1-0">tea</answer>', cites=True)

    assert reward_of("citations", episode).total == 0


def test_the_viewer_links_what_a_search_showed() -> None:
    answer = f'{ANSWER}<answer cites="u1-0, made up">tea</answer>'
    record = played(question(), SEARCH, answer, cites=True, top_k=1).trajectory()

    *_, result, answered = steps_of(record, {}, None)

    assert answered.cites == (Citation("u1-0", "hit-1-1"), Citation("made up", None))
    assert [part.kind for part in answered.parts] == ["think", "answer"]
    assert result.sought is not None
    (hit,) = result.sought.hits
    assert isinstance(hit, Hit)
    assert hit.anchor == "hit-1-1"


def test_withheld_words_are_not_in_the_citations_either() -> None:
    answer = f'{ANSWER}<answer cites="u1-0, I only drink rooibos.">tea</answer>'
    record = played(question(), SEARCH, answer, cites=True, top_k=1).trajectory()

    assert redacted(record, make_question().profile).cites == ("u1-0", "[withheld].")


def test_costs_are_told_and_taken_off() -> None:
    call = '<tool>{"name": "latest", "arguments": {"n": 1}}</tool>'
    options = {"tools": SEVERAL, "costs": "search_profile=0.01, latest=0.5"}

    episode = played(question(), SEARCH, call, call, "<answer>tea</answer>", **options)

    assert "search_profile 0.01, latest 0.5" in episode.segments[0].text
    assert reward_of("cost", episode).parts["calls"] == pytest.approx(-1.01)
    assert reward_of("cost:search=1", episode).total == pytest.approx(-4.01)
    assert "calls" not in reward_of("cost", played(question(), "<answer>tea</answer>")).parts


def test_one_search_tool_can_have_a_cost_too() -> None:
    episode = played(question(), SEARCH, "<answer>tea</answer>", costs={"search_profile": 0.25})

    assert "search_profile 0.25" in episode.segments[0].text
    assert reward_of("cost", episode).total == -0.25
    assert Episode(question(), kind="baseline", costs={"search_profile": 0.25}).costs == {}


@pytest.mark.parametrize(
    "costs", ["latest=0.1", "search_profile", "search_profile=-1", "search_profile=nan", "answer=1"]
)
def test_a_cost_of_nothing_that_is_offered_is_refused(costs: str) -> None:
    with pytest.raises(OptionError, match=naming(costs.partition("=")[0])):
        checked_options({"costs": costs})


def test_the_settings_of_a_run_name_both() -> None:
    settings = Settings(cites=True, costs="search_profile=0.1")

    assert settings.options["costs"] == {"search_profile": 0.1}
    assert settings.options["cites"] is True
    assert settings.arguments[-3:] == ["--cites", "--costs", "search_profile=0.1"]


@pytest.mark.alone
@pytest.mark.parametrize("piece", ["<answer cites=", '<answer cites="a', "<answer ", "cites='", ","])
def test_hostile_tags_take_no_time(piece: str) -> None:
    text = piece * 50_000 + "</answer>"
    start = perf_counter()

    episode = Episode(question(), cites=True)
    action = episode.write(text)
    list(parts_of(text))

    assert perf_counter() - start < 2
    assert isinstance(action, Malformed)
    assert episode.trajectory().structure_ok is None


def test_a_training_step_plays_with_both() -> None:
    costs = {"episode": {"cites": True, "costs": "search_profile=0.1"}}
    recipe = check_settings(Recipe, read_settings("pr2-world-smoke")[0] | costs, "test")

    played = recipe.playing("world", None)

    assert (played.cites, played.options["costs"]) == (True, {"search_profile": 0.1})


@pytest.mark.parametrize("change", [{"cites": 5}, {"turn_advantages": ["much"]}])
def test_a_line_with_another_kind_of_value_is_no_trajectory(change: dict[str, Any]) -> None:
    line = json.loads(played(question(), f"{ANSWER}<answer>tea</answer>", cites=True).trajectory().to_json())

    with pytest.raises(DataError):
        Trajectory.from_json(json.dumps(line | change))
