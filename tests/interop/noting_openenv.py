"""A retriever and a judge that note what happens, and in which process, in files of a folder."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profilegym.envs.retrieval import Hit, make_retriever
from profilegym.rewards.rubric import RubricJudge

FOLDER = "PROFILEGYM_TEST_NOTES"  # names the folder in the environment
SLOW = "the slow one"


def note(file: str, text: str) -> None:
    with (Path(os.environ[FOLDER]) / file).open("a") as notes:
        notes.write(f"{text}\n")


class Retriever:
    """BM25, which takes its time for one query."""

    runs_inline = True  # so a slow search holds up its whole process

    def __init__(self) -> None:
        self._bm25: Any = make_retriever("bm25")

    def search(self, profile: Any, query: str, k: int) -> list[Hit]:
        note("searches", str(os.getpid()))
        if query == SLOW:
            time.sleep(3.0)
        found: list[Hit] = self._bm25.search(profile, query, k)
        return found

    def search_many(self, requests: Any, k: int) -> list[list[Hit]]:
        return [self.search(profile, query, k) for profile, query in requests]


class Judge(RubricJudge):
    """The rubric, by one answer at a time."""

    name = "noting"

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def score_many(self, pairs: Sequence[Any]) -> list[Any]:
        return [await self._score(*pair) for pair in pairs]

    async def _score(self, question: Any, answer: str) -> Any:
        async with self._turn:
            note("verdicts", f"begin {os.getpid()}")
            await asyncio.sleep(0.1)
            note("verdicts", f"end {os.getpid()}")
        return self.verdict_or_error(question, answer)
