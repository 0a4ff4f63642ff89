"""R2P's template, the monitor that leads back to it, the candidates and what is made of them."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from matching import naming

from profilegym import Question, Trajectory, load_questions, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models.scripted import Replies
from profilegym.agents.r2p_template import LEVELS, complies, deviation
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.episode_options import checked_options
from profilegym.envs.trajectory import Segment
from profilegym.errors import OptionError
from profilegym.evaluation.summary import compliance
from profilegym.studies.compliance import lesson
from profilegym.testing.agent import CHECKS
from profilegym.world.pilot.demonstrations import Habits, demonstrate

GOOD = "a drink.\nPerson: only rooibos.\nResponse: rooibos.</think>\n<answer>Rooibos.</answer>"
FULL = f"<think>\nTask: {GOOD}"


def play(spec: str, question: Question, model: Any, **options: Any) -> Trajectory:
    async def run() -> Trajectory:
        rollout = Rollout(model, make_retriever("bm25"), options=options)
        (trajectory,) = [played async for played in rollout.run([Job(question, make_agent(spec))])]
        return trajectory

    return asyncio.run(run())


def written(trajectory: Trajectory) -> str:
    return trajectory.segments[-1].text


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("spec", ["r2p", "r2p:candidates=1,interventions=0", "r2p:initial_search=false"])
def test_r2p_keeps_the_promises_of_an_agent(spec: str, check: Any) -> None:
    check.run(make_agent(spec))


def test_the_template_and_the_posts_stand_in_the_prompt(ask: Callable[..., Question]) -> None:
    model = Replies([GOOD])

    trajectory = play("r2p:candidates=1", ask(text="Which rooibos?"), model)

    (shown,) = model.seen
    assert all(f"{heading}: {about}" in shown for heading, about in LEVELS.items())
    assert "I only drink rooibos." in shown
    assert shown.endswith("<think>\nTask:")
    assert written(trajectory) == FULL


def test_who_keeps_to_the_template_is_left_alone(ask: Callable[..., Question]) -> None:
    trajectory = play("r2p:candidates=1", ask(), Replies([GOOD]))

    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == []
    assert compliance(trajectory)


@pytest.mark.parametrize(
    ("said", "then", "problem", "kept"),
    [
        ("a drink.</think>\n<answer>Tea.</answer>", "only rooibos.\nResponse: it.", "Person is missing", "a drink."),
        ("a drink.\nResponse: tea.</think>", "it.\nResponse: it.", "Person is missing before Response", "a drink."),
        ("a drink.\nPerson:\nResponse: tea.", "it.\nResponse: it.", "Person is empty", "a drink."),
        ("a drink.\nTask: more.", "it.\nResponse: it.", "Task comes again", "a drink."),
        ("a drink.</think><search>tea</search>", "it.\nResponse: it.", "Person is missing", "a drink."),
        ("a drink", "it.\nResponse: it.", "Person is missing", "a drink"),
    ],
)
def test_who_leaves_the_template_is_led_back(
    said: str, then: str, problem: str, kept: str, ask: Callable[..., Question]
) -> None:
    model = Replies([said, then + "</think>\n<answer>Rooibos.</answer>"])

    trajectory = play("r2p:candidates=1", ask(), model)

    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == [f"text 1: {problem}"]
    assert model.seen[1].endswith(f"<think>\nTask: {kept}\nI still have to say {LEVELS['Person']}.\nPerson:")
    assert trajectory.answer == "Rooibos."
    assert compliance(trajectory)


@pytest.mark.parametrize(
    "ending", ["", "</think>", "</think> Rooibos!", "</think>Well: <answer>Tea.</answer>", "<answer>Tea.</answer>"]
)
def test_a_thought_without_a_proper_answer_is_led_to_one(ending: str, ask: Callable[..., Question]) -> None:
    thought = GOOD.partition("</think>")[0]

    trajectory = play("r2p:candidates=1", ask(), Replies([thought + ending, "Rooibos.</answer>"]))

    assert trajectory.answer == "Rooibos."
    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == ["text 1: the answer is missing"]
    assert compliance(trajectory)


def test_by_default_each_part_may_be_missing_once(ask: Callable[..., Question]) -> None:
    trajectory = play(
        "r2p:candidates=1", ask(), Replies(["a drink.", "only rooibos.</person>", "it.", "Tea.</answer>"])
    )

    assert trajectory.usage is not None
    missing = ["Person is missing", "Response is missing", "the answer is missing"]
    assert trajectory.usage["interventions"] == [f"text 1: {problem}" for problem in missing]
    assert compliance(trajectory)


def test_no_more_is_corrected_than_may_be(ask: Callable[..., Question]) -> None:
    stubborn = "tea.</think>\n<answer>Tea.</answer>"

    for most in range(3):
        trajectory = play(f"r2p:candidates=1,interventions={most}", ask(), Replies([stubborn] * (most + 1)))
        assert trajectory.usage is not None
        assert len(trajectory.usage["interventions"]) == most
        assert trajectory.answer == "Tea."
        assert compliance(trajectory) is (most == 2)


def test_a_chat_model_may_repeat_what_it_goes_on_from(ask: Callable[..., Question]) -> None:
    trajectory = play("r2p:candidates=1", ask(), Replies([FULL]))

    assert written(trajectory) == FULL


def test_candidates_that_differ_are_weighed_against_each_other(ask: Callable[..., Question]) -> None:
    tea = "a drink.\nPerson: my dog.\nResponse: tea.</think><answer>Tea, <b>hot.</answer>"
    model = Replies([GOOD, tea, GOOD, "rooibos it is.</think>\n<answer>Rooibos, hot.</answer>"])

    trajectory = play("r2p", ask(), model)

    assert model.seen[3].endswith(
        "Task: a drink.\nPerson: only rooibos.\nResponse: I could say:\n1. Rooibos. (only rooibos.)\n"
        "2. Tea, &lt;b>hot. (my dog.)\n3. Rooibos. (only rooibos.)\nWhat agrees with the posts and with the others:"
    )
    assert trajectory.answer == "Rooibos, hot."
    assert trajectory.usage is not None
    assert trajectory.usage["turns"] == 4
    assert compliance(trajectory)


def test_candidates_that_agree_need_no_synthesis(ask: Callable[..., Question]) -> None:
    model = Replies([GOOD, "nothing", GOOD])

    trajectory = play("r2p:interventions=0", ask(), model)

    assert len(model.seen) == 3
    assert written(trajectory) == FULL


def test_candidates_are_weighed_after_an_earlier_turn_wrote_all_levels(ask: Callable[..., Question]) -> None:
    first = "a drink.\nPerson: unknown.\nResponse: I look it up.</think>\n<search>rooibos</search>"
    tea, rooibos = (f"So I say.</think>\n<answer>{drink}.</answer>" for drink in ("Tea", "Rooibos"))
    model = Replies([first, tea, rooibos, "rooibos.</think>\n<answer>Rooibos, hot.</answer>"])

    trajectory = play("r2p:candidates=2,initial_search=false", ask(), model)

    weighed = "I could say:\n1. Tea.\n2. Rooibos.\nWhat agrees with the posts and with the others:"
    assert model.seen[-1].endswith(f"<think>\n So I say.\n{weighed}")
    assert trajectory.answer == "Rooibos, hot."
    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == []
    assert compliance(trajectory)


def test_a_synthesis_without_an_answer_leaves_the_first_candidate(ask: Callable[..., Question]) -> None:
    tea = GOOD.replace("Rooibos.<", "Tea.<")

    trajectory = play("r2p:candidates=2,interventions=0", ask(), Replies([GOOD, tea, "both agree that"]))

    assert written(trajectory) == FULL
    assert trajectory.answer == "Rooibos."


def test_each_candidate_has_luck_of_its_own(ask: Callable[..., Question]) -> None:
    class Seeds(Replies):
        def __init__(self) -> None:
            super().__init__([GOOD] * 6)
            self.seeds: list[int | None] = []

        def open(self, question: Question, seed: int | None) -> Any:
            self.seeds.append(seed)
            return super().open(question, seed)

    model = Seeds()
    play("r2p", ask(), model)
    play("r2p", ask(), model)

    assert len(set(model.seeds[:3])) == 3
    assert model.seeds[:3] == model.seeds[3:]


def test_who_searches_for_itself_may_do_so_at_any_level(ask: Callable[..., Question]) -> None:
    model = Replies(
        [
            "a drink.</think><search>rooibos</search>",
            "only rooibos.\nResponse: it.</think><answer>Rooibos.</answer>",
        ]
    )

    trajectory = play("r2p:candidates=1,initial_search=false", ask(), model)

    assert [search.query for search in trajectory.searches] == ["rooibos"]
    assert model.seen[1].endswith("<think>\nPerson:")
    assert compliance(trajectory)


def test_an_answer_may_cite_what_it_rests_on(ask: Callable[..., Question]) -> None:
    cited = GOOD.replace("<answer>", '<answer cites="d1">')

    trajectory = play("r2p:candidates=1", ask(), Replies([cited]), cites=True)

    assert trajectory.answer == "Rooibos."
    assert trajectory.cites == ("d1",)
    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == []
    assert compliance(trajectory)


def test_who_calls_tools_may_do_so_at_any_level(ask: Callable[..., Question]) -> None:
    call = 'a drink.</think>\n<tool>{"name": "latest", "arguments": {"n": 1}}</tool>'
    model = Replies([call, "only rooibos.\nResponse: it.</think>\n<answer>Rooibos.</answer>"])

    options = checked_options({"tools": "search_profile+latest"})
    trajectory = play("r2p:candidates=1,initial_search=false", ask(), model, **options)

    assert [search.tool for search in trajectory.searches] == ["latest"]
    assert trajectory.answer == "Rooibos."
    assert trajectory.usage is not None
    assert trajectory.usage["interventions"] == []


def transcript(*texts: str) -> Sequence[Segment]:
    return [Segment("environment", "The prompt."), *(Segment("policy", text) for text in texts)]


def test_compliance_is_grammar_and_template() -> None:
    assert complies(transcript(FULL))
    assert complies(transcript(FULL.replace("\nPerson", "\n**Person**")))
    assert not complies(transcript(FULL + "\nBye."))
    assert not complies(transcript(FULL.replace("Person: ", "")))
    assert not complies(transcript("<think>I see.</think><answer>Tea.</answer>"))


def test_a_level_named_in_a_sentence_is_no_heading() -> None:
    assert deviation(FULL.replace("only rooibos", "a Task: of theirs")) is None


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("candidates=0", "candidates=0"),
        ("interventions=-1", "interventions=-1"),
        ("candidates=true", "candidates=True"),
        ("candidates=many", "candidates='many'"),
    ],
)
def test_options_that_cannot_work_are_refused(option: str, told: str) -> None:
    with pytest.raises(OptionError, match=naming(told)):
        make_agent(f"r2p:{option}")


@pytest.mark.parametrize(("gaps", "kept"), [(0.0, True), (1.0, False)])
def test_the_lessons_of_the_benchmark_keep_to_the_template_but_for_their_gaps(gaps: float, kept: bool) -> None:
    questions = load_questions("world:seed=0,users=10/train")

    for played in demonstrate(questions, Habits(), {"rag": 1.0}, seed=1):
        begun, rest = lesson(played, questions.find(played.question_id), Random(1), gaps)
        assert (deviation(begun.text.rpartition("\n\n")[2] + rest.text, searches=False) is None) is kept
