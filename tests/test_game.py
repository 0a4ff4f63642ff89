"""A live game, without a screen."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

import pytest
from matching import naming

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.models.scripted import Replies, ScriptedModel
from profilegym.agents.pr2 import PR2, Unpersonalised
from profilegym.agents.rollout import Job, Rollout
from profilegym.apps.play.game import Game, GameSetup
from profilegym.apps.play.policy import LazyModel, Policy
from profilegym.apps.play.turns import matches
from profilegym.envs.episode import Episode
from profilegym.envs.episode_options import checked_options
from profilegym.errors import EpisodeError, ModelError, OptionError, RetrievalError, RewardError

DATA = "world:seed=7,users=20/test"
QUESTIONS = pg.load_questions(DATA)
T = TypeVar("T")


def run(awaited: Awaitable[T]) -> T:
    async def it() -> T:
        return await awaited

    return asyncio.run(it())


def setup(replies: Iterable[str] | None = None, agent: str = "pr2", **parts: Any) -> GameSetup:
    policy = Policy(make_agent(agent), Replies(replies)) if replies is not None else None
    made: dict[str, Any] = {
        "retriever": pg.make_retriever("bm25"), "reward": pg.make_reward("rubric"), "policy": policy
    }  # fmt: skip
    return GameSetup(**made | parts)


def with_evidence() -> pg.Question:
    return next(question for question in QUESTIONS if question.rubric.hops == 1)


def begun(at: GameSetup, **options: Any) -> Game:
    return run(Game.begin(with_evidence(), at, **options))


def test_a_person_searches_and_answers_and_is_scored_like_a_policy() -> None:
    kept: list[pg.Trajectory] = []
    game = begun(setup(keep=kept.append), id="mine", data=DATA)
    answer = game.question.rubric.aspects[0].accepted[0]

    run(game.search(game.question.text))
    run(game.answer(answer))

    (trajectory,) = kept
    assert [move.by for move in game.turns] == ["human", "human"]
    assert (trajectory.id, trajectory.agent, trajectory.model, trajectory.data) == ("mine", "human", None, DATA)
    assert (trajectory.ended, trajectory.answer, trajectory.structure_ok) == ("answered", answer, True)
    assert trajectory.verdict is not None
    assert trajectory.verdict.aspects[0].match > 0


def test_a_hit_is_shown_with_its_score_and_the_words_that_match() -> None:
    game = begun(setup())

    run(game.search("what about gardens or the cooking?"))

    (found,) = game.turns[0].found
    assert found.hits
    scores = [hit.score for hit in found.hits if hit.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == len(found.hits)
    words = {hit.line[start:end].lower() for hit in found.hits for start, end in hit.marks}
    assert words
    assert words <= {"garden", "gardens", "gardening", "cook", "cooking", "cooked", "what", "about"}
    assert game.unseen == len(game.question.profile) - len(found.hits)


def test_words_match_by_their_terms_whatever_their_endings() -> None:
    text = "My Dog's vet says that dogs — naïve ones — eat."

    found = [text[start:end] for start, end in matches("the dogs, naïve or not", text)]

    assert found == ["Dog's", "dogs", "naïve"]


def test_what_the_answer_rests_on_is_hidden_until_the_end() -> None:
    game = begun(setup())
    with pytest.raises(EpisodeError):
        game.evidence()

    run(game.answer("I don't know."))

    wanted = [(aspect.title, document) for aspect in game.question.rubric.aspects for document in aspect.documents]
    assert [(clue.aspect, clue.document_id) for clue in game.evidence()] == wanted
    assert not any(clue.found for clue in game.evidence())


def test_clues_say_which_documents_a_search_showed() -> None:
    game = begun(setup())
    (wanted, *_) = [document for aspect in game.question.rubric.aspects for document in aspect.documents]

    run(game.search(game.question.profile.by_id[wanted].text))
    run(game.answer("I don't know."))

    assert wanted in {clue.document_id for clue in game.evidence() if clue.found}


def test_a_slip_of_a_person_costs_no_turn() -> None:
    game = begun(setup(), max_searches=1)

    with pytest.raises(EpisodeError, match="search"):
        run(game.search("  "))
    with pytest.raises(EpisodeError, match="answer"):
        run(game.answer(""))
    run(game.search("dog"))
    with pytest.raises(EpisodeError, match="answer"):
        run(game.search("cat"))

    assert len(game.turns) == 1


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_an_answer_cites_at_its_end_also_on_a_line_of_its_own(between: str) -> None:
    shown, other = with_evidence().profile.documents[:2]
    game = begun(setup(), cites=True)

    run(game.answer(f"She cites: Milo.{between}cites: {shown.id}, {other.id},"))

    assert (game.episode.answer, game.episode.cites) == ("She cites: Milo.", (shown.id, other.id))


def test_a_turn_is_taken_back_even_the_one_that_ended_the_game() -> None:
    game = begun(setup())
    run(game.search("dog"))
    before = game.episode.segments
    run(game.answer("Milo"))

    with pytest.raises(EpisodeError, match="over"):
        run(game.search("cat"))
    game.undo()

    assert not game.over
    assert game.episode.segments == before
    game.undo()
    assert game.turns == ()
    with pytest.raises(EpisodeError):
        game.undo()


def test_a_branch_and_its_parent_go_on_apart() -> None:
    kept: list[pg.Trajectory] = []
    game = begun(setup(keep=kept.append), id="mine")
    run(game.search("dog"))

    first, second = game.branch(), game.branch()
    run(first.answer("Milo"))
    second.undo()
    run(second.search("cat"))

    assert (first.id, second.id, second.branch().id) == ("mine.1", "mine.2", "mine.2.1")
    assert [len(one.turns) for one in (game, first, second)] == [1, 2, 1]
    assert [(trajectory.id, trajectory.parent) for trajectory in kept] == [("mine.1", {"id": "mine", "step": 1})]
    assert second.trajectory().parent == {"id": "mine", "step": 0}
    assert game.trajectory().parent is None
    assert (game.over, second.over) == (False, False)


def test_the_policy_can_be_asked_without_its_turn_being_taken() -> None:
    at = setup(["<search>dog</search>", "<answer>Milo</answer>"])
    game = begun(at)

    asked = [run(game.ask()), run(game.ask())]
    assert asked[0] is asked[1] is game.proposal
    assert len(game.episode.segments) == 1

    run(game.take())
    assert game.turns[0].turn is asked[0]
    assert run(game.ask()).text == "<answer>Milo</answer>"


def test_a_game_of_both_says_who_moved() -> None:
    kept: list[pg.Trajectory] = []
    game = begun(setup(["<search>dog</search>"], keep=kept.append))

    run(game.take())
    run(game.answer("Milo"))

    assert (kept[0].agent, kept[0].model) == ("pr2+human", "scripted:replies")
    assert kept[0].usage is not None
    assert kept[0].usage["turns"] == 2


def test_without_a_policy_there_is_nobody_to_ask() -> None:
    game = begun(setup())

    with pytest.raises(OptionError):
        run(game.ask())


def test_a_failing_search_leaves_the_game_as_it_was() -> None:
    class Broken:
        def search(self, profile: pg.Profile, query: str, k: int) -> list[pg.Hit]:
            raise OSError("the disk is gone")

    game = begun(setup(retriever=Broken()))

    with pytest.raises(RetrievalError, match="the disk is gone"):
        run(game.search("dog"))

    assert game.turns == ()
    assert game.episode.needs == "text"


def test_an_agent_that_cannot_begin_says_why() -> None:
    class Forgetful(PR2):
        def begin(self, question: pg.Question, **options: Any) -> Episode:
            raise KeyError("memory")

    with pytest.raises(EpisodeError, match=naming("pr2", "KeyError", "memory")):
        begun(setup(policy=Policy(Forgetful(), Replies([]))))


def test_a_dead_judge_ends_the_game_unscored_and_never_at_0() -> None:
    async def dead(episodes: Sequence[Episode]) -> list[pg.Reward]:
        raise RewardError("the judge is down")

    game = begun(setup(reward=dead))

    run(game.answer("Milo"))

    assert game.episode.reward is not None
    assert game.episode.reward.total is None
    assert "the judge is down" in str(game.episode.reward.unscored)


def test_a_judge_that_is_cancelled_inside_ends_the_game_unscored() -> None:
    async def cancelled(episodes: Sequence[Episode]) -> list[pg.Reward]:
        inside = asyncio.get_running_loop().create_future()
        inside.cancel()
        return list(await inside)

    game = begun(setup(reward=cancelled))

    run(game.answer("Milo"))

    assert "was cancelled" in str(game.episode.reward and game.episode.reward.unscored)


def test_mistakes_are_corrected_and_a_game_without_an_answer_is_over_all_the_same() -> None:
    game = begun(setup(["no action"] * 5), max_searches=1)

    run(game.take())
    assert isinstance(game.turns[0].action, pg.Malformed)
    assert not game.over
    run(game.take())

    assert game.episode.ended == "budget"


def test_the_baseline_is_the_same_policy_without_the_profile_and_joins_the_record() -> None:
    kept: list[pg.Trajectory] = []
    game = begun(setup(["<answer>Anything.</answer>"], keep=kept.append))
    run(game.answer("Milo"))

    baseline = run(game.play_baseline())

    assert baseline["answer"] == "Anything."
    assert isinstance(baseline["score"], float)
    assert [trajectory.baseline for trajectory in kept] == [None, baseline]
    assert run(game.play_baseline()) is baseline


@pytest.mark.parametrize(
    ("agent", "tools", "expected"),
    [("prlm", None, make_agent("prlm").instructions), ("pr2", "search_profile+latest", "latest(n?, before?)")],
)
def test_the_baseline_reads_what_a_runs_baseline_reads(agent: str, tools: str | None, expected: str) -> None:
    model = Replies(["<answer>Anything.</answer>"] * 2)
    policy = Policy(make_agent(agent), model)
    options = checked_options({"tools": tools})
    game = begun(setup(policy=policy), **options)
    rollout = Rollout(model, game.setup.retriever, options=options)

    async def play() -> list[pg.Trajectory]:
        await game.play_baseline()
        return [one async for one in rollout.run([Job(game.question, Unpersonalised(policy.agent.instructions))])]

    run(play())

    own, of_a_run = model.seen
    assert expected in own
    assert own == of_a_run


def test_a_recorded_baseline_is_not_played_again() -> None:
    recorded = {"answer": "Tea.", "score": 0.5}
    game = Game(Episode(with_evidence()), setup(), recorded)

    assert run(game.play_baseline()) == recorded
    assert game.trajectory().baseline == recorded


def test_a_game_goes_on_with_an_episode_that_was_played_before() -> None:
    episode = Episode(with_evidence())
    episode.write("<search>dog</search>", tokens=[1, 2], logprobs=[-1.0, -2.0])
    episode.add_hits(pg.make_retriever("bm25").search(episode.question.profile, "dog", episode.fetch_k))

    game = Game(episode, setup(), by="pr2")
    run(game.answer("Milo"))

    assert [move.by for move in game.turns] == ["pr2", "human"]
    assert game.trajectory().segments[: len(episode.segments)] == episode.segments
    assert len(episode.segments) == 3
    episode.write("<answer>Rex</answer>")
    with pytest.raises(EpisodeError, match=naming(episode.id, "score", "text")):
        Game(episode, setup())


def test_an_agent_that_searches_first_opens_the_game_with_its_hits() -> None:
    game = begun(setup(["<answer>Milo</answer>"], agent="rag"))

    assert game.opening is not None
    assert game.branch().opening is game.opening
    assert game.opening.query == game.question.text
    assert game.opening.hits
    assert game.episode.searches_left == 0


def test_a_model_is_loaded_when_it_is_first_asked_and_not_before() -> None:
    game = begun(setup(policy=Policy(make_agent("pr2"), LazyModel("scripted:nobody"))))
    run(game.search("dog"))

    with pytest.raises(LookupError, match=naming("'nobody'", "oracle")):
        run(game.ask())
    assert len(game.turns) == 1

    game = begun(setup(policy=Policy(make_agent("pr2"), LazyModel("scripted:oracle"))))
    while not game.over:
        run(game.take())
    assert game.trajectory().model == "scripted:oracle"


def test_a_model_that_breaks_is_named() -> None:
    def broken(*_: object) -> str:
        raise ValueError("a wire is loose")

    game = begun(setup(policy=Policy(make_agent("pr2"), ScriptedModel("broken", broken))))

    with pytest.raises(ModelError, match=naming("scripted:broken", "ValueError: a wire is loose")):
        run(game.ask())
