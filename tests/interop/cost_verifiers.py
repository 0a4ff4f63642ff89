"""verifiers: episodes of an environment with one seat, whose turns go through its own server to an endpoint."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from cost import ASKED, DATA, PROMPT, TURNS, compare, found, inside, right
from verifiers.v1.clients.client import ModelContext

from profilegym.interop.verifiers import ProfileEnv, ProfileEnvConfig, ProfileTasksetConfig
from profilegym.testing import PolicyServer

sys.path.append(str(Path(__file__).parent.parent.parent / "examples/profile_qa_verifiers"))
HERE = vf.SubprocessConfig()
REWARD = f"{Path(__file__).with_name('cost.py')}:Exact"


class SmallestConfig(vf.EnvConfig):
    player: vf.AgentConfig = vf.AgentConfig(runtime=HERE)


class Smallest(vf.Env[SmallestConfig]):
    async def run(self, task: Any, agents: Any) -> None:
        async with agents.player.interaction(task) as interaction:
            segment = await interaction.turn(PROMPT)
            while query := inside(segment.last_reply, "search"):
                segment = await interaction.turn(found(query))
        interaction.trace.record_reward("reward", right(inside(segment.last_reply, "answer") or ""))


def policy(said: Sequence[tuple[str, str]]) -> str:
    return TURNS[sum(role == "assistant" for role, _ in said)]


async def begun(env: Any, servers: AsyncExitStack) -> Any:
    await servers.enter_async_context(env.serving())
    return env, next(task for task in env.taskset.load() if task.key == ASKED.id)


with PolicyServer(policy) as model, asyncio.Runner() as runner:
    taskset = ProfileTasksetConfig(id="profile-qa", data=DATA, reward=REWARD)
    context = ModelContext(
        "scripted", vf.EvalClientConfig(base_url=model.url, api_key_var="NONE"), vf.SamplingConfig(max_tokens=256)
    )
    servers = AsyncExitStack()
    made = [
        runner.run(begun(env, servers))
        for env in (
            Smallest(SmallestConfig(taskset=taskset)),
            ProfileEnv(ProfileEnvConfig(taskset=taskset, with_control=False)),
        )
    ]

    def played(env: Any, task: Any) -> float:
        episode = runner.run(env.run_episode(task, context))
        assert episode.ok, [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
        (trace,) = episode.traces
        return float(trace.reward)

    compare("verifiers", lambda: played(*made[0]), lambda: played(*made[1]), 5)
    runner.run(servers.aclose())
