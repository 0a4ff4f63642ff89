"""What the commands about the installation print: doctor, recipes, version, and options that all share."""

import json
import socket
from pathlib import Path
from threading import Thread

import pytest
import yaml
from typer.testing import CliRunner

import profilegym
from profilegym.apps import doctor
from profilegym.apps.cli import app
from profilegym.apps.doctor import look
from profilegym.apps.options import is_quiet
from profilegym.errors import OptionError
from profilegym.testing import JudgeServer
from profilegym.training.recipe import load_recipe
from profilegym.training.stages import load_any

KEY = "sk-not-to-be-shown"


def run(*words: str) -> str:
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_the_version_is_the_packages() -> None:
    assert run("--version").split() == ["profilegym", profilegym.__version__]


def test_the_doctor_names_every_extra_and_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(doctor, "_version", lambda package: None)

    found = {item.name: item for item in look()}

    assert {"python", "gpu", "java", "endpoint", "disk", "extra train", "extra dense"} <= set(found)
    assert found["extra train"].ok is None
    assert "pip install 'profilegym[train]'" in found["extra train"].advice


def test_the_doctor_asks_the_endpoint_and_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        told = run("doctor", "--json")

    (endpoint,) = (item for item in json.loads(told) if item["name"] == "endpoint")
    assert endpoint["ok"] is True
    assert KEY not in told


def test_an_endpoint_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

    (endpoint,) = (item for item in look() if item.name == "endpoint")

    assert endpoint.ok is False


@pytest.mark.parametrize("url", ["http://[half/v1", "http://127.0.0.1:port/v1", f"http://me:{KEY}@127.0.0.1:9/v1"])
def test_a_url_that_cannot_be_asked_is_told_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)

    (endpoint,) = (item for item in look() if item.name == "endpoint")

    assert endpoint.ok is False
    assert "no answer:" in endpoint.found
    assert KEY not in endpoint.found


def test_a_server_that_does_not_speak_http_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet() -> None:
        with server.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        answering = Thread(target=greet)
        answering.start()
        (endpoint,) = (item for item in look() if item.name == "endpoint")
        answering.join()

    assert endpoint.ok is False
    assert "SSH-2.0" in endpoint.found


def test_a_recipe_is_printed_so_that_it_can_be_saved_and_trained_from(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(run("recipes", "pr2-world", "optimiser.steps=3"), "utf-8")

    assert load_recipe(str(mine)) == load_recipe("pr2-world", ["optimiser.steps=3"])


def test_every_recipe_that_can_be_trained_is_listed() -> None:
    listed = set(json.loads(run("recipes", "--json")))

    assert {"pr2-world", "prlm-world-lamp-5"} <= listed
    assert all(load_any(name) for name in listed)


def test_eval_takes_its_options_from_a_file_and_the_command_line_counts_more(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump({"agent": "none", "model": "scripted:world", "limit": 3, "seeds": 2}), "utf-8")

    run("-q", "eval", "--settings", str(settings), "--seeds", "1", "--out", str(tmp_path / "run"))
    run("-q", "eval", "--settings", str(tmp_path / "run" / "recipe.yaml"), "--out", str(tmp_path / "again"))

    first, again = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "again"))
    assert (first["episodes"], first["settings"]["agent"]) == (3, "none")
    assert again["settings"] == first["settings"]


@pytest.mark.parametrize("content", ["limitt: 3", "[1, 2]", "limit: ["])
def test_a_file_of_options_that_is_wrong_is_refused(content: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(content, "utf-8")

    with pytest.raises(OptionError):
        run("eval", "--settings", str(settings), "--out", str(tmp_path / "run"))


def test_quiet_and_verbose_set_the_log_and_exclude_each_other() -> None:
    run("--quiet", "recipes", "--json")
    assert is_quiet()
    run("--verbose", "recipes", "--json")
    assert not is_quiet()
    with pytest.raises(OptionError):
        run("-q", "-v", "recipes")
