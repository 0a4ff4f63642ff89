"""A real server on the loopback, well-behaved and otherwise."""

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from matching import naming

from profilegym import Document, Hit, Profile, make_retriever
from profilegym.envs.retrieval.http import Http
from profilegym.errors import OptionError, RetrievalError
from profilegym.testing.kit import examine
from profilegym.testing.retriever import CHECKS

ANN = Profile(
    "ann", (Document("1", "green tea"), Document("2", "lentil soup", title="Monday"), Document("3", "a bike"))
)
BO = Profile("bo", (Document("1", "black coffee"),))
ChatReply = tuple[int, Any]


class Server(ThreadingHTTPServer):
    """Answers with the queued replies, then with `answer`; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.logins: list[str | None] = []
        self.clients: list[Any] = []  # the other end of the connection of each request
        self.forgets = False  # closes each connection after a reply, without a word
        self.gave: list[str] = []  # what was slow and is over
        self.replies: list[ChatReply] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda asked: {"result": [[] for _ in asked["queries"]]}
        self.url = f"http://127.0.0.1:{self.server_port}/retrieve"
        self.held = threading.Event()  # set to let slow answers go

    def finds(self, *hits: Any) -> None:
        self.answer = lambda asked: {"result": [list(hits) for _ in asked["queries"]]}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.server.clients.append(self.client_address)
        self.close_connection = self.server.forgets
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        self.server.paths.append(self.path)
        self.server.logins.append(self.headers["Authorization"])
        status, body = self.server.replies.pop(0) if self.server.replies else (200, self.server.answer(asked))
        if body == "slow":
            self.server.held.wait(30)
            self.server.gave.append(self.path)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.held.set()
        server.shutdown()


def hit(score: Any = 1.0, **document: Any) -> dict[str, Any]:
    return {"document": document, "score": score}


def test_it_asks_in_search_r1s_form_and_names_the_profiles(server: Server) -> None:
    make_retriever(f"http:{server.url}").search_many([(ANN, "tea"), (BO, "coffee")], 3)

    assert server.asked == [
        {"queries": ["tea", "coffee"], "topk": 3, "return_scores": True, "profile_ids": ["ann", "bo"]}
    ]


def test_hits_are_the_profiles_own_documents_best_first_ties_in_the_order_of_ids(server: Server) -> None:
    server.finds(hit(0.5, id="3"), hit(0.9, id="2", contents="as the server has it"), hit(0.5, id="1"))

    hits = Http(server.url).search(ANN, "tea", 3)

    assert hits == [(ANN.documents[1], 0.9), (ANN.documents[0], 0.5), (ANN.documents[2], 0.5)]
    assert Http(server.url).search(Profile("ann", ANN.documents[::-1]), "tea", 3) == hits


@pytest.mark.parametrize("contents", ["lentil soup", "Monday lentil soup"])
def test_without_ids_documents_are_known_by_their_contents(server: Server, contents: str) -> None:
    server.finds(hit(contents=contents, id=None))  # as a server that sends all its fields

    assert Http(server.url).search(ANN, "soup", 3)[0].document is ANN.documents[1]


def test_without_ids_posts_with_the_same_text_are_found_one_after_the_other(server: Server) -> None:
    thanks = Profile("ann", (Document("1", "Thanks!"), Document("2", "green tea"), Document("3", "Thanks!")))
    server.finds(hit(0.9, contents="Thanks!"), hit(0.5, contents="Thanks!"))

    hits = Http(server.url).search(thanks, "thanks", 3)

    assert hits == [(thanks.documents[0], 0.9), (thanks.documents[2], 0.5)]


def test_the_same_id_means_each_askers_own_document(server: Server) -> None:
    server.finds(hit(id=1))

    ann, bo = Http(server.url).search_many([(ANN, "drink"), (BO, "drink")], 1)

    assert (ann[0].document, bo[0].document) == (ANN.documents[0], BO.documents[0])


@pytest.mark.parametrize("foreign", [{"id": "7"}, {"contents": "black coffee"}, {"title": "no id"}])
def test_a_document_that_is_not_the_askers_is_an_error(server: Server, foreign: dict[str, str]) -> None:
    server.finds(hit(id="1"), hit(**foreign))

    with pytest.raises(RetrievalError, match=naming(server.url, "ann", *foreign.values(), "profile_ids")):
        Http(server.url).search(ANN, "coffee", 3)


def test_empty_queries_and_profiles_are_not_sent(server: Server) -> None:
    server.finds(hit(id="1"))
    requests = [(ANN, " "), (Profile("cy", ()), "tea"), (ANN, "tea")]

    assert [len(hits) for hits in Http(server.url).search_many(requests, 3)] == [0, 0, 1]
    assert [asked["queries"] for asked in server.asked] == [["tea"]]
    assert Http(server.url).search_many(requests[:2], 3) == [[], []]
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [(500, "crashed"), (503, "busy"), (429, "slow down")])
def test_a_passing_fault_is_asked_again(server: Server, fault: ChatReply) -> None:
    server.replies = [fault, fault]
    server.finds(hit(id="1"))

    assert len(Http(server.url, backoff=0).search(ANN, "tea", 3)) == 1
    assert len(server.asked) == 3


def test_a_lasting_fault_says_what_the_server_said(server: Server) -> None:
    server.replies = [(500, b"index not loaded")] * 9

    with pytest.raises(RetrievalError, match=naming(server.url, 500, "index not loaded")):
        Http(server.url, retries=2, backoff=0).search(ANN, "tea", 3)
    assert len(server.asked) == 3


def test_a_refusal_is_not_asked_again(server: Server) -> None:
    server.replies = [(422, {"detail": "topk too large"})]

    with pytest.raises(RetrievalError, match=naming(server.url, 422, "topk too large")):
        Http(server.url, backoff=0).search(ANN, "tea", 3)
    assert len(server.asked) == 1


def test_a_slow_server_is_given_up_after_the_time_out(server: Server) -> None:
    server.replies = [(200, "slow")] * 2

    with pytest.raises(RetrievalError, match=naming(server.url, 0.2)):
        Http(server.url, timeout=0.2, retries=1, backoff=0).search(ANN, "tea", 3)
    assert not server.gave
    assert len(server.asked) == 2


def test_the_login_of_an_address_is_sent_and_never_shown(server: Server) -> None:
    address = server.url.replace("://", "://me:sk@SECRET@")
    server.replies = [(401, "who?")]
    with pytest.raises(RetrievalError, match=naming("[key]@127.0.0.1", 401)) as refused:
        Http(address).search(ANN, "tea", 3)

    Http(address).search(ANN, "tea", 3)

    assert "SECRET" not in str(refused.value)
    assert server.logins == [f"Basic {b64encode(b'me:sk@SECRET').decode()}"] * 2


def test_an_absent_server_is_named(server: Server) -> None:
    with pytest.raises(RetrievalError, match=naming("http://127.0.0.1:1/retrieve")):
        Http("http://127.0.0.1:1/retrieve", retries=0).search(ANN, "tea", 3)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (b"<html>not json</html>", ["JSON", "<html>not json</html>"]),
        ([], [1, "'result'", "[]"]),
        ({"result": []}, [1, "'result'", "{'result': []}"]),
        ({"result": {"q": []}}, [1, "'result'", "{'q': []}"]),
        ({"result": ["documents"]}, [3, "'documents'"]),
        ({"result": [[hit(id="1")] * 4]}, [3, "'id': '1'"]),
        ({"result": [[{"id": "1"}]]}, ['"score"', "{'id': '1'}"]),
        ({"result": [[hit("high", id="1")]]}, ["'high'"]),
        ({"result": [[hit(float("nan"), id="1")]]}, ["nan"]),
        ({"result": [[hit(None, id="1")]]}, ["None"]),
        ({"result": [[hit(2, id="1"), hit(1, id="1")]]}, ["'id': '1'", "once"]),
        ({"result": [[hit(2, contents="a bike"), hit(1, contents="a bike")]]}, ["'a bike'", "once"]),
    ],
)
def test_a_malformed_reply_says_what_was_found(server: Server, reply: Any, named: list[object]) -> None:
    server.replies = [(200, reply)]

    with pytest.raises(RetrievalError, match=naming(server.url, *named)):
        Http(server.url, retries=0).search(ANN, "tea", 3)


def test_connections_are_kept_and_opened_again_where_the_server_closed_them(server: Server) -> None:
    retriever = Http(server.url, retries=0)
    for _ in range(3):
        retriever.search(ANN, "tea", 3)
    assert len(set(server.clients)) == 1

    server.forgets = True
    for _ in range(3):
        retriever.search(ANN, "tea", 3)

    assert len(server.asked) == 6
    assert len(set(server.clients)) == 3


def test_a_late_reply_is_never_read_as_that_of_another_user(server: Server) -> None:
    retriever = Http(server.url, timeout=0.2, retries=0)
    server.replies = [(200, "slow"), (200, {"result": [[hit(id="1")]]})]
    with pytest.raises(RetrievalError):
        retriever.search(ANN, "tea", 3)
    server.held.set()

    assert retriever.search(BO, "coffee", 3) == [(BO.documents[0], 1.0)]


def test_each_thread_has_a_connection_and_its_own_answers(server: Server) -> None:
    server.answer = lambda asked: {"result": [[hit(id=query.split()[-1])] for query in asked["queries"]]}
    retriever = Http(server.url)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: retriever.search(ANN, f"tea {n % 3 + 1}", 3), range(60)))

    assert [hits[0].document.id for hits in found] == [str(n % 3 + 1) for n in range(60)]
    assert len(set(server.clients)) <= 4


def test_a_lone_surrogate_reaches_the_server_as_a_replacement_character(server: Server) -> None:
    Http(server.url).search(ANN, "tea \ud800", 3)

    assert server.asked[0]["queries"] == ["tea �"]


@pytest.mark.parametrize("spec", ["{url}?a=1", "http:{url}?a=1", "http:{url}?a=1,timeout=5"])
def test_an_address_may_be_the_spec_itself(server: Server, spec: str) -> None:
    make_retriever(spec.format(url=server.url)).search(ANN, "tea", 3)

    assert server.paths == ["/retrieve?a=1"]


def test_https_is_a_spec_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    retriever = make_retriever("https://127.0.0.1:1/retrieve,retries=0")

    with pytest.raises(RetrievalError, match=naming("https://127.0.0.1:1/retrieve")):
        retriever.search(ANN, "tea", 3)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("http:localhost:8000", ["'localhost:8000'", "http:http://host:port"]),
        ("http:ftp://host", ["'ftp://host'"]),
        ("http", ["'url'"]),
        ("http:http://h,timeout=0", ["timeout=0"]),
        ("http:http://h,retries=-1", ["retries", -1]),
        ("http:http://h,speed=9", ["'speed'"]),
    ],
)
def test_an_option_that_cannot_work_is_named(spec: str, named: list[object]) -> None:
    with pytest.raises(OptionError, match=naming(*named)):
        make_retriever(spec)


def test_with_a_sound_server_behind_it_the_contract_holds(server: Server) -> None:
    bm25, known = make_retriever("bm25"), dict[str, Profile]()

    def answer(asked: dict[str, Any]) -> Any:
        requests = [(known[user], query) for user, query in zip(asked["profile_ids"], asked["queries"], strict=True)]
        found = bm25.search_many(requests, asked["topk"])
        return {"result": [[hit(score, id=document.id) for document, score in hits] for hits in found]}

    class Announced(Http):
        """Tells the server about a profile before it asks, as an index would be made before a run."""

        def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
            known.update({profile.user_id: profile for profile, _ in requests})
            return super().search_many(requests, k)

    server.answer = answer

    assert [found for found in examine(Announced(server.url), CHECKS) if not found.passed] == []
