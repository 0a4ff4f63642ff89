"""`profilegym explain`: RPM's model of one user."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .._util.counted import counted
from .._util.terminal import printable
from ..agents.agent import ModelHandle
from ..agents.models.model import make_model
from ..agents.rollout import DEFAULT_SAMPLING
from ..agents.rpm.agent import RPM
from ..agents.rpm.store import UserModelStore
from ..agents.rpm.user_model import Cost, Memory, UserModel
from ..envs.data import load_questions
from ..envs.question import Question
from ..errors import DataError

_SHOWN = 3  # memories, and responses of a factor
_BAR = 10  # columns


def run_explain(user_id: str, models: Path, data: str | None, model: str | None, as_json: bool = False) -> None:
    """Print the user's saved models; with `data`, the one of the posts in it, built by `model` if missing."""
    if data is None:
        users = UserModelStore(models).of_user(user_id)
    else:
        question = _asked_by(user_id, data)
        users = [
            asyncio.run(_made(question, models, model)) if model else UserModelStore(models).find(question.profile)
        ]
    if not users:
        wanted = "build it with --data DATA --model MODEL"
        raise DataError(f"{str(models)!r} has no model of user {user_id!r}: {wanted}, or name another folder, --models")
    if as_json:
        Console().print_json(data={"models": [asdict(user) for user in users]}, ensure_ascii=False)
    else:
        Console().print(*map(_explained, users), sep="\n\n")


def _asked_by(user_id: str, data: str) -> Question:
    questions = load_questions(data)
    found = next((question for question in questions if question.user_id == user_id), None)
    if found is None:
        raise DataError(f"no user {user_id!r} asks in {data}; the first who does is {questions[0].user_id!r}")
    return found


async def _made(question: Question, models: Path, spec: str) -> UserModel:
    agent, model = RPM(str(models)), make_model(spec)
    try:
        episode = agent.begin(question)
        return await agent.user_model(episode, ModelHandle(model, episode, DEFAULT_SAMPLING))
    finally:
        await model.close()


def _explained(user: UserModel) -> Group:
    return Group(
        _line("bold", f"{user.user_id}: {len(user.memories)} past texts, {len(user.factors)} factors"),
        _line("dim", f"read by {user.by} in {_took(user.cost)}"),
        _choices(user) if user.choices else _influences(user),
        _line("bold", "how this person comes to a response"),
        *(Padding(Group(*_reasoned(memory)), (0, 0, 1, 2)) for memory in user.memories[:_SHOWN]),
    )


def _took(cost: Cost) -> str:
    told = [counted(cost.calls, "call")]
    told += [f"{cost.prompt_tokens:,} tokens read"] if cost.prompt_tokens is not None else []
    told += [f"{cost.completion_tokens:,} written"] if cost.completion_tokens is not None else []
    told += [f"${cost.cost:.4f}"] if cost.cost is not None else []
    return ", ".join(told)


def _choices(user: UserModel) -> Table:
    """The responses that go with each factor, beside all responses of the user."""
    table = _table("factor", "features", "seen")
    table.add_column("responses, commonest first")
    every = Counter(memory.response for memory in user.memories if memory.response is not None)
    shares = {response: count / every.total() for response, count in every.most_common()}
    table.add_row(Text("(all)", "dim"), "", f"{len(user.memories)}", _shares(shares), end_section=True)
    for factor in sorted(user.factors, key=lambda factor: -factor.statistics.count):
        of = factor.statistics
        table.add_row(*_named(factor.name, factor.features), f"{of.count}", _shares(of.propensity or {}))
    return table


def _influences(user: UserModel) -> Table:
    """Coverage, influence and polarity of each factor."""
    table = _table("factor", "features", "seen")
    for name in ("coverage", "influence", "polarity"):
        table.add_column(name)
    for factor in sorted(user.factors, key=lambda factor: -(factor.statistics.influence or 0.0)):
        of = factor.statistics
        named = _named(factor.name, factor.features)
        table.add_row(*named, f"{of.count}", _bar(of.coverage), _bar(of.influence), _bar(of.polarity, "+"))
    return table


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head == "seen" else "left")
    return table


def _named(name: str, features: tuple[str, ...]) -> tuple[Text, Text]:
    return Text(printable(name), "bold"), Text(printable(", ".join(features)), "dim")


def _shares(shares: Mapping[str, float]) -> Text:
    parts = [f"{response} {'█' * round(_BAR * share)} {share:.0%}" for response, share in [*shares.items()][:_SHOWN]]
    return Text(printable("   ".join(parts)))


def _bar(value: float | None, sign: str = "") -> Text:
    """Blue for positive values, red for negative ones."""
    if value is None:
        return Text("not known", "dim")
    return Text.assemble(f"{value:{sign}.2f} ", ("█" * round(_BAR * abs(value)), "red" if value < 0 else "blue"))


def _reasoned(memory: Memory) -> Iterator[Text]:
    yield _line("default", memory.text)
    for feature in memory.features:
        yield _line("dim", f"  {feature}")
    if memory.response is not None:
        yield Text.assemble((printable(memory.path), "italic"), " → ", (printable(memory.response), "bold"))


def _line(style: str, text: str) -> Text:
    return Text(printable(text), style)
