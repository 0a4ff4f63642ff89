"""The rollout benchmark has TRL play our episodes, and its targets can fail."""

import json
from typing import Any

import pytest
from matching import naming

pytest.importorskip("trl", reason="the train extra is not installed")

import torch

from profilegym import load_questions, make_retriever, make_reward
from profilegym.agents.models.hf import HFModel
from profilegym.agents.models.model import make_model
from profilegym.benchmarks import rollout, rollout_endpoint
from profilegym.benchmarks.rollout import targets
from profilegym.benchmarks.rollout_trl import TRLLoop
from profilegym.errors import OptionError

torch.set_num_threads(1)
NAMES = ["profilegym", "TRL"]


def test_in_trls_loop_a_question_is_asked_searched_and_answered_as_in_ours() -> None:
    questions = list(load_questions("world:seed=7,users=20/test"))[:12]
    local = make_model("pilot")
    assert isinstance(local, HFModel)
    loop = TRLLoop(local, questions, make_retriever("bm25"), make_reward("rubric"))

    played = loop.batch(loop.rows)

    episodes = [environment.episode for environment in loop.trainer.environments]
    assert sum(len(episode.searches) for episode in episodes) > 0
    for number, episode in enumerate(episodes):
        said = [segment.text for segment in episode.segments if segment.author == "environment"]
        prompt, text = (
            local.tokenizer.decode(played[f"{part}_ids"][number][played[f"{part}_mask"][number].bool()])
            for part in ("prompt", "completion")
        )
        assert prompt == said[0]
        assert all(text.count(told) == 1 for told in said[1:])
        assert episode.answer is None or f"<answer>{episode.answer}</answer>" in text
    assert len(loop.scores) == 12


def test_a_claim_holds_at_its_bound_and_not_below_it() -> None:
    def broken(ours: float, early: float, late: float, same: int = 64) -> list[str]:
        rates = {"profilegym": [ours] * 3, "TRL": [1000.0] * 3}
        found = {"peers": {"rates": rates}, "memory": {"1000": early, "10000": late}, "alone": {"same": same}}
        return [target.name for target in targets(found) if not target.holds]

    assert broken(2000.0, 100.0, 105.0) == []
    assert broken(1999.0, 100.0, 100.0) == ["over TRL"]
    assert broken(2000.0, 100.0, 106.0) == ["memory after 10,000 episodes over after 1,000"]
    assert broken(2000.0, 100.0, 100.0, 63) == ["episodes that are the same when played alone"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure from a moment, and those of the endpoint from a script."""
    sizes: dict[str, Any] = {"QUESTIONS": 4, "EPISODES": 8, "ROUNDS": 1, "EARLY": 8, "LATE": 16}
    sizes |= {"ALONE": 4, "TALKS": 2, "SAID": 6}
    for name, value in {**sizes, "OBSERVATIONS": (5,)}.items():
        monkeypatch.setattr(rollout, name, value)
    monkeypatch.setattr(rollout_endpoint, "measure", lambda: {"over_bare": 0.9, "through_an_outage": {"lost": 0}})
    monkeypatch.setitem(rollout.REPORTS, "endpoint", lambda result, console: console.print("the endpoint's part"))


def test_the_report_is_one_json_object_with_all_parts(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    rollout.main(as_json=True)

    report = json.loads(capsys.readouterr().out)
    assert list(report) == [*rollout.PARTS, "claims"]
    assert list(report["peers"]["rates"]) == list(report["peers"]["scores"]) == NAMES
    assert all(len(rates) == 1 and rates[0] > 0 for rates in report["peers"]["rates"].values())
    assert set(report["reading"]["5"]) == {"in one go", "token by token"}
    assert report["alone"] == {"episodes": 4, "same": 4}
    assert list(report["memory"]) == ["8", "16"]
    assert len(report["claims"]) == 6
    assert all(target["name"] and "holds" in target for target in report["claims"])


def test_a_part_is_measured_by_itself(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    rollout.main(as_json=True, parts=["memory"])

    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["memory", "claims"]
    assert [target["name"] for target in report["claims"]] == ["memory after 16 episodes over after 8"]


def test_a_part_that_is_not_there_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(OptionError, match=naming("peer", "peers", "memory", "reading")):
        rollout.main(as_json=True, parts=["memory", "peer"])


def test_the_report_shows_each_figure_and_claim(
    monkeypatch: pytest.MonkeyPatch, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rollout, "measure", lambda parts: RESULT)

    rollout.main(as_json=False)

    shown = capsys.readouterr().out
    for figure in ("4,000", "0.512", "60 tokens", "3 of 4 ", "700 MB after 1,000", "✓ over TRL", "the endpoint's part"):
        assert figure in shown


RESULT = {
    "memory": {"1000": 700.0, "10000": 701.0},
    "peers": {"rates": {"profilegym": [4000.0], "TRL": [2000.0]}, "scores": {"profilegym": 0.512, "TRL": 0.511}},
    "reading": {"60": {"in one go": 4000.0, "token by token": 2000.0}},
    "alone": {"episodes": 4, "same": 3},
    "endpoint": {"over_bare": 0.9, "through_an_outage": {"lost": 0}},
}
