"""Token and cost accounting of an endpoint, and its budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ...envs.chat import Messages
from ...errors import BudgetSpent, EndpointError, OptionError

CHARACTERS_A_TOKEN = 4  # OpenAI's rule of thumb for English
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage so far. `cost` is None without prices, or if the endpoint did not report the usage of a reply."""

    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unreported: int = 0  # replies without a token count
    cost: float | None = None


class ReportsUsage(Protocol):
    """A parsed reply with its token counts; None where the endpoint did not report them."""

    @property
    def prompt_tokens(self) -> int | None: ...
    @property
    def completion_tokens(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """The tokens that a call may use, estimated before it is made."""

    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, messages: Messages, max_tokens: int) -> "Estimate":
        characters = sum(len(message["content"]) for message in messages)
        return cls(characters // CHARACTERS_A_TOKEN + 1, max_tokens)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class UsageLedger:
    """Sums usage, and refuses a call that could exceed the budget. Prices are per million tokens."""

    def __init__(self, price_in: float | None, price_out: float | None, budget: float | None) -> None:
        if (price_in is None) != (price_out is None):
            raise OptionError(f"price_in={price_in!r} and price_out={price_out!r}: give both or neither")
        if budget is not None and price_in is None:
            raise OptionError(f"budget={budget!r} needs price_in and price_out, the prices of a million tokens")
        self._prices = None if price_in is None or price_out is None else (price_in, price_out)
        self._budget = budget
        self._reserved = 0.0
        self._calls = self._retries = self._prompt = self._completion = self._unreported = 0

    @property
    def usage(self) -> Usage:
        cost = None if self._unreported else self.cost(self._prompt, self._completion)
        return Usage(self._calls, self._retries, self._prompt, self._completion, self._unreported, cost)

    @contextmanager
    def reserved(self, estimate: Estimate) -> Iterator[None]:
        """Reserves the possible cost of a call in flight, so that concurrent calls stay within the budget."""
        cost = self.cost(estimate.prompt_tokens, estimate.completion_tokens) or 0.0
        self._check(cost)
        self._reserved += cost
        try:
            yield
        finally:
            self._reserved -= cost

    def cost(self, prompt: int | None, completion: int | None) -> float | None:
        if self._prices is None or prompt is None or completion is None:
            return None
        return (prompt * self._prices[0] + completion * self._prices[1]) / MILLION

    def retried(self) -> None:
        self._retries += 1

    def received(self, reply: ReportsUsage) -> None:
        self._calls += 1
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            self._unreported += 1
        self._prompt += reply.prompt_tokens or 0
        self._completion += reply.completion_tokens or 0

    def _check(self, cost: float) -> None:
        if self._budget is None:
            return
        if self._unreported:
            raise EndpointError("the endpoint does not report usage, so a budget cannot be enforced: leave it out")
        spent = self.cost(self._prompt, self._completion) or 0.0
        if spent + self._reserved + cost > self._budget:
            raise BudgetSpent(
                f"budget of {self._budget:g} spent: {spent:.6g} so far, {self._reserved:.6g} set aside for calls in "
                f"flight, and the next may cost {cost:.6g}; raise the budget to go on"
            )
