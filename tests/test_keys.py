"""An API key in a spec reaches no file, and what is made of a run again takes its key from the environment."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from matching import names, naming
from typer.testing import CliRunner

import profilegym as pg
from profilegym._util.keys import hidden, without_keys
from profilegym.apps.check import check_determinism
from profilegym.apps.cli import app
from profilegym.benchmarks.retriever import rows_of
from profilegym.envs.tools.toolset import tools_of
from profilegym.errors import OptionError
from profilegym.evaluation.determinism import Repetition
from profilegym.evaluation.evaluate import Settings
from profilegym.evaluation.rejudge import rejudge
from profilegym.evaluation.run import RunDirectory
from profilegym.testing import JudgeServer

KEY = "sk-very-secret"
EVAL = ("eval", "--model", "scripted:oracle", "--data", "world:seed=7,users=20/test", "--limit", "2")


@pytest.fixture(autouse=True)
def _no_key_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("openai:m,api_key=sk-1,temperature=0", "openai:m,api_key=[key],temperature=0"),
        ("openai:m,base_url=http://127.0.0.1:8000/v1", "openai:m,base_url=http://127.0.0.1:8000/v1"),
        ("vllm:http://me:sk-1@a:1|http://b:2", "vllm:http://[key]@a:1|http://b:2"),
        (
            "mcp:env SEARCH_API_KEY=sk-1 search --api-key sk-2 --fast",
            "mcp:env SEARCH_API_KEY=[key] search --api-key [key] --fast",
        ),
        ("{'api_key': 'sk-1', 'n': 2}", "{'api_key': '[key]', 'n': 2}"),
        ("api_key=[key]", "api_key=[key]"),
        ('mcp:search --api-key "sk 1" --fast', 'mcp:search --api-key "[key]" --fast'),
        ("mcp:env SEARCH_API_KEY='sk 1' search", "mcp:env SEARCH_API_KEY='[key]' search"),
        ('{"api_key": "s\\"k", "n": 2}', '{"api_key": "[key]", "n": 2}'),
        ("http://me:s@k@h/x and me@home", "http://[key]@h/x and me@home"),
        ("vllm:http://me:s'k,1@h|http://b", "vllm:http://[key]@h|http://b"),
    ],
)
def test_keys_are_hidden_and_nothing_else_is(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_settings_lose_the_option_of_a_spec_wherever_it_stands() -> None:
    settings = {"judge": "openai:m,api_key=sk-1,cut=none", "seeds": 2, "tests": [{"model": "vllm:http://a,api_key=x"}]}

    assert without_keys(settings) == {"judge": "openai:m,cut=none", "seeds": 2, "tests": [{"model": "vllm:http://a"}]}


def test_no_file_of_an_evaluation_holds_the_key_and_the_same_command_resumes_it(tmp_path: Path) -> None:
    with JudgeServer() as server:
        spec = f"openai:m,base_url={server.url}"
        first = CliRunner().invoke(app, [*EVAL, "--judge", f"{spec},api_key={KEY}", "--out", str(tmp_path)])
        again = CliRunner().invoke(app, [*EVAL, "--judge", f"{spec},api_key=another", "--out", str(tmp_path)])

    assert (first.exit_code, again.exit_code) == (0, 0), again.output
    assert KEY not in first.output
    assert [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()] == []
    assert RunDirectory(tmp_path).settings["judge"] == spec


def test_a_run_that_kept_its_key_is_resumed_and_sums_up_without_it(tmp_path: Path) -> None:
    with JudgeServer() as server:
        command = [*EVAL, "--judge", f"openai:m,base_url={server.url},api_key={KEY}", "--out", str(tmp_path)]
        CliRunner().invoke(app, command)
        recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
        recipe["settings"]["judge"] = command[-3]
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        again = CliRunner().invoke(app, command)

    assert again.exit_code == 0, again.output
    assert KEY not in (tmp_path / "summary.json").read_text() + (tmp_path / "report.html").read_text()


def test_a_run_is_judged_again_with_the_key_named_again_or_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JudgeServer(verdict="I cannot say") as server:
        spec = f"openai:m,base_url={server.url},max_replies=1"
        CliRunner().invoke(app, [*EVAL, "--judge", f"{spec},api_key={KEY}", "--out", str(tmp_path)])
        run = RunDirectory(tmp_path)

        with pytest.raises(OptionError, match=naming("api_key", "OPENAI_API_KEY")):
            asyncio.run(rejudge(run))
        assert asyncio.run(rejudge(run, f"{spec},api_key={KEY}")).own
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert asyncio.run(rejudge(run)).own
        assert asyncio.run(rejudge(run, f"{spec},api_key={KEY},cache={tmp_path / 'judge.sqlite'}")).own


def test_a_spec_whose_key_was_hidden_is_refused_until_it_is_named_again() -> None:
    with pytest.raises(OptionError, match=naming("[key]", "name it again")):
        pg.make_retriever("http:http://[key]@127.0.0.1:1/retrieve")


def test_no_error_of_a_spec_holds_its_key() -> None:
    with pytest.raises(OptionError) as unknown:
        pg.make_judge(f"rubric:api_key={KEY}")
    with pytest.raises(LookupError) as nobody:
        pg.make_judge(f"rubrik,api_key={KEY}")

    assert KEY not in f"{unknown.value} {nobody.value}"
    assert names(unknown.value, "api_key")


def test_the_record_of_a_failed_episode_holds_no_key() -> None:
    episode = pg.Episode(pg.load_questions("world:users=20/test")[0], data=f"mine.py:load,api_key={KEY}")
    episode.fail(f"ToolError: the MCP server 'search --api-key {KEY}' went away")

    assert KEY not in episode.trajectory().to_json()
    assert re.search("search --api-key .key.' went away", str(episode.trajectory().error))


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("checked", ["retriever", "tool"])
def test_no_report_card_holds_a_key(checked: str, form: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tools_of("latest")
    monkeypatch.setattr("profilegym.envs.tools.toolset.tools_of", lambda _: tools)
    spec = {"retriever": f"http:http://me:{KEY}@127.0.0.1:1,retries=0", "tool": f"mcp:search --api-key {KEY}"}

    told = CliRunner().invoke(app, ["check", checked, spec[checked], *form]).output

    assert "[key]" in told
    assert KEY not in told


def test_what_is_played_twice_is_told_without_its_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profilegym.evaluation.determinism.repeat", lambda _: Repetition(2, None, True))

    assert check_determinism(Settings(model=f"openai:m,api_key={KEY}")) == 0
    assert KEY not in capsys.readouterr().out


def test_no_row_of_a_table_of_retrievers_is_named_by_a_key() -> None:
    rows = rows_of([f"http:http://me:{KEY}@host"], f"mcp:search --api-key {KEY}")

    assert not any(KEY in name for name in rows)
    assert len(rows) == 4
