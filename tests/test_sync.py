"""The loop behind everything that waits for something async: it ends with its process, and not before its work."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from profilegym._util.sync import awaiting_plug_in, in_thread, run_sync
from profilegym.testing import JudgeServer

JUDGING = """
import gc, logging, sys
import profilegym as pg
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a busy machine is slow, and in development mode says so
question = pg.Question("q", "u", "What?", pg.Profile("u", ()), pg.Rubric("", (pg.Aspect("Tea"),)))
address = {"base_url": sys.argv[1], "api_key": "none", "cache": sys.argv[2]}

def score():
    episode = pg.Episode(question)
    episode.write("<answer>Rooibos.</answer>")
    reward = pg.make_reward(f"score:openai:judge,{','.join(f'{k}={v}' for k, v in address.items())}")
    return reward, pg.envs.reward.rewards_of(reward([episode]))[0].total
"""


def run(code: str, server: JudgeServer, cache: Path) -> str:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", JUDGING + code, server.url, str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("code", ["kept, total = score(); print(total)", "print(score()[1]); gc.collect()"])
def test_an_endpoint_that_nobody_closed_is_closed_when_it_is_forgotten_or_the_process_ends(
    code: str, tmp_path: Path
) -> None:
    with JudgeServer() as server:
        assert run(code, server, tmp_path / "judge.sqlite") == "1.0\n"


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["", "kept = "])
def test_an_endpoint_that_nobody_closed_leaves_no_warning_behind_a_loop_of_the_user_s_own(
    kept: str, tmp_path: Path
) -> None:
    code = (
        "import asyncio\n"
        "async def main():\n"
        "    global kept\n"
        "    judge = pg.make_judge('openai:judge', **address)\n"
        "    print((await judge.score(question, 'Rooibos.')).score)\n"
        f"    {kept}judge\n"
        "asyncio.run(main())"
    )

    with JudgeServer() as server:
        assert run(code, server, tmp_path / "judge.sqlite") == "1.0\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_waits_on_a_loop_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os, warnings; print(score()[1], flush=True); address['cache'] += '2'\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # Python 3.12 warns of forking beside threads\n"
        "if not (child := os.fork()): print(score()[1])\n"
        "else: assert os.waitpid(child, 0)[1] == 0"
    )

    with JudgeServer() as server:
        assert run(code, server, tmp_path / "judge.sqlite") == "1.0\n1.0\n"

    assert server.answered == 2


def test_waiting_on_the_loop_that_is_waited_for_is_an_error_and_no_deadlock() -> None:
    async def nothing() -> None:
        pass

    async def work() -> None:
        run_sync(nothing())

    with pytest.raises(RuntimeError, match="rewards_of"):
        run_sync(work())


def test_a_loop_of_the_user_s_own_may_wait_for_the_background_one() -> None:
    async def one() -> int:
        return 1

    async def work() -> int:
        return run_sync(one())

    assert asyncio.run(work()) == 1


def test_plain_code_in_a_thread_lets_the_loop_go_on_and_is_called_once_at_a_time() -> None:
    inside, most, go_on = 0, 0, threading.Event()

    def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        assert go_on.wait(10)
        inside -= 1

    async def both() -> None:
        calls = asyncio.gather(in_thread(work), in_thread(work))
        await asyncio.sleep(0)
        go_on.set()
        await calls

    asyncio.run(both())

    assert most == 1


def test_plain_code_in_a_thread_may_wait_for_more_of_its_kind() -> None:
    def outer() -> int:
        return run_sync(asyncio.wait_for(in_thread(lambda: 1), 10))

    assert run_sync(in_thread(outer)) == 1


def test_a_function_that_raises_stop_iteration_in_a_thread_is_not_waited_for_for_ever() -> None:
    def work() -> int:
        return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        run_sync(asyncio.wait_for(in_thread(work), 10))


def test_a_cancelled_task_that_awaits_a_plug_in_is_still_cancelled() -> None:
    async def work() -> None:
        with awaiting_plug_in():
            await asyncio.sleep(60)

    async def cancel() -> bool:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancel())
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(work(), 0.01))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process started in the background of a shell ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_stops_waiting_ends_the_work() -> None:
    ended, waiting, me = threading.Event(), threading.Condition.wait.__code__, threading.get_ident()

    async def work() -> None:
        while sys._current_frames()[me].f_code is not waiting:
            await asyncio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        run_sync(work())

    assert ended.wait(10)
