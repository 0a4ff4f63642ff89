"""`python -m profilegym.benchmarks.policy_server LATENCY`: the loopback policy in a process of its own.

It prints its address; for every line it reads it does what that says (`stop`, `start`) and prints its counts; it ends
with its standard input.
"""

import json
import sys
from collections.abc import Sequence

from ..testing import PolicyServer

SEARCHES = 2
LOOK = "<think>I need to know more about this person.</think><search>what they like to do</search>"
REPLY = "<think>I know enough.</think><answer>Something quiet, as they like it.</answer>"


def play(said: Sequence[tuple[str, str]]) -> str:
    """Searches twice, then answers."""
    found = sum(text.count("</information>") for _, text in said)
    return LOOK if found < SEARCHES else REPLY


class Forgetful(PolicyServer):
    """Keeps no bodies: there are many."""

    def _refused(self, path: str, body: dict[str, object]) -> None:
        self.seen.clear()


def main(latency: float) -> None:
    with Forgetful(play, latency=latency) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            if order := line.strip():
                getattr(server, order)()
            print(json.dumps({"requests": server.requests, "answered": server.answered}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
