"""The targets of all benchmarks are kept or broken, and shown, in one way."""

import pytest
from rich.console import Console

from profilegym.benchmarks.measurement import at_least, at_most, show_targets

TARGETS = [
    at_most("too slow", 1.01, 1.0),
    at_most("at its bound", 1.0, 1.0),
    at_least("too few", 0.9985, 0.999),
    at_least("steps/s", 253_000.4, 220_000),
]


def test_a_claim_holds_on_its_own_side_of_the_bound_and_at_it() -> None:
    assert [target.holds for target in TARGETS] == [False, True, False, True]


def test_a_claim_as_json_names_the_side_of_its_bound() -> None:
    assert TARGETS[0].as_json() == {"name": "too slow", "value": 1.01, "at_most": 1.0, "holds": False}
    assert TARGETS[3].as_json()["at_least"] == 220_000


def test_claims_are_shown_with_value_and_bound(capsys: pytest.CaptureFixture[str]) -> None:
    show_targets(TARGETS, Console(width=120))

    assert capsys.readouterr().out.splitlines() == [
        "✗ too slow: 1.01 (at most 1.0)",
        "✓ at its bound: 1 (at most 1.0)",
        "✗ too few: 0.9985 (at least 0.999)",
        "✓ steps/s: 253,000 (at least 220,000)",
    ]
