"""Options of `profilegym play`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import MissingExtra, OptionError
from .shared import (
    Cites,
    Costs,
    Data,
    Judge,
    MaxSearches,
    MaxShown,
    Metric,
    Protocol,
    Retriever,
    Tools,
    TopK,
    model_or_default,
)

if TYPE_CHECKING:
    from ..play.session import PlaySession


def play(
    data: Data = "world:seed=7/test",
    question: Annotated[str | None, typer.Option(help="Question id. Default: choose from a list.")] = None,
    user: Annotated[str | None, typer.Option(help="Only the questions of this user.")] = None,
    agent: Annotated[
        str | None, typer.Option(help="The policy's agent: pr2, rag, scripted:oracle … With --plain it plays alone.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The policy's model, loaded when first used: pilot, openai:MODEL …")
    ] = None,
    judge: Judge = None,
    metric: Metric = None,
    retriever: Retriever = "bm25",
    top_k: TopK = 3,
    max_searches: MaxSearches = 4,
    protocol: Protocol = "tags",
    tools: Tools = None,
    max_shown: MaxShown = None,
    cites: Cites = False,
    costs: Costs = None,
    seed: Annotated[int, typer.Option(help="Random seed of the policy.")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Plain text, for screen readers, pipes and tests.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for finished episodes.")] = Path("runs/play"),
) -> None:
    """Play an episode yourself, in place of the policy: search, answer, ask the policy, undo, branch.

    Example: profilegym play --data world:seed=7/test --model pilot
    """
    from ...evaluation.evaluate import Settings
    from ..play.session import PlaySession

    settings = Settings(
        agent or "pr2", model_or_default(model, agent), data, judge, retriever, first_seed=seed,
        top_k=top_k, max_searches=max_searches, protocol=protocol, tools=tools, max_shown=max_shown,
        cites=cites, costs=costs, metric=metric,
    )  # fmt: skip
    session = PlaySession(settings, out, question_id=question, user=user)
    if plain:
        play_plain(session, alone=agent is not None)
    else:
        play_on_screen(session)


def play_plain(session: "PlaySession", alone: bool) -> None:
    """`alone`: the policy takes every turn."""
    from ..play import plain

    session.check()
    (plain.play_alone if alone else plain.play)(session)


def play_on_screen(session: "PlaySession") -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OptionError("standard input or output is not a terminal, which the screen needs: add --plain")
    try:
        from ..play.screen import PlayApp
    except ImportError as error:
        raise MissingExtra("the screen of profilegym play (--plain does without it)", "play") from error
    session.check()
    app = PlayApp(session)
    app.run()  # prints the traceback of an error
    print(session.saved_games)  # noqa: T201 (a person reads it)
    if app.return_code:
        raise typer.Exit(app.return_code)
