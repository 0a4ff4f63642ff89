"""The loopback endpoint is a real one: asked by plain HTTP, it answers and fails as it was told."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Semaphore
from typing import Any
from urllib.parse import urlsplit

import pytest

from profilegym.testing import Fault, JudgeServer


def ask(server: JudgeServer, **more: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"model": "judge", "messages": [{"role": "user", "content": "Is it so?"}], **more}
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    try:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sesame"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def content(body: bytes) -> str:
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


def test_it_judges_by_what_it_is_given_and_remembers_what_it_saw() -> None:
    with JudgeServer(lambda body: {"match": len(body["messages"])}) as server:
        status, _, body = ask(server, temperature=0)

    assert (status, content(body)) == (200, '{"match": 1}')
    assert (server.requests, server.answered) == (1, 1)
    assert server.seen[0]["temperature"] == 0


def test_text_is_sent_as_it_is() -> None:
    with JudgeServer("I cannot decide.") as server:
        assert content(ask(server)[2]) == "I cannot decide."


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.TOO_MANY, 429), (Fault.TOO_MANY_FOR_NOW, 429), (Fault.ERROR, 500), (Fault.UNAVAILABLE, 503)],
)
def test_a_script_says_how_the_first_requests_fail(fault: Fault, status: int) -> None:
    with JudgeServer(script=[fault, None]) as server:
        first, headers, _ = ask(server)
        second = ask(server)[0]

    assert (first, second) == (status, 200)
    assert headers.get("Retry-After") == ("1" if fault is Fault.TOO_MANY_FOR_NOW else None)
    assert (server.requests, server.answered) == (2, 1)


def test_half_a_body_is_half_a_body() -> None:
    with JudgeServer(script=[Fault.HALF]) as server, pytest.raises(http.client.IncompleteRead):
        ask(server)


def test_a_reset_is_a_reset() -> None:
    with JudgeServer(script=[Fault.RESET]) as server, pytest.raises(ConnectionResetError):
        ask(server)


def test_a_reply_can_be_cut_or_of_another_shape_or_no_json_at_all() -> None:
    with JudgeServer(script=[Fault.MALFORMED, Fault.WRONG_SCHEMA, Fault.NO_JSON, Fault.SLOW_BODY], drip=0.0) as server:
        cut, shape, page, drip = (ask(server)[2] for _ in range(4))

    with pytest.raises(json.JSONDecodeError):
        json.loads(content(cut))
    assert "match" not in json.loads(content(shape))
    assert page.startswith(b"<html>")
    assert json.loads(content(drip))["match"] == 2


def test_a_schema_is_refused_where_it_is_told_to() -> None:
    with JudgeServer(structured=False) as server:
        assert ask(server, response_format={"type": "json_schema"})[0] == 400
        assert ask(server)[0] == 200


def test_faults_come_as_often_as_it_was_told() -> None:
    with JudgeServer(rates={Fault.ERROR: 0.25, Fault.TOO_MANY: 0.25}, seed=1) as server:
        statuses = [ask(server)[0] for _ in range(200)]

    assert 30 <= statuses.count(500) <= 70
    assert 30 <= statuses.count(429) <= 70
    assert server.answered == statuses.count(200)


def test_it_goes_away_and_comes_back_at_the_same_address() -> None:
    with JudgeServer() as server:
        url = server.url
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            ask(server)
        server.start()

        assert ask(server)[0] == 200
        assert server.url == url


def test_going_away_waits_for_nobody() -> None:
    with JudgeServer(latency=60) as server, ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, server)
        while not server.in_flight:
            time.sleep(0.001)
        server.stop()

        with pytest.raises(ConnectionResetError):
            waiting.result(timeout=10)


def knock(address: tuple[str, int], connected: Semaphore) -> None:
    """Connects until nobody listens any more; every connection must then have come to its end."""
    connections = []
    with suppress(ConnectionError):
        while True:
            connections.append(socket.create_connection(address, timeout=10))
            connected.release()
            time.sleep(0.002)  # Linux forgets connections that find the queue of a listener full
    for connection in connections:
        with connection, suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_no_connection_is_forgotten_that_comes_while_it_goes_away() -> None:
    with JudgeServer() as server, ThreadPoolExecutor() as pool:
        url, connected = urlsplit(server.url), Semaphore(0)
        knocking = [pool.submit(knock, ("127.0.0.1", url.port or 0), connected) for _ in range(4)]
        for _ in range(40):
            assert connected.acquire(timeout=10)
        server.stop()

        for one in knocking:
            one.result()
