"""`python -m profilegym.benchmarks.store_server USERS FOLDER`: a store of many users, and a server that searches it.

It builds the store (or what is missing of it), times queries to the store here and through a server on this machine,
and asks one query of every user. All users have the same document ids, and each document names its owner.
"""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, Protocol
from urllib.parse import urlsplit

from rich.console import Console

from ..envs.data import QuestionSet, load_questions
from ..envs.question import Document, Profile, Question
from ..envs.retrieval.bm25 import BM25
from ..envs.retrieval.http import Http
from ..fleet.indexing import build_store
from .measurement import Target, at_most, show_targets

DOCUMENTS, WORDS = 20, 12  # of a user, and of a document
VOCABULARY, COMMON = 5_000, 50  # every other word is a common one
TIMED, ROUNDS, K = 1_000, 4, 10  # users, how often each is asked for, and documents of an answer
BATCH = 256  # queries of a request, where every user is asked for


class People(QuestionSet):
    """Users with documents of random words, made when they are asked for, and a question each."""

    def __init__(self, users: int) -> None:
        super().__init__(f"profilegym.benchmarks.store_server:People,users={users}")
        self._users = users

    def __len__(self) -> int:
        return self._users

    @property
    def ids(self) -> Sequence[str]:
        return [f"q{number}" for number in range(self._users)]

    def user_of(self, position: int) -> str:
        return f"u{position}"

    def first_of(self, user_id: str) -> int | None:
        return int(user_id[1:]) if int(user_id[1:]) < self._users else None

    def load(self, position: int) -> Question:
        rng, user = random.Random(position), self.user_of(position)
        documents = tuple(Document(str(number), f"{owner(position)} {_text(rng)}") for number in range(DOCUMENTS))
        return Question(f"q{position}", user, query(position), Profile(user, documents))


def owner(position: int) -> str:
    return f"owner{position}x"


def query(position: int) -> str:
    """Eight common words: hardly a user has none of them."""
    return " ".join(_WORDS[(position + step) % COMMON] for step in range(0, 48, 6))


_WORDS = [f"w{number}x" for number in range(VOCABULARY)]


def _text(rng: random.Random) -> str:
    common = rng.choices(_WORDS[:COMMON], k=WORDS // 2)
    return " ".join([*common, *rng.choices(_WORDS, k=WORDS // 2)])


class Asked(Protocol):
    """Answers a batch: for each query, the hits of its user."""

    def ask(self, users: Sequence[str], queries: Sequence[str]) -> list[list[dict[str, Any]]]: ...


class Client:
    """Asks a server on one connection, and reads nothing into the replies."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection, self._path = HTTPConnection(parts.hostname, parts.port), parts.path

    def ask(self, users: Sequence[str], queries: Sequence[str]) -> list[list[dict[str, Any]]]:
        body = json.dumps({"queries": queries, "profile_ids": users, "topk": K})
        self._connection.request("POST", self._path, body.encode())
        reply = json.load(self._connection.getresponse())
        found: list[list[dict[str, Any]]] = reply["result"]
        return found

    def close(self) -> None:
        self._connection.close()


def main(users: str, folder: str) -> None:
    result = measure(int(users), Path(folder))
    for name, value in result.items():
        Console().print(f"{name:>40} {value:,.6g}", highlight=False)
    show_targets(targets(result), Console())


def measure(users: int, folder: Path) -> dict[str, float]:
    questions = load_questions(People(users).spec)
    start = time.perf_counter()
    build_store(questions.spec, folder, "local:1")
    found: dict[str, float] = {"users": users, "build, s": time.perf_counter() - start}
    found["driver's memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["worker's memory, MB"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found["store, MB"] = sum(path.stat().st_size for path in folder.glob("*.bm25")) / 1e6
    start = time.perf_counter()
    with _serving(questions.spec, folder) as (url, process):
        found["start of the server, s"] = time.perf_counter() - start
        with closing(Client(url)) as client:
            found |= _times(questions, folder, Http(url), client)
            start = time.perf_counter()
            found |= crossings(users, client)
            found["queries of all users, s"] = time.perf_counter() - start
        found |= _memory(process.pid)
    return found


def targets(found: dict[str, float]) -> Iterator[Target]:
    bound = found["store, µs"] + found["empty request, µs"]
    yield at_most("server over store and empty request", found["server, µs"] / bound, 2.0)
    yield at_most("documents of another user", found["documents of another user"], 0)
    yield at_most("answers that are missing", found["users"] - found["answers"], 0)


@contextmanager
def _serving(spec: str, folder: Path) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    command = [sys.executable, "-m", "profilegym", "retrieval", "serve", "--data", spec, "--port", "0"]
    command += ["--retriever", f"bm25:store={folder}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stderr
        try:
            yield process.stderr.readline().split()[0], process
        finally:
            process.terminate()


def _times(questions: QuestionSet, folder: Path, remote: Http, client: Client) -> dict[str, float]:
    """Medians in µs. The three take turns, so that other work of the machine slows each of them."""
    stored, step = BM25(store=folder), max(1, len(questions) // TIMED)
    some = [questions[position] for position in range(0, len(questions), step)]
    works: dict[str, Callable[[Question], object]] = {
        "store": lambda one: stored.search(one.profile, one.text, K),
        "server": lambda one: remote.search(one.profile, one.text, K),
        "empty request": lambda _: client.ask([], []),
    }
    first, later = ({name: list[float]() for name in works} for _ in range(2))
    for number in range(ROUNDS):
        seconds = later if number else first
        for one in some:
            for name, work in works.items():
                start = time.perf_counter()
                work(one)
                seconds[name].append(time.perf_counter() - start)
    medians = {f"{name}, first of a profile, µs": 1e6 * median(first[name]) for name in ("store", "server")}
    return medians | {f"{name}, µs": 1e6 * median(times) for name, times in later.items()}


def crossings(users: int, server: Asked) -> dict[str, float]:
    """Asks one query of every user. Neighbours in a request are far from each other in the data set."""
    answers = documents = foreign = 0
    batches = -(-users // BATCH)
    for batch in range(batches):
        positions = range(batch, users, batches)
        replies = server.ask([f"u{position}" for position in positions], [query(position) for position in positions])
        for position, hits in zip(positions, replies, strict=True):
            answers += bool(hits)
            documents += len(hits)
            foreign += sum(not hit["document"]["contents"].startswith(f"{owner(position)} ") for hit in hits)
    return {"answers": answers, "documents of answers": documents, "documents of another user": foreign}


def _memory(process: int) -> dict[str, float]:
    """Of the server, in MB: its own, and the pages of the store that it has mapped (Linux)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return {
        "server's memory, MB": int(lines["RssAnon"].split()[0]) / 1024,
        "pages of the store in it, MB": int(lines["RssFile"].split()[0]) / 1024,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
