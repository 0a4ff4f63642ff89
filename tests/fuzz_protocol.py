"""Coverage-guided fuzzing of the protocol. Not part of the test run:

pip install atheris
python tests/fuzz_protocol.py -max_total_time=600 -max_len=2048
"""

import sys

import atheris

with atheris.instrument_imports(include=["profilegym.envs.action", "profilegym.envs.episode"]):
    from protocol_invariants import check_action, check_episode

PIECES = [
    "<search>",
    "</search>",
    "<answer>",
    "</answer>",
    "<information>",
    "</information>",
    "<tool_call>",
    '{"name":',
]


def some_text(data: "atheris.FuzzedDataProvider") -> str:
    """Raw characters and whole tags, mixed: tags alone are too rare in raw bytes."""
    parts = []
    for _ in range(data.ConsumeIntInRange(0, 6)):
        if data.ConsumeBool():
            parts.append(PIECES[data.ConsumeIntInRange(0, len(PIECES) - 1)])
        else:
            parts.append(data.ConsumeUnicode(data.ConsumeIntInRange(0, 40)))
    return "".join(parts)


def one_input(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    turns = [some_text(data) for _ in range(data.ConsumeIntInRange(0, 5))]
    for turn in turns:
        check_action(turn)
    documents = [some_text(data) for _ in range(data.ConsumeIntInRange(1, 3))]
    check_episode(documents, some_text(data), some_text(data), turns)


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
