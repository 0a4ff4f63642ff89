"""verifiers in `bench env`: the same episode in the cheapest form it allows, a harness inside this process.

Every turn still goes through verifiers' own server and on to a model endpoint, which is a script in another process.
So an episode takes some 15 ms, a thousand times as long as elsewhere: measure few episodes. verifiers 0.4.0 asks for an
older openai than this package, but runs with it: install the two with pip one after the other.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import verifiers.v1 as vf

from .env_systems import ACTIONS, QUESTION, Batch, bare_logic
from .server_process import serving


@contextmanager
def running(n: int) -> Iterator[Batch]:
    """A batch of n concurrent episodes, while its servers run."""
    with serving("env_model_server", *ACTIONS) as model, asyncio.Runner() as runner:
        servers = AsyncExitStack()
        try:
            agent = runner.run(_started(model.url, servers))
            yield lambda: runner.run(_play(agent, n))
        finally:
            runner.run(servers.aclose())


async def _started(url: str, servers: AsyncExitStack) -> Any:
    import aiohttp

    config = vf.AgentConfig(
        harness=vf.HarnessConfig(id="null"),
        runtime=vf.SubprocessConfig(),
        model="scripted",
        client=vf.EvalClientConfig(base_url=url, api_key_var="NO_KEY_ON_LOOPBACK"),
    )
    http = await servers.enter_async_context(aiohttp.ClientSession())
    agent = vf.make_agent(config)
    agent.harness = InProcess(config.harness, http)  # by name it would have to be a module of its own
    return await servers.enter_async_context(agent)


async def _play(agent: Any, n: int) -> None:
    task = Colour(vf.TaskData(prompt=QUESTION.text))
    traces = await asyncio.gather(*(agent.run(task) for _ in range(n)))
    for trace in traces:
        if not trace.ok or trace.reward != 1.0:
            problems = [error.message for error in trace.errors]
            raise RuntimeError(f"an episode of verifiers ended with reward {trace.reward}: {problems}")


class Colour(vf.Task[vf.TaskData, vf.State, vf.TaskConfig]):  # type: ignore[misc]
    @vf.reward  # type: ignore[untyped-decorator]
    async def exact(self, trace: Any) -> float:
        return bare_logic(trace.last_reply)[2]


class InProcess(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """The chat loop: no program is started, and nothing but the model is called."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    def __init__(self, config: Any, http: Any) -> None:
        super().__init__(config)
        self.http = http

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
    ) -> Any:
        messages = [{"role": "user", "content": data.prompt}]
        done = False
        while not done:
            body = {"model": ctx.model, "messages": messages}
            headers = {"Authorization": f"Bearer {secret}"}
            async with self.http.post(f"{endpoint}/chat/completions", json=body, headers=headers) as response:
                action = (await response.json())["choices"][0]["message"]["content"]
            observation, done, _ = bare_logic(action)
            messages += [{"role": "assistant", "content": action}, {"role": "user", "content": observation}]
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")
