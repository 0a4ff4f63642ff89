"""Inspect: any data set as a `Task`, with the environment as its solver, and its judge as a scorer."""

import json

from ..envs.trajectory import Kind
from ..errors import MissingExtra
from .driver import Attempt, Driver

try:
    from inspect_ai import Task, task
    from inspect_ai.agent import Agent
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageUser
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
    from inspect_ai.tool import ToolDef
    from inspect_ai.util import store
except ImportError as error:
    raise MissingExtra("a task of Inspect", "inspect") from error

from .inspect_log import scored
from .inspect_tools import closed, concluded, tools_of
from .records.inspect import OURS

_KEY = "profilegym:attempt"


@task
def profile_qa(
    data: str = "world/test",
    retriever: str = "bm25",
    reward: str = "score:rubric",
    control: bool = False,
    protocol: str = "tags",
    top_k: int = 3,
    max_searches: int = 4,
) -> Task:
    """The questions of a data set. With `control` the policy has no profile: the gain is the difference of two logs."""
    driver = Driver(data, retriever, reward, protocol=protocol, top_k=top_k, max_searches=max_searches)
    return ProfileTask(driver, "baseline" if control else "personalised").task()


class ProfileTask:
    """A task whose samples are attempts of a driver.

    With protocol "tools", the policy may be any agent of Inspect, whose final answer is the answer of the attempt:
    `ours.task(react(tools=ours.tools(), submit=AgentSubmit(answer_only=True)))`.
    """

    def __init__(self, driver: Driver, kind: Kind = "personalised") -> None:
        self.driver, self.kind, self._attempts = driver, kind, dict[str, Attempt]()  # by the uuid of the sample

    def task(self, player: Solver | Agent | None = None) -> Task:
        questions = self.driver.questions
        samples = [Sample(id=one.id, input=one.text, target=one.rubric.reference or "") for one in questions]
        in_tags = self._first().episode.protocol == "tags"
        return Task(
            dataset=MemoryDataset(samples, name=questions.spec),
            setup=self._begin(),
            solver=player or (self._play() if in_tags else generate()),
            scorer=self._score(),
            cleanup=self._forget,
            name=f"profile_qa_{self.kind}",
        )

    def tools(self) -> list[ToolDef]:
        """The tools of an attempt, for Inspect's agents."""
        return tools_of(self.driver.tools, lambda: self._attempts[store().get(_KEY)])

    def _first(self) -> Attempt:
        """An attempt that is not played, to see what all attempts have."""
        return self.driver.attempt(self.driver.questions.ids[0], self.kind)

    def _begin(self) -> Solver:
        @solver(name="profilegym_begin")
        def begin() -> Solver:
            async def solve(state: TaskState, generate: Generate) -> TaskState:
                attempt = self.driver.attempt(str(state.sample_id), self.kind, str(state.epoch))
                self._attempts[state.uuid] = attempt
                state.store.set(_KEY, state.uuid)
                state.messages = [ChatMessageUser(content=attempt.messages[0]["content"])]
                if attempt.episode.protocol == "tools":
                    state.tools = self.tools()
                return state

            return solve

        return begin()

    def _play(self) -> Solver:
        @solver(name="profilegym_play")
        def play() -> Solver:
            async def solve(state: TaskState, generate: Generate) -> TaskState:
                attempt = self._attempts[state.uuid]
                while not attempt.done:
                    state = await generate(state, tool_calls="none", stop_seqs=list(attempt.stops))
                    state.messages[-1].text = closed(state.messages[-1].text, attempt)
                    if shown := await attempt.write_async(state.messages[-1].text):
                        state.messages.append(ChatMessageUser(content=shown.strip()))
                return state

            return solve

        return play()

    def _score(self) -> Scorer:
        @scorer(metrics=[mean(), stderr()], name=OURS)
        def score() -> Scorer:
            async def of(state: TaskState, target: Target) -> Score:
                trajectory = await concluded(self._attempts[state.uuid], state.output)
                trajectory.model = str(state.model)
                state.metadata[OURS] = json.loads(trajectory.to_json())
                return scored(trajectory)

            return of

        return score()

    async def _forget(self, state: TaskState) -> None:
        self._attempts.pop(state.uuid, None)
