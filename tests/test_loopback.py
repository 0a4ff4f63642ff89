"""Sockets of servers on this machine."""

import asyncio
import socket

from profilegym._util.loopback import listen


def test_a_server_sends_the_parts_of_a_reply_without_waiting() -> None:
    found: list[int] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        await writer.wait_closed()

    async def call() -> None:
        listening = listen(0)
        async with await asyncio.start_server(note, sock=listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(call())

    assert found[0] != 0
