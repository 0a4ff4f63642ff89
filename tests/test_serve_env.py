"""`profilegym serve env`, without its framework: what is refused before anything is loaded."""

import asyncio
from typing import Any

import pytest
from matching import naming
from typer.testing import CliRunner

from profilegym.apps.cli import app
from profilegym.errors import MissingExtra, OptionError

pytest.importorskip("uvicorn")


def test_without_openenv_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profilegym.apps.cli.serve.find_spec", lambda name: None)

    found = CliRunner().invoke(app, ["serve", "env"])

    assert isinstance(found.exception, MissingExtra)
    assert "profilegym[openenv]" in str(found.exception)


@pytest.mark.parametrize("workers", [0, 9])
def test_workers_are_as_many_as_sessions_at_most(workers: int) -> None:
    from profilegym.apps.serve_env import Served, serve

    with pytest.raises(OptionError, match=naming("workers", str(workers), "8")):
        serve(Served("world", sessions=8), workers, "127.0.0.1", 0)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("127.0.0.1:8000", None, True),
        ("localhost:9000", "http://localhost:9000", True),
        ("127.0.0.1:8000", "http://elsewhere.example", False),
        ("127.0.0.1:8000", "http://127.0.0.1:9999", False),
        ("127.0.0.1:8000", "null", False),
        ("elsewhere.example", None, False),
    ],
)
def test_a_page_of_another_site_reads_no_posts(kind: str, host: str, origin: str | None, passes: bool) -> None:
    from profilegym.apps.serve_env import WithoutOtherSites

    headers = [(b"host", host.encode()), *([] if origin is None else [(b"origin", origin.encode())])]
    passed, sent = list[Any](), list[Any]()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(WithoutOtherSites(application)({"type": kind, "headers": headers}, None, send))  # type: ignore[arg-type]

    assert (bool(passed), not sent) == (passes, passes)
    assert passes or sent[0].get("status", sent[0].get("code")) in (403, 1008)


def test_a_report_of_served_episodes_tells_the_command_that_served_them() -> None:
    from profilegym.apps.serve_env import Served
    from profilegym.evaluation.report import _command

    served = Served(
        "world:seed=7/test", "rubric", "bm25:context=2", options={"top_k": 5, "tools": "search_profile+latest"}
    )

    assert _command(served.settings) == (
        "profilegym serve env --data world:seed=7/test --judge rubric --retriever bm25:context=2 "
        "--top-k 5 --tools search_profile+latest --out DIR"
    )
