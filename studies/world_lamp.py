"""What a profile is worth on the world's LaMP tasks: `python -m profilegym.studies.world_lamp [SPEC] [--json]`.

The learner sees earlier works and their outputs, and does not know how habits are drawn.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, multimode

from ..envs.retrieval import Retriever, make_retriever
from ..rewards.label_metrics import Measure, match, rating
from ..rewards.text_metrics import rouge
from ..world.data.lamp import LampUser, WorldLamp, load
from ..world.data.lamp_habits import Item
from .page import print_numbers

Past = Sequence[tuple[Item, str]]
Guess = Callable[[Item, Past], str]


def run(spec: str = "seed=7,users=400/test") -> dict[str, dict[str, float]]:
    """The mean score of each way to answer, by task."""
    train = spec.partition("/")[0] + "/train"
    measures = {"world-lamp-2": match(), "world-lamp-3": rating(), "world-lamp-5": rouge()}
    return {name: _scores(load(name, spec), load(name, train), of.measure) for name, of in measures.items()}


def _scores(asked: WorldLamp, others: WorldLamp, measure: Measure) -> dict[str, float]:
    guess, bm25 = _GUESSES[asked.name], make_retriever("bm25")
    users = [asked.user(position) for position in range(len(asked))]
    crowd = [pair for position in range(0, len(others), 4) for pair in past_of(others.user(position)[0])]
    commonest = Counter(output for _, output in crowd).most_common(1)[0][0]
    strangers = users[4:] + users[:4]  # there are four questions a person
    ways: Mapping[str, Iterable[str]] = {
        "the commonest output": [commonest] * len(users),
        "no past, but everybody else's": (_guessed(asked.name, guess, item, crowd) for _, item in users),
        "another person's past": (
            guess(item, past_of(other)) for (_, item), (other, _) in zip(users, strangers, strict=True)
        ),
        "the best hit of bm25, copied": (_copied(asked, position, bm25) for position in range(len(asked))),
        "the own past": (guess(item, past_of(user)) for user, item in users),
        "the own habit": (user.habit.output(item) for user, item in users),
    }
    references = [question.rubric.reference or "" for question in asked]
    return {
        way: mean(
            sum(measure(answer, reference).values()) for answer, reference in zip(answers, references, strict=True)
        )
        for way, answers in ways.items()
    }


def past_of(user: LampUser) -> Past:
    return [(item, user.habit.output(item)) for item in user.past]


def _guessed(name: str, guess: Guess, item: Item, crowd: Past) -> str:
    """Titles have no common form: the best guess is the subject alone."""
    return item.words["thing"] if name == "world-lamp-5" else guess(item, crowd)


def _copied(questions: WorldLamp, position: int, retriever: Retriever) -> str:
    """The output of the past work that is most similar."""
    user, item = questions.user(position)
    (hit,) = retriever.search(questions[position].profile, item.text, 1)
    return user.habit.output(user.past[int(hit.document.id)])


def _tag(item: Item, past: Past) -> str:
    """The most common output of works with both subjects, or else with either."""
    for enough in (2, 1):
        same = [output for other, output in past if len(set(item.subjects) & set(other.subjects)) >= enough]
        if same:
            return multimode(same)[0]
    return ""


def _rating(item: Item, past: Past) -> str:
    same = [int(output) for other, output in past if set(item.subjects) == set(other.subjects)]
    if not same:
        same = [int(output) for other, output in past if set(item.subjects) & set(other.subjects)]
    return str(round(mean(same)))


def _title(item: Item, past: Past) -> str:
    """The form of a title with the same subjects."""
    for other, output in past:
        if other.subjects == item.subjects:
            for word in ("thing", "place", "role"):
                output = output.replace(other.words[word], item.words[word])
                output = output.replace(other.words[word].capitalize(), item.words[word].capitalize())
            return output
    return item.words["thing"]


_GUESSES: Mapping[str, Guess] = {"world-lamp-2": _tag, "world-lamp-3": _rating, "world-lamp-5": _title}

if __name__ == "__main__":
    print_numbers(run, sys.argv[1:])
