"""`profilegym retrieval serve`: what the client gets from a server is what a retriever here finds."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from matching import names, naming

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from profilegym import Profile, load_questions, make_retriever
from profilegym.apps.serve_retrieval import Searches, UnknownUser
from profilegym.errors import OptionError, RetrievalError

DATA = "world:seed=7,users=40/test"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "profilegym", "retrieval", "serve", "--data", DATA, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        yield server.stderr.readline().split()[0]
        server.send_signal(signal.SIGINT)


def ask(url: str, **asked: Any) -> tuple[int, Any]:
    request = Request(url, json.dumps(asked).encode())
    try:
        with urlopen(request) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_a_batch_over_http_finds_what_bm25_finds_here(url: str) -> None:
    requests = [(question.profile, question.text) for question in load_questions(DATA)]

    found = make_retriever(url).search_many(requests, 5)

    assert found == make_retriever("bm25").search_many(requests, 5)
    assert len({profile.user_id for profile, _ in requests}) > 5


@pytest.mark.slow
def test_an_unknown_user_is_an_error_that_names_them(url: str) -> None:
    profile = load_questions(DATA)[0].profile

    status, told = ask(url, queries=["tea", "milk"], topk=2, profile_ids=[profile.user_id, "nobody"])

    assert status == 404
    assert names(told["error"], "nobody", DATA)
    with pytest.raises(RetrievalError, match=naming("404", "nobody")):
        make_retriever(f"{url},backoff=0").search(Profile("nobody", profile.documents), "tea", 2)


@pytest.mark.parametrize(
    "asked", [[], {"queries": ["tea"]}, {"queries": ["tea"], "profile_ids": []}, {"queries": [1], "profile_ids": ["u"]}]
)
def test_a_request_of_another_form_is_refused(asked: Any) -> None:
    with pytest.raises(OptionError, match=naming("profile_ids")):
        asyncio.run(Searches(DATA, "bm25").answer(asked))


def test_one_unknown_user_fails_the_request_before_any_search() -> None:
    with pytest.raises(UnknownUser, match=naming("nobody")):
        asyncio.run(Searches(DATA, "bm25").answer({"queries": ["tea"], "profile_ids": ["nobody"]}))
