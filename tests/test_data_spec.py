"""The options that any data spec may end with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching import naming

from profilegym.envs.data import load_questions
from profilegym.envs.data.spec import DataSpec, read_spec
from profilegym.errors import OptionError


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ("world", DataSpec("world")),
        ("world,leaks=question", DataSpec("world", "question")),
        ("world:seed=1/test,every=5", DataSpec("world:seed=1/test", every=5)),
        ("lamp-3:a,b=c/dev,leaks=none", DataSpec("lamp-3:a,b=c/dev", "none")),
        ("lamp-3:a/dev,leaks=none,every=2", DataSpec("lamp-3:a/dev", "none", 2)),
        ("lamp-3:a/dev,every=2,leaks=none", DataSpec("lamp-3:a/dev", "none", 2)),
        ("jsonl:a,leaks=none.jsonl", DataSpec("jsonl:a,leaks=none.jsonl")),
        ("jsonl:a,leaks=none/b", DataSpec("jsonl:a,leaks=none/b")),
        ("my.py:make,leaks=none,leaks=strict", DataSpec("my.py:make,leaks=none", "strict")),
    ],
)
def test_options_stand_at_the_very_end_of_a_spec(spec: str, read: DataSpec) -> None:
    assert read_spec(spec) == read


@given(spec=st.text(), leaks=st.sampled_from(["question", "strict", "none"]), every=st.integers(1))
def test_any_spec_can_be_followed_by_options(spec: str, leaks: str, every: int) -> None:
    assert read_spec(f"{spec}X,leaks={leaks},every={every}") == DataSpec(f"{spec}X", leaks, every)  # type: ignore[arg-type]


@pytest.mark.parametrize("every", ["0", "-1", "two", "", "٣"])
def test_a_wrong_part_is_refused(every: str) -> None:
    with pytest.raises(OptionError, match=naming(f"every={every}", "at least 1")):
        load_questions(f"world,every={every}")


def test_a_part_of_the_questions_is_spread_over_the_people() -> None:
    everything = load_questions("world:seed=3,users=200/test")
    part = load_questions("world:seed=3,users=200/test,every=5")

    assert list(part.ids) == list(everything.ids)[::5]
    assert [question.id for question in part] == list(part.ids)
    assert [part.user_of(place) for place in range(len(part))] == [question.user_id for question in part]
    assert len({question.user_id for question in part}) == 40  # all of the split
    assert part.find(part.ids[7]) == everything[35]
    assert part.first_of(part[9].user_id) in (8, 9)
    assert part.first_of("nobody") is None
    assert load_questions(part.spec).ids == part.ids
