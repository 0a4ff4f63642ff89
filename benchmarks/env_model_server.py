"""`python -m profilegym.benchmarks.env_model_server REPLY…`: an OpenAI-compatible endpoint with scripted replies.

It prints its address, gives the k-th reply to a conversation's k-th turn, and ends with its standard input.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any


async def serve(replies: Sequence[str]) -> None:
    from aiohttp import web

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        return web.json_response(completion(body["model"], replies[turn]))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def completion(model: str, reply: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply}
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
