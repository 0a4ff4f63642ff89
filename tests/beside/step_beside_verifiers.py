"""verifiers 0.4, with the openai that it asks for: the world's questions as a taskset, a task scored by an episode."""

import asyncio
from collections.abc import Iterator
from importlib.metadata import version

import verifiers.v1 as vf
from episode import play, questions


class Question(vf.Task[vf.TaskData]):
    @vf.reward
    async def score_of_an_episode(self) -> float:
        return await asyncio.to_thread(play, str(self.data.id))


class World(vf.Taskset[Question, vf.TasksetConfig]):
    def load(self) -> Iterator[Question]:
        for question in questions():
            yield Question(vf.TaskData(id=question.id, prompt=question.text), self.config.task)


async def main() -> None:
    task = next(iter(World(vf.TasksetConfig()).take(1)))
    trace = vf.Trace(task=vf.TraceTask(type="Question", data=task.data), agent=vf.AgentInfo(config=vf.AgentConfig()))
    await task.score(trace)
    assert trace.rewards["score_of_an_episode"].score == 1.0
    print(f"beside verifiers {version('verifiers')} with openai {version('openai')}: an episode stepped")


asyncio.run(main())
