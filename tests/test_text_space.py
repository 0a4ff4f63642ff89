import copy
import multiprocessing
from typing import Any

import pytest
from gymnasium.vector import utils
from matching import naming

from profilegym.envs.text_space import UnicodeText

gym_memory: Any = utils  # its types know arrays only


def test_any_text_up_to_its_length_is_in_the_space() -> None:
    space = UnicodeText(5)

    assert "🙂茶\n<>" in space
    assert "" in space
    assert "longer" not in space
    assert 7 not in space


def test_samples_are_seeded_texts_of_the_space() -> None:
    one, other = UnicodeText(40, seed=3), UnicodeText(40, seed=3)

    samples = [one.sample() for _ in range(50)]

    assert samples == [other.sample() for _ in range(50)]
    assert all(sample in one for sample in samples)
    assert len(set(samples)) > 40
    assert one == other != UnicodeText(41)


@pytest.mark.parametrize("text", ["", "plain", "茶" * 100, "\ud800 alone", "\x00 first"])
def test_text_goes_through_shared_memory_unharmed(text: str) -> None:
    space = UnicodeText(100)
    memory = gym_memory.create_shared_memory(space, 2, multiprocessing)

    gym_memory.write_to_shared_memory(space, 0, "another place, longer than the text", memory)
    gym_memory.write_to_shared_memory(space, 1, "something longer that was here before", memory)
    texts = gym_memory.read_from_shared_memory(space, memory, 2)
    gym_memory.write_to_shared_memory(space, 1, text, memory)

    assert copy.deepcopy(texts) == ("another place, longer than the text", text)
    assert (texts[1], len(texts)) == (text, 2)


def test_a_text_that_does_not_fit_is_refused() -> None:
    space = UnicodeText(3)
    memory = gym_memory.create_shared_memory(space, 1, multiprocessing)

    with pytest.raises(ValueError, match=naming(4, 3)):
        gym_memory.write_to_shared_memory(space, 0, "four", memory)
