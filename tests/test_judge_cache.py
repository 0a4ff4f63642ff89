import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import make_question
from matching import naming
from test_judge import ASPECTS, Script, asked, one_of, verdict

from profilegym import Verdict, make_judge
from profilegym.envs.chat import Sampling
from profilegym.errors import JudgeError
from profilegym.rewards.cache import Cache, key_of
from profilegym.rewards.judge import LLMJudge

MESSAGES = [{"role": "user", "content": "Well?"}]


def test_a_judgement_asked_twice_is_paid_once(tmp_path: Path) -> None:
    script = one_of(verdict(1))
    first = asyncio.run(LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite")).score(asked(*ASPECTS), "Rooibos."))

    again = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"), offline=True)

    assert asyncio.run(again.score(asked(*ASPECTS), "Rooibos.")) == first
    assert len(script.calls) == len(ASPECTS)


def test_a_comparison_is_paid_once_in_each_order(tmp_path: Path) -> None:
    script = one_of('{"reason": "", "better": "first"}')
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"))

    for _ in range(2):
        assert asyncio.run(judge.prefer(asked(*ASPECTS), "Rooibos.", "Oolong.")) == 1
        assert asyncio.run(judge.prefer(asked(*ASPECTS), "Oolong.", "Rooibos.")) == 1

    assert len(script.calls) == 2


def test_identical_calls_in_flight_are_one_call(tmp_path: Path) -> None:
    script = one_of(verdict(1))
    cache = Cache(tmp_path / "judge.sqlite")

    found = asyncio.run(LLMJudge(script, cache=cache).score_many([(asked(ASPECTS[0]), "Rooibos.")] * 20))

    assert [one.score for one in found if isinstance(one, Verdict)] == [0.5] * 20
    assert (len(script.calls), len(cache)) == (1, 1)


def test_a_failure_is_shared_in_flight_and_never_kept(tmp_path: Path) -> None:
    script = one_of("no", "no", verdict(2))
    cache = Cache(tmp_path / "judge.sqlite")
    judge = LLMJudge(script, cache=cache, max_replies=2)

    failed = asyncio.run(judge.score_many([(asked(ASPECTS[0]), "Rooibos.")] * 3))
    assert ([type(one) for one in failed], len(script.calls), len(cache)) == ([JudgeError] * 3, 2, 0)

    assert asyncio.run(judge.score(asked(ASPECTS[0]), "Rooibos.")).score == 1.0
    assert len(cache) == 1


def test_what_was_paid_for_before_a_failure_is_not_paid_for_again(tmp_path: Path) -> None:
    replies = {"Cups": "no"}
    script = Script(lambda prompt, _: replies.get("Cups" if "\nCups\n" in prompt else "", verdict(2)))
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"), max_replies=1)
    with pytest.raises(JudgeError, match="'no'"):
        asyncio.run(judge.score(asked(*ASPECTS), "Rooibos."))

    replies.clear()

    assert asyncio.run(judge.score(asked(*ASPECTS), "Rooibos.")).score == 1.0
    assert len(script.calls) == len(ASPECTS) + 1


def test_when_the_first_to_ask_is_cancelled_the_next_one_asks(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "judge.sqlite")
    asks = []

    async def ask() -> str:
        asks.append(asyncio.current_task())
        await asyncio.sleep(0 if len(asks) > 1 else 3600)
        return "yes"

    async def first_is_cancelled() -> str:
        first, second = (asyncio.create_task(cache.get(b"key", ask)) for _ in range(2))
        while not asks:
            await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(asyncio.wait_for(first_is_cancelled(), 10)) == "yes"
    assert len(asks) == 2


def test_offline_only_the_cache_answers(tmp_path: Path) -> None:
    script = one_of(verdict(1))
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"), offline=True)

    with pytest.raises(JudgeError, match=naming(tmp_path / "judge.sqlite", "openai:script")):
        asyncio.run(judge.score(asked(*ASPECTS), "Rooibos."))
    assert script.calls == []


def test_connections_of_threads_that_ended_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noted(sqlite3.Connection):
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            opened.append(self)

        def close(self) -> None:
            super().close()
            opened.remove(self)

    opened: list[Noted] = []
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Noted))
    cache = Cache(tmp_path / "judge.sqlite")

    for _ in range(20):
        thread = threading.Thread(target=len, args=(cache,))
        thread.start()
        thread.join()

    assert len(opened) <= 2
    assert len(cache) == 0
    cache.close()
    assert opened == []


def test_two_threads_may_close_the_same_connections_of_ended_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            closed.append(self)
            if len(closed) == 1:
                in_new_threads(len, [cache])

    def in_new_threads(work: Callable[[Any], object], values: Sequence[object]) -> None:
        with ThreadPoolExecutor(len(values)) as pool:
            list(pool.map(work, values))

    closed: list[Interrupted] = []
    both_are_open = threading.Barrier(2)
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Interrupted))
    cache = Cache(tmp_path / "judge.sqlite")
    in_new_threads(lambda _: (len(cache), both_are_open.wait()), [1, 2])

    in_new_threads(len, [cache])

    assert len(closed) == 2


