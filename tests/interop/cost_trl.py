"""TRL's `environment_factory`: the calls that its trainer makes of an environment, without the trainer and a model."""

import asyncio
from typing import Any

from cost import ASKED, DATA, PROMPT, TURNS, Exact, compare, found, inside, right

from profilegym.interop.trl import environment_factory


class Smallest:
    def reset(self, **_: Any) -> str:
        self._reward = 0.0
        return PROMPT

    def search_profile(self, query: str) -> str:
        return found(query)

    def answer(self, text: str) -> str:
        self._reward = right(text)
        return "The episode is over."

    async def get_reward(self) -> float:
        return self._reward


CALLS = [
    ("search_profile", {"query": query})
    if (query := inside(turn, "search"))
    else ("answer", {"text": inside(turn, "answer")})
    for turn in TURNS
]
LOOP = asyncio.new_event_loop()
FACTORY = environment_factory(DATA, reward=Exact())


def played(environment: Any) -> float:
    environment.reset(question_id=ASKED.id)
    for name, arguments in CALLS:
        getattr(environment, name)(**arguments)
    return float(LOOP.run_until_complete(environment.get_reward()))


compare("TRL `environment_factory`", lambda: played(Smallest()), lambda: played(FACTORY()), 200)
