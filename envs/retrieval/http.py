"""HTTP retriever: asks a search server with the protocol of Search-R1's retrieval server.

POST {"queries": [q, …], "topk": k, "return_scores": true, "profile_ids": [user, …]}
  -> {"result": [[{"document": {"id": …, "contents": …}, "score": …}, …], …]}, one list per query.
"""

import json
import math
import os
import threading
import weakref
from collections.abc import Container, Sequence
from http.client import CannotSendRequest, HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import tenacity

from ..._util.keys import hidden
from ..._util.web import without_login
from ...errors import OptionError, RetrievalError
from ..question import Document, Profile
from ..text import well_formed
from .retriever import Hit, check_k, searchable_text


class _Retryable(RetrievalError):
    """A temporary failure."""


class _OfThread(threading.local):
    """A thread's connection and its process. Copies and unpickled instances start empty."""

    process: int | None = None
    connection: "_Connection"

    def __reduce__(self) -> tuple[type["_OfThread"], tuple[()]]:
        return _OfThread, ()


class Http:
    """Asks a server that has the users' documents. Documents of another user's profile are an error.

    A document is identified by its `id`, or by its `contents` if the server sends no id: of documents with
    the same contents, each hit is the next. A batch is one request. Each thread keeps its connection.
    """

    def __init__(self, url: str, *, timeout: float = 30.0, retries: int = 3, backoff: float = 0.5) -> None:
        url = f"http:{url}" if url.startswith("//") else url  # the argument of the spec `http://host` is `//host`
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise OptionError(f"{hidden(url)!r} is no URL of a server; write http:http://host:port/retrieve")
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise OptionError(
                f"timeout={timeout}, retries={retries}, backoff={backoff}: give a timeout above 0, none negative"
            )
        self._url, self._where = url, hidden(url)
        self._timeout = timeout
        self._mine = _OfThread()
        self._attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Retryable),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=tenacity.wait_exponential(multiplier=backoff, max=30),
            reraise=True,
        )

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        check_k(k)
        valid = [i for i, (profile, query) in enumerate(requests) if profile.documents and query.strip()]
        hits: list[list[Hit]] = [[] for _ in requests]
        if valid:
            results = self._ask([requests[i] for i in valid], k)
            for i, result in zip(valid, results, strict=True):
                hits[i] = self._hits(requests[i][0], result, k)
        return hits

    def _ask(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[Any]:
        body = {
            "queries": [well_formed(query) for _, query in requests],
            "topk": k,
            "return_scores": True,
            "profile_ids": [profile.user_id for profile, _ in requests],
        }
        try:
            reply = self._attempts(self._post, json.dumps(body).encode())
        except _Retryable as error:
            raise RetrievalError(str(error)) from error
        match reply:
            case {"result": list(results)} if len(results) == len(requests):
                return results
        raise self._unexpected(f"{len(requests)} lists under 'result', one per query", reply)

    def _post(self, body: bytes) -> Any:
        try:
            status, reason, data = self._connection().post(body)
        except (OSError, HTTPException) as error:  # refused, timed out, or closed early
            raise _Retryable(
                f"{self._where} gave no answer ({error!r}; timeout={self._timeout:g} s): is the server up?"
            ) from error
        if status // 100 != 2:
            error_class = _Retryable if status in (408, 429) or status >= 500 else RetrievalError
            raise error_class(f"{self._where} answered {status} {reason}: {_truncated(data)}")
        return self._decode(data)

    def _connection(self) -> "_Connection":
        """This thread's own; a forked process makes a new one, as replies must not go to another process."""
        if self._mine.process != os.getpid():
            self._mine.process, self._mine.connection = os.getpid(), _Connection(self._url, self._timeout)
        return self._mine.connection

    def _decode(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._unexpected("JSON", data) from error

    def _hits(self, profile: Profile, result: Any, k: int) -> list[Hit]:
        if not isinstance(result, list) or len(result) > k:
            raise self._unexpected(f"a list of at most {k} hits for a query", result)
        score_of: dict[Document, float] = {}
        for item in result:
            document, score = self._hit(profile, item, score_of)
            if document in score_of:
                raise self._unexpected("each document once", item)
            score_of[document] = score
        hits = [Hit(document, score_of[document]) for document in profile.documents if document in score_of]
        return sorted(hits, key=lambda hit: (-hit.score, hit.document.id))

    def _hit(self, profile: Profile, item: Any, taken: Container[Document]) -> tuple[Document, float]:
        match item:
            case {"document": dict(found), "score": int() | float() as score} if math.isfinite(score):
                return self._own_document(profile, found, taken), float(score)
        raise self._unexpected('{"document": {"id": …}, "score": number}', item)

    def _own_document(self, profile: Profile, found: dict[str, Any], taken: Container[Document]) -> Document:
        if found.get("id") is not None:
            own = profile.by_id.get(str(found["id"]))
        else:
            own = _with_contents(profile, found.get("contents"), taken)
        if own is None:
            raise RetrievalError(
                f"{self._where} returned a document that is not in the profile of user {profile.user_id!r}: "
                f"{_truncated(found)}; the server must search only the profile named in 'profile_ids'"
            )
        return own

    def _unexpected(self, expected: str, found: object) -> RetrievalError:
        return RetrievalError(f"{self._where} sent an invalid reply: expected {expected}, got {_truncated(found)}")


class _Connection:
    """A connection that is kept between requests, of one thread. A proxy of the environment is used, as by urllib."""

    def __init__(self, url: str, timeout: float) -> None:
        url, login = without_login(url)
        parts = urlsplit(url)
        host, encrypted = parts.netloc, parts.scheme == "https"
        proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
        first = urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc if proxy else host
        self._connection = (HTTPSConnection if encrypted else HTTPConnection)(first, timeout=timeout)
        weakref.finalize(self, self._connection.close)
        if proxy and encrypted:
            self._connection.set_tunnel(host)
        self._headers = {"Content-Type": "application/json"} | login
        path = parts.path or "/"
        self._target = url if proxy and not encrypted else f"{path}?{parts.query}" if parts.query else path

    def post(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, reason and data of the reply. A connection that the server closed in between is opened again."""
        kept = self._connection.sock is not None
        try:
            return self._post(body)
        except (ConnectionError, CannotSendRequest):
            if not kept:
                raise
            return self._post(body)

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        try:
            self._connection.request("POST", self._target, body, self._headers)
            response = self._connection.getresponse()
            return response.status, response.reason, response.read()
        except BaseException:  # a late reply must not be read as that of the next request
            self._connection.close()
            raise


def https(url: str, **options: Any) -> Http:
    """For the spec `https://host`, whose argument is `//host`."""
    return Http(f"https:{url}", **options)


def _with_contents(profile: Profile, contents: Any, taken: Container[Document]) -> Document | None:
    """The first document with the contents that is not taken yet; where all are, the first."""
    same = [document for document in profile.documents if contents in (document.text, searchable_text(document))]
    return next((document for document in same if document not in taken), same[0] if same else None)


def _truncated(found: object, length: int = 200) -> str:
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else repr(found)
    return text if len(text) <= length else f"{text[:length]}…"
