"""The audit of a judge: what its word is worth."""

import asyncio
from pathlib import Path

from conftest import make_question
from test_judge import one_of, verdict

from profilegym.rewards.cache import Cache
from profilegym.rewards.judge import LLMJudge


def test_a_judge_without_its_cache_asks_the_same_model_anew(tmp_path: Path) -> None:
    script = one_of(verdict(2), verdict(0))
    judge = LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"))

    first, again = (asyncio.run(one.score(make_question(), "rooibos")).score for one in (judge, judge))
    anew = judge.uncached()

    assert anew is not None
    assert (first, again, asyncio.run(anew.score(make_question(), "rooibos")).score) == (1.0, 1.0, 0.0)
    assert LLMJudge(script, cache=Cache(tmp_path / "judge.sqlite"), offline=True).uncached() is None
