"""`profilegym view` as it is called."""

import builtins
import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from matching import naming

pytest.importorskip("jinja2")
pytest.importorskip("fastapi")
from viewing import play

from profilegym._util.loopback import listen
from profilegym.apps.cli.view import view
from profilegym.errors import MissingExtra, OptionError, ProfileGymError

VIEW = (sys.executable, "-m", "profilegym", "view")


@pytest.mark.slow
def test_it_prints_a_link_that_opens_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    play(tmp_path / "oracle")
    with subprocess.Popen(
        [*VIEW, str(tmp_path), "--no-open"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        link = urlsplit(process.stdout.readline().strip())
        connection = http.client.HTTPConnection(link.netloc, timeout=20)
        connection.request("GET", f"{link.path}?{link.query}")
        answer = connection.getresponse()
        connection.close()
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
        told = process.stderr.read()

    assert answer.status == 200
    assert link.hostname == "127.0.0.1"
    assert code in (0, 130, -signal.SIGINT)
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = subprocess.run([*VIEW, str(tmp_path / "nowhere"), "--no-open"], capture_output=True, text=True)

    assert run.returncode == 1
    assert str(tmp_path / "nowhere") in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ProfileGymError, match=naming(port, "--port 0")):
            listen(port)


@pytest.mark.parametrize("port", [99_999, -1])
def test_a_port_that_cannot_be_is_named(port: int) -> None:
    with pytest.raises(ProfileGymError, match=naming(port, "0-65535", "--port 0")):
        listen(port)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("profilegym.apps.cli.view.find_spec", lambda name: None if name == "jinja2" else builtins)

    with pytest.raises(MissingExtra, match=r"pip install 'profilegym\[view\]'"):
        view([tmp_path], 0, False, False)


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OptionError, match=naming(tmp_path / "file", "profilegym eval")):
        view([tmp_path / "file"], 0, False, False)
