"""An evaluator LLM judges one answer, aspect by aspect; asked again, it is not paid again.

    python examples/judge_one_answer.py

The evaluator here is a scripted endpoint on this machine, so its opinions are no opinions: it finds an aspect covered
where the answer holds a word of its title. With a real one: its model's name and OPENAI_API_KEY, and OPENAI_BASE_URL
where it is not OpenAI's own. It needs pip install 'profilegym[endpoint]'.
"""

import asyncio
import tempfile
from pathlib import Path

import profilegym as pg
from profilegym.testing import JudgeServer

ANSWER = "For Petulo, cook without walnuts."


def opinion(body: dict[str, object]) -> dict[str, object]:
    covered = "The name of" in str(body["messages"])
    return {"reason": "scripted: only names are looked for", "match": 2 if covered else 0}


async def main(cache: Path) -> None:
    question = pg.load_questions("world:seed=7,users=50/test").find("world-7-000007-0")
    with JudgeServer(opinion) as server:
        endpoint = pg.Endpoint("scripted", base_url=server.url, api_key="none")
        async with pg.LLMJudge(endpoint, cache=pg.Cache(cache)) as judge:
            verdict = await judge.score(question, ANSWER)
            asked = server.requests
            again = await judge.score(question, ANSWER)

    print(f"question  {question.text}\nanswer    {ANSWER}\njudge     {verdict.judge}, score {verdict.score:.3f}")
    for aspect in verdict.aspects:
        print(f"  {aspect.match} of 2  {aspect.title}: {aspect.reason}")
    print(
        f"calls     {asked}, and {server.requests - asked} more when asked again: the same verdict: {again == verdict}"
    )


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(Path(folder) / "judge.sqlite"))
