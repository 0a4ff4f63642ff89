"""What all conformance kits share: a check, its result, and running checks."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ProfileGymError

Run = Callable[[Any], None]
T = TypeVar("T")


class ContractViolation(ProfileGymError):
    """A broken promise; the message is the counterexample."""


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, how to keep it, and a function that raises `ContractViolation` where it finds a counterexample."""

    name: str
    promise: str
    fix: str
    run: Run


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The counterexample that a check found, or None."""

    check: Check
    counterexample: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        return self.counterexample is None


def register(checks: list[Check], name: str, promise: str, fix: str) -> Callable[[Run], Run]:
    """A decorator that adds a function to `checks`."""

    def add(run: Run) -> Run:
        checks.append(Check(name, promise, fix, run))
        return run

    return add


def examine(examined: Any, checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Runs every check, whatever the others found."""
    for check in checks:
        started = time.perf_counter()
        try:
            check.run(examined)
            counterexample = None
        except ContractViolation as violation:
            counterexample = str(violation)
        yield CheckResult(check, counterexample, time.perf_counter() - started)


def attempt(call: Callable[[], T], this: str) -> T:
    """Calls, and turns any exception into a violation by `this`."""
    try:
        return call()
    except Exception as error:
        raise ContractViolation(f"{this} raised {type(error).__name__}: {str(error)[:200]!a}") from error
