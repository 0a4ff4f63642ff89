"""`python -m profilegym.benchmarks.judge_server LATENCY [FAULTY]`: the loopback judge in a process of its own.

It prints its address, then its counts for every line it reads, and ends with its standard input.
"""

import json
import sys

from ..testing import Fault, JudgeServer

FAULTS = {Fault.TOO_MANY: 0.025, Fault.ERROR: 0.025, Fault.MALFORMED: 0.01}


def main(latency: float, faulty: bool) -> None:
    with JudgeServer(latency=latency, rates=FAULTS if faulty else None) as server:
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps({"requests": server.requests, "answered": server.answered}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), "FAULTY" in sys.argv[2:])
