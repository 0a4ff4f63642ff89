"""What was asked to make a user's model, kept call by call: whoever goes on after a kill asks nothing twice."""

import json
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..._util.jsonl import LineWriter
from ..models.model import Turn
from .user_model import Cost

Ask = Callable[[str], Awaitable[Turn]]


class Calls:
    """Asks `ask`, or a file of what the model `by` has said before; and sums up what it took, whenever it was paid."""

    def __init__(self, path: Path, by: str, ask: Ask) -> None:
        self._path, self._by, self._ask = path, by, ask
        self._known = _read(path)
        self._used: dict[str, dict[str, Any]] = {}

    async def __call__(self, prompt: str) -> str:
        key = blake2b(f"{self._by}\n{prompt}".encode(), digest_size=12).hexdigest()
        record = self._known.get(key)
        if record is None:
            turn = await self._ask(prompt)
            took = {name: getattr(turn, name) for name in ("prompt_tokens", "completion_tokens", "cost")}
            record = self._known[key] = {"call": key, "reply": turn.text, **took}
            with LineWriter(self._path) as file:
                file.append(json.dumps(record))
        self._used[key] = record
        reply: str = record["reply"]
        return reply

    @property
    def cost(self) -> Cost:
        """Of all that was used, each call once."""
        return Cost(len(self._used), self._sum("prompt_tokens"), self._sum("completion_tokens"), self._sum("cost"))

    def _sum(self, name: str) -> Any:
        values = [record[name] for record in self._used.values()]
        return None if None in values else sum(values)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """A line that a kill left half written is asked again."""
    known = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        known[record["call"]] = record
    return known
