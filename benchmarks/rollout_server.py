"""`python -m profilegym.benchmarks.rollout_server LATENCY`: a policy endpoint on loopback.

It prints its address. For every line it reads, it obeys the order in it (`stop`, `start`) and prints its counts. It
ends with its standard input.
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


class ForgetfulServer(PolicyServer):
    """Keeps no request bodies: there are many."""

    def _refused(self, path: str, body: dict[str, object]) -> None:
        self.seen.clear()


def main(latency: float) -> None:
    with ForgetfulServer(play, latency=latency) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            if order := line.strip():
                getattr(server, order)()
            print(json.dumps({"requests": server.requests, "answered": server.answered}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
