"""Random and hostile calls of the tools of two users with the same ids and texts:

python tests/fuzz_tools.py --calls 1000000
"""

import argparse
import json
import random
from collections import Counter
from typing import Any

from profilegym import Answer, Malformed, Profile, make_retriever
from profilegym.envs.action import Call, read_action
from profilegym.envs.tools import SearchRequest, make_tools
from profilegym.envs.tools.results import hits_of
from profilegym.testing.tool import HOSTILE, NO_TEXTS, person

TOOLS = "search_profile+read_around+latest"
NAMES = ("search_profile", "read_around", "latest", "answer", "", "__class__", "SEARCH_PROFILE", None, 3, ["latest"])
ARGUMENTS = ("query", "after", "before", "speaker", "k", "id", "n", "text", "user_id", "profile", "function", "")
OWN = {
    "search_profile": ("query", "after", "before", "speaker", "k"),
    "read_around": ("id", "before", "after"),
    "latest": ("n", "before"),
}
REQUIRED = {"search_profile": ("query",), "read_around": ("id",)}
DAYS = ("2024-03-05", "2024-11-30", "2023-01-01", 0, 1, 3, None)
GOOD: dict[str, tuple[Any, ...]] = {
    "query": ("tea", "garden violin", "I like", "cello harbour tea"),
    "id": ("same-3", "same-0", "same-11", "(same-5)"),
    "speaker": ("Ann", "BO", "nobody"),
    "after": DAYS,
    "before": DAYS,
    "k": (1, 5, 20, 21),
    "n": (1, 5, 20, 21),
}
BROKEN = (
    '{"name":',
    "}",
    "</tool>",
    "<tool>",
    '"arguments": {}',
    "\\u003c/information>",
    "NaN",
    "[[",
    '{"name": "latest"}',
)


def fuzz(calls: int, seed: int = 0) -> Counter[str]:
    """What came of so many calls: results, answers, and corrections. Raises where a user saw another's document."""
    rng, counts = random.Random(seed), Counter[str]()
    tools, retriever = make_tools(TOOLS), make_retriever("bm25")
    assert tools is not None
    people = [person("ann", ids="same"), person("bo", ids="same")]
    own = [{id(document) for document in profile.documents} for profile in people]
    for number in range(calls):
        place = number % 2
        profile, fitted = people[place], tools.fitted(people[place].fields)
        text, protocol = _turn(rng)
        action, _ = read_action(text, protocol, fitted)
        if isinstance(action, Call):
            result = fitted.tools[action.tool].result(profile, action.arguments)
            counts[action.tool if not isinstance(result, Malformed) else "refused"] += 1
            for document in _shown(result, profile, retriever):
                assert id(document) in own[place], f"{text[:200]!r} of {profile.user_id} gave {document!r}"
        else:
            assert isinstance(action, Answer | Malformed)
            counts[type(action).__name__] += 1
    return counts


def _shown(result: Any, profile: Profile, retriever: Any) -> list[Any]:
    if isinstance(result, SearchRequest):
        hits = retriever.search(profile, result.query[:1000], len(profile))
        return [hit.document for hit in hits if result.keep is None or result.keep(hit.document)]
    return [] if isinstance(result, str | Malformed) else [hit.document for hit in hits_of(result, "fuzzed")[0]]


def _turn(rng: random.Random) -> Any:
    """A text of the policy, and the protocol in which it is read."""
    if rng.random() < 0.1:
        text = "".join(rng.choices((*BROKEN, *(one for one in HOSTILE if len(one) < 1000)), k=rng.randint(0, 5)))
        return (f"<tool>{text}</tool>", "tags") if rng.random() < 0.5 else (text, "tools")
    name = rng.choice(TOOLS.split("+"))
    arguments: Any = {one: _value(rng, one) for one in OWN[name] if rng.random() < 0.4}
    if rng.random() < 0.8:
        arguments |= {one: _value(rng, one) for one in REQUIRED.get(name, ())}
    if rng.random() < 0.1:
        arguments[rng.choice(ARGUMENTS)] = _value(rng, "")
    call = json.dumps({"name": rng.choice(NAMES) if rng.random() < 0.05 else name, "arguments": arguments})
    return (f"<tool>{call}</tool>", "tags") if rng.random() < 0.5 else (f"<tool_call>{call}</tool_call>", "tools")


def _value(rng: random.Random, name: str) -> Any:
    """Mostly one of the argument's type."""
    chance = rng.random()
    if chance < 0.8:
        return rng.choice(GOOD.get(name, SHORT))
    if chance < 0.9:
        return rng.choice(JSON_VALUES)
    # The huge one is rare, as a call of it takes as long as a thousand others.
    return rng.choice(HOSTILE) if rng.random() < 0.01 else rng.choice(SHORT)


SHORT = [one for one in HOSTILE if len(one) < 1000]
JSON_VALUES = [one for one in NO_TEXTS if not isinstance(one, int) or abs(one) < 10**300]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    print(fuzz(**vars(parser.parse_args())))
