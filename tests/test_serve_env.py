"""`profilegym serve env`, without its framework: what is refused before anything is loaded."""

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
