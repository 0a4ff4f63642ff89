"""skyrl-gym: its own search environment, whose requests to a server are answered by the same BM25 in this process."""

from typing import Any

import older_python  # noqa: F401
import skyrl_gym
from cost import ANSWER, ASKED, DATA, PROMPT, TURNS, Exact, compare, found
from skyrl_gym.envs.search.env import SearchEnvConfig
from skyrl_gym.tools.core import ToolGroup, tool

from profilegym.interop import skyrl


class Local(ToolGroup):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("SearchToolGroup")

    @tool  # type: ignore[untyped-decorator]
    def search(self, query: str) -> str:
        return found(query)


def played(env: Any) -> float:
    env.init([{"role": "user", "content": PROMPT}])
    for turn in TURNS:
        output = env.step(turn)
    assert output["done"]
    return float(output["reward"])


def smallest() -> float:
    extras = {"reward_spec": {"ground_truth": {"target": ANSWER}}, "max_turns": 9}
    env = skyrl_gym.make("search", env_config=SearchEnvConfig(), extras=extras)
    env.init_tool_groups([Local()])
    return played(env)


def ours() -> float:
    return played(skyrl_gym.make(skyrl.NAME, env_config=None, extras={"question_id": ASKED.id}))


skyrl.register(DATA, reward=Exact())
compare("SkyRL", smallest, ours, 200)
