"""Whether a run can be repeated."""

import json
from pathlib import Path
from typing import Any

import pytest
from matching import names, naming

from profilegym.apps.check import check_determinism
from profilegym.errors import ProfileGymError
from profilegym.evaluation.determinism import Repetition, RunFailed, compared, repeat
from profilegym.evaluation.evaluate import Settings

RECORD: dict[str, Any] = {
    "schema": 1,
    "id": "q1:pr2:0",
    "segments": [{"author": "policy", "text": "<answer>a long and winding answer about rooibos</answer>"}],
    "searches": [{"turn": 0, "query": "tea", "hits": [{"document": "d1", "score": 1.5}], "ms": 0.1}],
    "timing": {"seconds": 0.5},
}


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def changed(**fields: Any) -> dict[str, Any]:
    return {**RECORD, **fields}


def test_times_do_not_count(tmp_path: Path) -> None:
    later = changed(timing={"seconds": 9.0}, searches=[{**RECORD["searches"][0], "ms": 7.5}])

    found = compared(written(tmp_path / "a", RECORD), written(tmp_path / "b", later))

    assert found.difference is None
    assert found.ordered


def test_the_first_difference_is_named_by_its_place(tmp_path: Path) -> None:
    other = changed(segments=[{"author": "policy", "text": RECORD["segments"][0]["text"].replace("rooibos", "coffee")}])

    found = compared(written(tmp_path / "a", RECORD), written(tmp_path / "b", other)).difference

    assert found is not None
    assert (found.episode, found.place) == ("q1:pr2:0", "segments[0].text")
    assert "rooibos" in found.first
    assert "coffee" in found.second


@pytest.mark.parametrize(
    ("other", "place"),
    [
        ({"searches": []}, "searches[0]"),
        ({"searches": [{**RECORD["searches"][0], "hits": [{"document": "d1", "score": 1.5000000000000002}]}]},
         "searches[0].hits[0].score"),
        ({"id": "q2:pr2:0"}, "the record"),
        ({"usage": None}, "the record"),
    ],
)  # fmt: skip
def test_what_is_missing_or_off_by_a_last_digit_is_a_difference(
    other: dict[str, Any], place: str, tmp_path: Path
) -> None:
    found = compared(written(tmp_path / "a", RECORD), written(tmp_path / "b", changed(**other))).difference

    assert found is not None
    assert found.place == place


def test_episodes_that_fail_twice_are_no_repetition(tmp_path: Path) -> None:
    failed = changed(ended="error", error="the lights went out")

    with pytest.raises(RunFailed, match=naming("q1:pr2:0", "the lights went out")):
        compared(written(tmp_path / "a", failed), written(tmp_path / "b", failed))


def test_no_key_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("profilegym.evaluation.determinism.repeat", lambda settings: Repetition(2, None, True))

    check_determinism(Settings(model="openai:m,api_key=secret"))

    told = capsys.readouterr().out
    assert names(told, "openai:m")
    assert "secret" not in told


def test_another_order_is_told_apart_from_a_difference(tmp_path: Path) -> None:
    second = changed(id="q2:pr2:0")

    found = compared(written(tmp_path / "a", RECORD, second), written(tmp_path / "b", second, RECORD))

    assert found.difference is None
    assert not found.ordered


@pytest.mark.slow
def test_a_scripted_run_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(model="scripted:oracle", data="world:seed=7,users=20/test", judge="rubric", limit=6)

    assert check_determinism(settings) == 0
    assert names(capsys.readouterr().out, 12)


@pytest.mark.slow
def test_a_model_that_depends_on_the_order_of_sets_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "moody.py"
    plugin.write_text(
        "from profilegym.agents.models.scripted import ScriptedModel\n"
        "def make():\n"
        "    mood = ' '.join({f'word{n}' for n in range(20)})\n"
        "    return ScriptedModel('moody', lambda question, said: f'<answer>{mood}</answer>')\n"
    )
    settings = Settings(model=f"{plugin}:make", data="world:seed=7,users=20/test", judge="rubric", limit=2)

    assert check_determinism(settings, as_json=True) == 1
    difference = json.loads(capsys.readouterr().out)["difference"]
    assert difference["place"] == "segments[1].text"
    assert difference["first"] != difference["second"]


@pytest.mark.slow
def test_a_run_that_fails_says_why() -> None:
    with pytest.raises(ProfileGymError, match=naming("'nobody'", "oracle")):
        repeat(Settings(model="scripted:nobody", data="world:seed=7,users=20/test", limit=1))
