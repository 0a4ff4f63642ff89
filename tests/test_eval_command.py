"""`profilegym eval` as a person runs it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from matching import names
from typer.testing import CliRunner

from profilegym import Aspect, Document, Profile, Question, Rubric, TrajectoryReader
from profilegym.apps.cli import app, main
from profilegym.benchmarks.rollout_server import play
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.errors import OptionError
from profilegym.testing import PolicyServer

ORACLE = ("eval", "--model", "scripted:oracle", "--data", "world:seed=7,users=40/test", "--limit", "36", "--out")


def test_the_table_names_the_judge_beside_the_score_and_fits_80_columns(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*ORACLE, str(tmp_path / "run")], env={"COLUMNS": "80"})

    assert result.exit_code == 0, result.output
    assert "score, rubric     1.000 ≥0.610" in result.output
    assert "6 people" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    assert (tmp_path / "run" / "report.html").exists()


def test_the_cost_is_that_of_all_episodes_baselines_among_them(tmp_path: Path) -> None:
    with PolicyServer(play) as server:
        model = f"openai:player,base_url={server.url},api_key=none,form=chat,price_in=1000,price_out=1000"
        asked = ["eval", "--model", model, *ORACLE[3:5], "--limit", "2", "--out", str(tmp_path)]
        result = CliRunner().invoke(app, asked)

    spent = [(t.usage or {})["cost"] for t in TrajectoryReader(tmp_path / "trajectories.jsonl")]
    assert (len(spent), min(spent) > 0) == (4, True)
    assert f"cost: {sum(spent):.4g}\n" in result.output


def own_data(folder: Path) -> str:
    profile = Profile("ann", (Document("1", "I like rooibos best."),))
    aspect = Aspect("names the tea", accepted=("rooibos",))
    write_jsonl(
        [
            Question("q1", "ann", "Which tea do I like?", profile, Rubric(aspects=(aspect,), reference="Rooibos.")),
            Question("q2", "ann", "Which tea did I drink?", profile, Rubric(aspects=(aspect,), reference="Rooibos.")),
        ],
        folder / "mine.jsonl",
    )
    return f"jsonl:{folder / 'mine.jsonl'}"


@pytest.mark.parametrize(
    ("options", "shown", "score"),
    [
        (("--metric", "f1"), "score, f1", 1.0),
        (("--judge", "rubric"), "score, rubric", 1.0),
        (("--metric", "none"), "no reward function was given", None),
    ],
)
def test_data_of_ones_own_are_scored_by_what_is_named(
    options: Sequence[str], shown: str, score: float | None, tmp_path: Path
) -> None:
    with PolicyServer(lambda _: "<answer>Rooibos.</answer>") as server:
        model = f"openai:player,base_url={server.url},api_key=none"
        asked = ["eval", "--model", model, "--data", own_data(tmp_path), *options, "--out", str(tmp_path / "run")]
        result = CliRunner().invoke(app, asked)
        summary = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)

    assert result.exit_code == 0, result.output
    assert shown in result.output
    assert summary.get("score", {}).get("mean") == score
    assert (tmp_path / "run" / "report.html").exists()


def test_data_of_ones_own_ask_for_what_scores_them(tmp_path: Path) -> None:
    named = ["--judge", "rubric", "--metric", "f1"]
    asked = ["eval", "--data", own_data(tmp_path), "--out", str(tmp_path / "run")]

    unnamed, both = CliRunner().invoke(app, asked), CliRunner().invoke(app, [*asked, *named])

    assert isinstance(unnamed.exception, OptionError)
    assert names(unnamed.exception, "--judge rubric", "--metric f1", "--metric none")
    assert isinstance(both.exception, OptionError)


def test_episodes_that_failed_are_told_by_the_exit_code(tmp_path: Path) -> None:
    gone = "http:http://127.0.0.1:9/retrieve,retries=0"

    result = CliRunner().invoke(app, [*ORACLE, str(tmp_path / "run"), "--retriever", gone])

    assert result.exit_code == 1
    assert "score, rubric" in result.output  # of the questions that need no search
    assert "the same command plays them again" in result.output


def test_json_is_the_summary(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*ORACLE, str(tmp_path), "--json"])

    assert json.loads(result.stdout) == json.loads((tmp_path / "summary.json").read_text())


def test_where_nothing_was_scored_the_reasons_are_told_and_the_exit_is_1(tmp_path: Path) -> None:
    data = tmp_path / "own.jsonl"
    record = {
        "id": "q", "user_id": "u", "text": "Which tea?", "profile": [{"id": "d", "text": "I like rooibos."}],
        "rubric": {"narrative": "", "aspects": [{"title": "tea", "reason": "", "evidence": ""}]},
    }  # fmt: skip
    data.write_text(json.dumps(record))
    plain = ["eval", "--agent", "none", "--model", "tests.replies", "--data", f"jsonl:{data}", "--judge", "rubric"]
    plugin = tmp_path / "one_answer.py"
    plugin.write_text(
        "from profilegym.agents.models.scripted import Replies\n"
        "def make():\n    return Replies(['<answer>rooibos</answer>'])\n"
    )
    plain[4] = f"{plugin}:make"

    result = CliRunner().invoke(app, [*plain, "--out", str(tmp_path / "run")])

    assert result.exit_code == 1
    assert "1 episode unscored and in no mean" in result.output
    assert names(" ".join(result.output.split()), "rubric", "'q'", "openai:MODEL")


@pytest.mark.parametrize(
    "command",
    [["eval", "--model", "{model}", "--judge", "rubric", "--out", "{here}/run", "--data"], ["data", "show"],
     ["index", "--on", "local:1", "--out", "{here}/store"], ["bench", "retriever", "{here}/plain.py:make", "--data"]],
)  # fmt: skip
def test_what_looks_like_markup_is_printed_as_it_stands(command: list[str], tmp_path: Path) -> None:
    here = tmp_path / "a[/INST]"
    here.mkdir(parents=True)
    (here / "model.py").write_text(
        "from profilegym.agents.models.scripted import ScriptedModel\n"
        "def script(question, said):\n    raise RuntimeError('no [/INST] here')\n"
        "def make():\n    return ScriptedModel('broken', script)\n"
    )
    rubric = {"aspects": [{"title": "tea", "accepted": ["rooibos"], "documents": ["d"]}]}
    record = {"id": "q", "user_id": "u", "text": "Tea?", "profile": [{"id": "d", "text": "Rooibos."}], "rubric": rubric}
    (here / "own.jsonl").write_text(json.dumps(record))
    (here / "plain.py").write_text("import profilegym\ndef make():\n    return profilegym.make_retriever('bm25')\n")

    filled = [part.format(model=f"{here / 'model.py'}:make", here=here) for part in command]
    result = CliRunner().invoke(app, [*filled, f"jsonl:{here / 'own.jsonl'}"], env={"COLUMNS": "200"})

    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "[/INST]" in result.output


def test_episodes_that_failed_are_played_again_and_not_judged_again(tmp_path: Path) -> None:
    plugin = tmp_path / "gone.py"
    plugin.write_text(
        "from profilegym.errors import ModelError\n"
        "from profilegym.agents.models.scripted import Replies\n"
        "class Gone(Replies):\n"
        "    def open(self, question, seed):\n        raise ModelError('the lights went out')\n"
        "def make():\n    return Gone([])\n"
    )
    data = ["--data", "world:seed=7,users=20/test", "--limit", "2"]

    result = CliRunner().invoke(app, ["eval", "--model", f"{plugin}:make", *data, "--out", str(tmp_path / "run")])

    told = " ".join(result.output.split())
    assert result.exit_code == 1
    assert names(told, "2 episodes unscored", "the same command plays them again", "the lights went out")
    assert "rejudge" not in told


@pytest.mark.parametrize("named", [[], ["--model", "scripted:oracle"]])
def test_the_script_of_a_scripted_agent_plays_its_baseline_unless_a_model_is_named(
    named: list[str], tmp_path: Path
) -> None:
    asked = ["--agent", "scripted:searcher", "--tools", "search_profile+read_around", "--limit", "2"]
    data = ["--data", "world:seed=7,users=20/test", "--out", str(tmp_path)]

    result = CliRunner().invoke(app, ["eval", *asked, *named, *data])

    assert result.exit_code == 0, result.output
    baselines = [t for t in TrajectoryReader(tmp_path / "trajectories.jsonl") if t.kind == "baseline"]
    assert [t.model for t in baselines] == [named[-1] if named else "scripted:searcher"] * 2
    assert [t.ended for t in baselines] == ["answered"] * 2
    assert all((t.answer == "I do not know.") is not bool(named) for t in baselines)


@pytest.mark.parametrize(
    ("name", "told"),
    [("file", "is a file, or would lie in one"), ("file/in", "name a folder"), ("n" * 300, "name too long")],
)
def test_a_path_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["profilegym", *ORACLE, str(tmp_path / name)])

    with pytest.raises(SystemExit) as ended:
        main()

    assert str(ended.value).startswith(f"profilegym: {tmp_path / name}")
    assert told in str(ended.value)
    assert "Traceback" not in capsys.readouterr().err
