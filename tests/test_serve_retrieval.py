"""`profilegym retrieval serve`: what the client gets from a server is what a retriever here finds."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from matching import names, naming

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from profilegym import Document, Profile, Question, load_questions, make_retriever
from profilegym.apps.index import index
from profilegym.apps.serve_retrieval import Searches, UnknownUser
from profilegym.envs.data import QuestionList, register_data
from profilegym.envs.retrieval import bm25
from profilegym.errors import OptionError, RetrievalError

DATA = "world:seed=7,users=40/test"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "profilegym", "retrieval", "serve", "--data", DATA, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        yield server.stderr.readline().split()[0]
        server.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "store"
    index(DATA, folder, "local:1")
    return folder


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("evil.example", 400),
        ("evil.example:8000", 400),
        ("127.0.0.1.evil", 400),
    ],
)
def test_another_host_name_is_refused_so_that_no_dns_trick_reaches_it(url: str, host: str, status: int) -> None:
    body = {"queries": ["tea"], "profile_ids": [load_questions(DATA)[0].user_id]}
    request = Request(url, json.dumps(body).encode(), {"Host": host})

    try:
        with urlopen(request) as reply:
            answered = reply.status
    except HTTPError as error:
        answered = error.code

    assert answered == status


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_cannot_be_read_is_refused(url: str, body: bytes) -> None:
    with pytest.raises(HTTPError) as told:
        urlopen(Request(url, body))

    assert told.value.code == 400
    assert "error" in json.load(told.value)


@pytest.mark.parametrize(
    "asked", [[], {"queries": ["tea"]}, {"queries": ["tea"], "profile_ids": []}, {"queries": [1], "profile_ids": ["u"]}]
)
def test_a_request_of_another_form_is_refused(asked: Any) -> None:
    with pytest.raises(OptionError, match=naming("profile_ids")):
        asyncio.run(Searches(DATA, "bm25").answer(asked))


def test_one_unknown_user_fails_the_request_before_any_search() -> None:
    with pytest.raises(UnknownUser, match=naming("nobody")):
        asyncio.run(Searches(DATA, "bm25").answer({"queries": ["tea"], "profile_ids": ["nobody"]}))


@pytest.mark.slow
def test_no_profile_of_a_store_is_indexed_by_the_server(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def indexed(profile: Profile) -> None:
        raise AssertionError(f"{profile.user_id} was indexed")

    questions = load_questions(DATA)
    asked = {"queries": [q.text for q in questions], "profile_ids": [q.user_id for q in questions], "topk": 4}
    expected = asyncio.run(Searches(DATA, "bm25").answer(asked))
    monkeypatch.setattr(bm25, "postings", indexed)

    assert asyncio.run(Searches(DATA, f"bm25:store={store}").answer(asked)) == expected


def test_users_with_the_same_document_ids_get_their_own_texts() -> None:
    people = [Profile(f"u{n}", (Document("1", f"boat of owner{n}"), Document("2", "tea"))) for n in range(300)]
    asking = [Question(f"q{n}", who.user_id, "boat", who) for n, who in enumerate(people)]
    register_data("alike", lambda name, rest: QuestionList(asking, name))
    users = [who.user_id for who in people] * 2

    answer = asyncio.run(
        Searches("alike", "bm25").answer({"queries": ["boat"] * len(users), "profile_ids": users, "topk": 2})
    )

    texts = [hit["document"]["contents"] for (hit,) in answer["result"]]
    assert texts == [f"boat of owner{user[1:]}" for user in users]
