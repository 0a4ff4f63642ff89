"""openenv 0.10: the environment behind OpenEnv's own server, stepped over its WebSocket as its clients do."""

from importlib.metadata import version
from typing import Any

import gymnasium as gym
from episode import DATA, questions, right_answer
from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app
from starlette.testclient import TestClient


class Write(Action):
    text: str


class Shown(Observation):
    text: str


class Asking(Environment[Write, Shown, State]):
    def __init__(self) -> None:
        super().__init__()
        self._env = gym.make("profilegym/ProfileQA-v0", data=DATA, retriever="bm25", reward="rubric")
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Shown:
        self._state = State(episode_id=episode_id)
        return Shown(text=self._env.reset(seed=seed, options=options)[0])

    def step(self, action: Write, timeout_s: float | None = None, **_: Any) -> Shown:
        text, reward, terminated, truncated, _ = self._env.step(action.text)
        return Shown(text=text, done=terminated or truncated, reward=float(reward))

    @property
    def state(self) -> State:
        return self._state


asked = questions()[0].id
with TestClient(create_fastapi_app(Asking, Write, Shown)) as client, client.websocket_connect("/ws") as server:

    def tell(kind: str, **data: Any) -> dict[str, Any]:
        server.send_json({"type": kind, "data": data})
        reply: dict[str, Any] = server.receive_json()
        assert reply["type"] == "observation", reply
        return dict(reply["data"])

    first = tell("reset", seed=7, question_id=asked)
    found = tell("step", text="<search>food</search>")
    last = tell("step", text=f"<answer>{right_answer(asked)}</answer>")

assert questions()[0].text in first["observation"]["text"], first
assert "<information>" in found["observation"]["text"], found
assert (last["done"], last["reward"]) == (True, 1.0), last
print(f"beside openenv {version('openenv')} with openai {version('openai')}: an episode stepped")