def test_an_option_may_hold_what_a_spec_could_not(tmp_path: Path) -> None:
    path = tmp_path / "a,b=c.sqlite"

    make_judge("openai:judge", cache=str(path), base_url="http://127.0.0.1:9/v1", api_key="none")

    assert path.is_file()


def test_whatever_changes_the_call_changes_the_key() -> None:
    key = key_of("m", "p", Sampling(), MESSAGES)

    others = {
        key_of("other", "p", Sampling(), MESSAGES),
        key_of("m", "other", Sampling(), MESSAGES),
        key_of("m", "p", Sampling(seed=1), MESSAGES),
        key_of("m", "p", Sampling(), [{"role": "user", "content": "Well!"}]),
    }
    assert len(others | {key}) == 5
    assert key_of("m", "p", replace(Sampling()), [{"content": "Well?", "role": "user"}]) == key


def test_another_answer_or_question_is_another_judgement(tmp_path: Path) -> None:
    script = one_of(verdict(1))
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"))
    question = asked(ASPECTS[0])

    pairs = [(question, "Rooibos."), (question, "Oolong."), (replace(question, text="And now?"), "Rooibos.")]
    asyncio.run(judge.score_many([*pairs, (replace(make_question(), rubric=asked(ASPECTS[1]).rubric), "Rooibos.")]))

    assert len(script.calls) == 4


@pytest.mark.slow
def test_threads_and_processes_write_together_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    code = (
        "import sys; from profilegym.rewards.cache import Cache; cache = Cache(sys.argv[1])\n"
        "for i in range(100): cache.store(f'{sys.argv[2]}{i}'.encode(), 'x')"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    cache = Cache(path)

    def write(name: str) -> None:
        for i in range(100):
            cache.store(f"{name}{i}".encode(), name)

    threads = [threading.Thread(target=write, args=[name]) for name in "cde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [process.wait() for process in processes] == [0, 0]
    assert len(cache) == 500
    assert cache.look_up(b"e99") == "e"


@pytest.mark.slow
def test_a_killed_process_loses_no_reply_that_it_stored(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite"
    code = (
        "import os, signal, sys; from profilegym.rewards.cache import Cache; cache = Cache(sys.argv[1])\n"
        "for i in range(50): cache.store(str(i).encode(), 'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )

    killed = subprocess.run([sys.executable, "-c", code, str(path)])

    assert killed.returncode == -signal.SIGKILL
    assert len(Cache(path)) == 50


@pytest.mark.slow
def test_a_forked_process_has_a_connection_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os, sqlite3, sys; from profilegym.rewards.cache import Cache\n"
        "by = []; sys.addaudithook(lambda event, given: event == 'sqlite3.connect' and by.append(os.getpid()))\n"
        "cache = Cache(sys.argv[1]); cache.store(b'a', 'x'); child = os.fork()\n"
        "if not child: cache.store(b'b', 'y'); os._exit(by[-1] != os.getpid())\n"
        "assert os.waitpid(child, 0)[1] == 0; assert cache.look_up(b'b') == 'y'; assert by == [os.getpid()]"
    )

    subprocess.run([sys.executable, "-c", code, str(tmp_path / "judge.sqlite")], check=True)


def test_the_first_reply_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "judge.sqlite")

    cache.store(b"key", "first")
    cache.store(b"key", "second")

    assert cache.look_up(b"key") == "first"


@pytest.mark.parametrize("content", [b"this is no database at all, whatever its name says" * 100, None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "judge.sqlite"
    if content is None:  # a database of something else
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE replies (other TEXT)")
        connection.close()
    else:
        path.write_bytes(content)

    with pytest.raises(JudgeError, match=naming(path)):
        Cache(path)


def test_a_closed_cache_opens_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "judge.sqlite")
    cache.store(b"key", "text")

    cache.close()

    assert cache.look_up(b"key") == "text"


def test_a_reply_in_the_cache_that_holds_no_verdict_is_an_error(tmp_path: Path) -> None:
    judge = LLMJudge(one_of(verdict(1)), cache=Cache(tmp_path / "judge.sqlite"))
    asyncio.run(judge.score(asked(ASPECTS[0]), "Rooibos."))
    with sqlite3.connect(tmp_path / "judge.sqlite") as connection:
        connection.execute("UPDATE replies SET text = 'nonsense'")
    connection.close()

    with pytest.raises(JudgeError, match="'nonsense'"):
        asyncio.run(judge.score(asked(ASPECTS[0]), "Rooibos."))
