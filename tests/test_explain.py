"""`profilegym explain` shows what is known of a person, from a file or made on the spot."""

import json
from pathlib import Path

import pytest
from matching import naming

from profilegym.apps.explain import run_explain
from profilegym.errors import DataError, RetrievalError

USER = "world-lamp-3-0-000007"
DATA = "world-lamp-3:users=20/test"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def test_a_person_who_chooses_is_told_by_the_shares_of_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_explain(USER, tmp_path, DATA, "scripted:world")

    told = capsys.readouterr().out
    assert f"{USER}: 40 past texts, 6 factors\nread by scripted:world in 81 calls" in told
    assert all(factor in told for factor in ("(all)", "loud", "heavy", "small", "old", "pink", "price"))
    assert "which for this person leads to" in told


def test_a_person_who_writes_is_told_by_coverage_influence_and_polarity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_explain("world-lamp-5-0-000007", tmp_path, "world-lamp-5:users=20/test", "scripted:world")

    told = capsys.readouterr().out
    (place,) = [line for line in told.splitlines() if line.startswith(" place ")]
    assert all(head in told for head in ("coverage", "influence", "polarity"))
    assert "1.00 ██████████" in place


def test_what_is_there_needs_no_model_and_reads_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_explain(USER, tmp_path, DATA, "scripted:world", as_json=True)
    made = json.loads(capsys.readouterr().out)

    run_explain(USER, tmp_path, None, None, as_json=True)
    by_name = json.loads(capsys.readouterr().out)
    run_explain(USER, tmp_path, DATA, None, as_json=True)
    by_posts = json.loads(capsys.readouterr().out)

    assert made == by_name == by_posts
    assert made["models"][0]["user_id"] == USER


def test_who_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=naming(tmp_path, "nobody", "--data DATA --model MODEL")):
        run_explain("nobody", tmp_path, None, None)
    with pytest.raises(DataError, match=naming("nobody", DATA, "world-lamp-3-0-000007")):
        run_explain("nobody", tmp_path, DATA, None)
    with pytest.raises(RetrievalError, match=naming(tmp_path, USER, "profilegym explain")):
        run_explain(USER, tmp_path, DATA, None)
