"""Sessions spread over processes: who gets them, and what becomes of them when a client or a worker goes."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fleet_runs import PATIENCE, is_gone
from matching import naming
from toy_sessions import Client, broken, make

from profilegym.errors import FleetError
from profilegym.fleet.local import LocalPool
from profilegym.fleet.sessions import Front

pytestmark = pytest.mark.slow


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "elsewhere"})


@asynccontextmanager
async def served(folder: Path, workers: int = 2, most: int = 8, idle: float = PATIENCE) -> AsyncIterator[Front]:
    with LocalPool(workers) as pool:
        front = Front(elsewhere, pool, make, folder, most, idle)
        await asyncio.to_thread(front.start)
        replacing = asyncio.create_task(front.replace())
        try:
            async with asyncio.timeout(PATIENCE):
                yield front
        finally:
            replacing.cancel()
            await asyncio.gather(replacing, return_exceptions=True)


async def where(clients: list[Client]) -> list[int]:
    return [int(await client.tell("where")) for client in clients]


async def error_of(client: Client) -> Any:
    told = json.loads(await client.reply())
    await client.session
    assert client.replies.get_nowait()["type"] == "websocket.close"
    return told


def test_sessions_are_spread_evenly_and_each_stays_where_it_is(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as front:
            clients = [Client(front) for _ in range(4)]
            places = await where(clients)

            assert sorted(map(places.count, set(places))) == [2, 2]
            assert os.getpid() not in places
            assert await where(clients) == places

    asyncio.run(play())


def test_a_client_that_goes_frees_its_place_even_in_the_middle_of_a_request(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path, workers=1, most=2) as front:
            waiting, other = Client(front), Client(front)
            assert await other.tell("open") == "2"
            waiting.ask("hang")
            await waiting.leave()

            assert front.sessions == [1]
            assert await other.tell("open") == "1"
            other.ask("end")
            await other.session
            assert front.sessions == [0]

    asyncio.run(play())


def test_the_next_session_goes_to_the_worker_that_has_fewest(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as front:
            first, second, third = clients = [Client(front) for _ in range(3)]
            places = await where(clients)
            await second.leave()
            await Client(front).tell("where")
            latest = Client(front)

            assert await where([latest]) == [places[1]]
            assert await where([first, third]) == [places[0], places[2]]
            assert front.sessions == [2, 2]

    asyncio.run(play())


def test_a_session_that_waits_holds_up_no_other(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as front:
            stopped, other = clients = [Client(front) for _ in range(2)]
            places = await where(clients)
            os.kill(places[0], signal.SIGSTOP)
            stopped.ask("where")

            assert await where([other] * 5) == [places[1]] * 5
            os.kill(places[0], signal.SIGCONT)
            assert await stopped.reply() == str(places[0])

    asyncio.run(play())


def test_a_killed_worker_ends_its_sessions_with_an_error_and_is_replaced(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path) as front:
            asking, other, idle = clients = [Client(front) for _ in range(3)]
            places = await where(clients)
            asking.ask("hang")
            os.kill(places[0], signal.SIGKILL)
            at_once = await where([Client(front)])

            for client in (asking, idle):
                told = await error_of(client)
                assert (told["type"], told["data"]["code"]) == ("error", "SESSION_ERROR")
            assert at_once == [places[1]] == await where([other])
            async with asyncio.timeout(60):  # its death is noticed after the end of its sessions
                new = places[1]
                while new == places[1]:
                    client = Client(front)
                    (new,) = await where([client])
                    await client.leave()
            assert new not in places

    asyncio.run(play())


def test_with_one_worker_a_new_session_waits_until_the_worker_is_replaced(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path, workers=1) as front:
            (place,) = await where([Client(front)])
            os.kill(place, signal.SIGKILL)

            (new,) = await where([Client(front)])

            assert new != place

    asyncio.run(play())


def test_a_session_too_many_is_refused_until_another_ends(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path, workers=1, most=1) as front:
            first = Client(front)
            await first.tell("where")

            assert (await error_of(Client(front)))["data"]["code"] == "CAPACITY_REACHED"
            await first.leave()
            assert await Client(front).tell("open") == "1"

    asyncio.run(play())


def test_an_idle_session_ends_and_one_that_waits_for_its_reply_does_not(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path, workers=1, idle=0.5) as front:
            waiting, idle = Client(front), Client(front)
            waiting.ask("hang")

            told = await error_of(idle)

            assert told["data"]["code"] == "SESSION_ERROR"
            assert not waiting.session.done()
            assert front.sessions == [1]

    asyncio.run(play())


def test_what_is_no_session_is_answered_by_the_first_process(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(tmp_path, workers=1) as front:
            for scope in (
                {"type": "http", "path": "/health"},
                {"type": "websocket", "path": "/ws/ui", "query_string": b""},
                {"type": "websocket", "path": "/ws", "query_string": b"session_id=1"},
            ):
                replies = asyncio.Queue[Any]()
                await front(scope, asyncio.Queue[Any]().get, replies.put)
                assert replies.get_nowait() == {"type": "elsewhere"}

    asyncio.run(play())


def test_what_hinders_the_workers_is_an_error_at_the_start(tmp_path: Path) -> None:
    with LocalPool(1) as pool, pytest.raises(FleetError, match=naming("no data")):
        Front(elsewhere, pool, broken, tmp_path, 1, 1.0).start()


def test_no_worker_is_left_when_the_server_ends(tmp_path: Path) -> None:
    async def play() -> list[int]:
        async with served(tmp_path) as front:
            return await where([Client(front) for _ in range(2)])

    places = asyncio.run(play())

    assert len(set(places)) == 2
    assert all(map(is_gone, places))
