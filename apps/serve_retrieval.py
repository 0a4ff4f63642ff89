"""`profilegym retrieval serve`: a search server in Search-R1's form, for trainers and the retriever `http:URL`."""

import json
import sys
from collections.abc import Mapping, Sequence
from json import JSONDecodeError
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .._util.loopback import listen
from .._util.lru import Lru
from .._util.sync import in_thread
from ..envs.data import load_questions
from ..envs.question import Profile
from ..envs.retrieval import Hit, make_retriever
from ..envs.retrieval.retriever import searchable_text
from ..envs.text import well_formed
from ..errors import DataError, OptionError, ProfileGymError

KEPT = 10_000  # users whose profiles stay in memory
TOP_K = 3  # where a request does not say
HOSTS = ("127.0.0.1", "localhost")  # under another name, a page of another site could ask for posts


class UnknownUser(DataError):
    """A request names a user that the data set has not."""


class Searches:
    """Searches the histories of a data set's users, each in their own."""

    def __init__(self, data: str, retriever: str) -> None:
        self._questions = load_questions(data)
        self._retriever = make_retriever(retriever)
        self._inline = getattr(self._retriever, "runs_inline", False)
        self._profiles: Lru[str, Profile] = Lru(KEPT)

    async def answer(self, asked: Any) -> dict[str, Any]:
        """The reply to a request: one list of hits for each query, by one batched search."""
        queries, users, top_k = _read(asked)
        requests = [(self._profile(user), query) for user, query in zip(users, queries, strict=True)]
        if self._inline:
            found = self._retriever.search_many(requests, top_k)
        else:
            found = await in_thread(self._retriever.search_many, requests, top_k)
        return {"result": [[_written(hit) for hit in hits] for hits in found]}

    def _profile(self, user: str) -> Profile:
        profile = self._profiles.get(user)
        if profile is None:
            position = self._questions.first_of(user)
            if position is None:
                raise UnknownUser(f"no user {user!r} in {self._questions.spec}")
            profile = self._questions[position].profile
            self._profiles.put(user, profile)
        return profile


def application(searches: Searches) -> Starlette:
    async def retrieve(request: Request) -> Response:
        try:
            return JSONResponse(await searches.answer(json.loads(await request.body())))
        except UnknownUser as error:
            return JSONResponse({"error": str(error)}, 404)
        except (OptionError, JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except ProfileGymError as error:
            return JSONResponse({"error": str(error)}, 500)

    named = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    return Starlette(routes=[Route("/retrieve", retrieve, methods=["POST"])], middleware=[named])


def serve(data: str, retriever: str, port: int) -> None:
    """Serve on this machine until interrupted."""
    searches, listening = Searches(data, retriever), listen(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/retrieve"
    print(f"{address} searches the histories of {data}. Ctrl-C ends the server.", file=sys.stderr, flush=True)  # noqa: T201
    config = uvicorn.Config(application(searches), log_level="error", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


def _read(asked: Any) -> tuple[Sequence[str], Sequence[str], int]:
    """Queries, their users, and the number of documents."""
    match asked:
        case {"queries": list(queries), "profile_ids": list(users)} if len(queries) == len(users):
            top_k = asked.get("topk", TOP_K)
            if all(isinstance(one, str) for one in (*queries, *users)) and type(top_k) is int and top_k > 0:
                return queries, users, top_k
    keys = sorted(asked) if isinstance(asked, Mapping) else type(asked).__name__
    raise OptionError(
        'expected {"queries": [text, …], "profile_ids": [user, …], "topk": number}, with a user for each query; '
        f"got {keys}"
    )


def _written(hit: Hit) -> dict[str, Any]:
    document = hit.document
    return {"document": {"id": document.id, "contents": well_formed(searchable_text(document))}, "score": hit.score}
