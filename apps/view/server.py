"""The web server: it listens on this machine only, and writes only to run directories."""

import secrets
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse

from ..._util.loopback import listen
from ...errors import ProfileGymError
from .guard import Guard
from .library import Library
from .pages import branch, compare, live, run, runs, static, table, trajectory
from .site import Site


def serve(roots: Sequence[Path], port: int, redact: bool, open_browser: bool) -> None:
    """Serve until interrupted."""
    import uvicorn

    listening = listen(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    token = secrets.token_urlsafe(24)
    app = guarded(Library(roots), listening.getsockname()[1], token, redact)
    print(f"{address}/?token={token}\nThe link opens any number of browsers; Ctrl-C ends the server.", flush=True)  # noqa: T201
    if open_browser:
        webbrowser.open(f"{address}/?token={token}")
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


def guarded(library: Library, port: int, token: str, redact: bool = False) -> Guard:
    return Guard(application(library, redact), port, token)


def application(library: Library, redact: bool) -> FastAPI:
    site = Site(library, redact)
    show = site.show
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lambda _: site.loop.open())
    app.state.site = site
    for page in (static, runs, compare, live, run, table, trajectory, branch):  # the first that fits answers
        app.include_router(page.router)

    @app.exception_handler(ProfileGymError)
    def ours(request: Request, error: ProfileGymError) -> HTMLResponse:
        return show.problem(404 if request.method == "GET" else 400, "This cannot be shown", str(error))

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(404)
    def missing(request: Request, error: Exception) -> HTMLResponse:
        return show.problem(404, "Page not found", f"There is no page {request.url.path}.")

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> HTMLResponse:
        told = f"{type(error).__name__}: {error}"
        return show.problem(500, "Internal error", told, "Please report it, with the line that caused it.")

    return app
