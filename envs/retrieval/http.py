"""A search server, asked in the form that Search-R1's retrieval server speaks.

POST {"queries": [q, …], "topk": k, "return_scores": true, "profile_ids": [user, …]}
  -> {"result": [[{"document": {"id": …, "contents": …}, "score": …}, …], …]}, one list a query.
"""

import json
import math
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import tenacity

from ...errors import OptionError, RetrievalError
from ..question import Document, Profile
from .retriever import Hit, check_k
from .text import searchable_text, well_formed


class _Unreachable(RetrievalError):
    """A failure that the next attempt may not meet."""


class Http:
    """Asks a server that knows the users' documents; only documents of the asker's own profile are accepted.

    A document is recognised by its `id`, or where the server has none, by its `contents`. One request for a batch.
    """

    def __init__(self, url: str, *, timeout: float = 30.0, retries: int = 3, backoff: float = 0.5) -> None:
        url = f"http:{url}" if url.startswith("//") else url  # the spec `http://host` arrives as `//host`
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise OptionError(f"{url!r} is no address of a server; write http:http://host:port/retrieve")
        if timeout <= 0 or retries < 0 or backoff < 0:
            raise OptionError(
                f"timeout is {timeout} s, retries {retries}, backoff {backoff} s; none may be negative, nor timeout 0"
            )
        self._url = url
        self._timeout = timeout
        self._attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Unreachable),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=tenacity.wait_exponential(multiplier=backoff, max=30),
            reraise=True,
        )

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        return self.search_many([(profile, query)], k)[0]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        check_k(k)
        asked = [place for place, (profile, query) in enumerate(requests) if profile.documents and query.strip()]
        hits: list[list[Hit]] = [[] for _ in requests]
        if asked:
            results = self._ask([requests[place] for place in asked], k)
            for place, result in zip(asked, results, strict=True):
                hits[place] = self._hits(requests[place][0], result, k)
        return hits

    def _ask(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[Any]:
        body = {
            "queries": [well_formed(query) for _, query in requests],
            "topk": k,
            "return_scores": True,
            "profile_ids": [profile.user_id for profile, _ in requests],
        }
        reply = self._attempts(self._post, json.dumps(body).encode())
        match reply:
            case {"result": list(results)} if len(results) == len(requests):
                return results
        raise self._broken(f"{len(requests)} lists under 'result', one a query", reply)

    def _post(self, body: bytes) -> Any:
        request = Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310 (http or https: checked)
        try:
            with urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                return self._decode(response.read())
        except HTTPError as error:
            kind = _Unreachable if error.code in (408, 429) or error.code >= 500 else RetrievalError
            raise kind(f"{self._url} answered {error.code} {error.reason}: {_short(error.read())}") from error
        except (OSError, HTTPException) as error:  # refused, timed out, cut off
            raise _Unreachable(
                f"{self._url} gave no answer within {self._timeout:g} s: {error!r}; is the server up?"
            ) from error

    def _decode(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._broken("JSON", data) from error

    def _hits(self, profile: Profile, result: Any, k: int) -> list[Hit]:
        if not isinstance(result, list) or len(result) > k:
            raise self._broken(f"a list of at most {k} hits for a query", result)
        score_of: dict[Document, float] = {}
        for item in result:
            document, score = self._hit(profile, item)
            if document in score_of:
                raise self._broken("each document once", item)
            score_of[document] = score
        hits = [Hit(document, score_of[document]) for document in profile.documents if document in score_of]
        return sorted(hits, key=lambda hit: (-hit.score, hit.document.id))

    def _hit(self, profile: Profile, item: Any) -> tuple[Document, float]:
        match item:
            case {"document": dict(found), "score": int() | float() as score} if math.isfinite(score):
                return self._own(profile, found), float(score)
        raise self._broken('{"document": {"id": …}, "score": number}', item)

    def _own(self, profile: Profile, found: dict[str, Any]) -> Document:
        if "id" in found:
            own = profile.by_id.get(str(found["id"]))
        else:
            contents = found.get("contents")
            own = next((d for d in profile.documents if contents in (d.text, searchable_text(d))), None)
        if own is None:
            raise RetrievalError(
                f"{self._url} returned a document that is not in the profile of user {profile.user_id!r}: "
                f"{_short(found)}; the server must search only the profile named in 'profile_ids'"
            )
        return own

    def _broken(self, expected: str, found: object) -> RetrievalError:
        return RetrievalError(f"{self._url} should have sent {expected}; it sent {_short(found)}")


def https(url: str, **options: Any) -> Http:
    """The spec `https://host`, which arrives here as `//host`."""
    return Http(f"https:{url}", **options)


def _short(found: object, length: int = 200) -> str:
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else repr(found)
    return text if len(text) <= length else f"{text[:length]}…"
