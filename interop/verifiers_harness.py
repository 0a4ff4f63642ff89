"""The chat loop of verifiers' seats, inside this process: no program is started for a turn."""

from typing import Any

import verifiers.v1 as vf

from ..agents.models.model import STOPS


class ProfileHarnessConfig(vf.HarnessConfig):
    stop: tuple[str, ...] = STOPS["tags"]


class ProfileHarness(vf.Harness[ProfileHarnessConfig]):
    """One request to the model a turn, from this process: no program is started."""

    APPENDS_SYSTEM_PROMPT = SUPPORTS_RESUME = True
    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
    ) -> Any:
        import aiohttp

        system, prompt = self.resolve_prompt(data)
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        messages = [one if isinstance(one, dict) else one.model_dump(exclude_none=True) for one in said]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        body = {"model": ctx.model, "messages": messages, "stop": list(self.config.stop)}
        headers = {"Authorization": f"Bearer {secret}"}
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{endpoint}/chat/completions", json=body, headers=headers) as reply,
        ):
            text = "" if reply.ok else await reply.text()
            return vf.ProgramResult(exit_code=0 if reply.ok else 1, stdout="", stderr=text)
