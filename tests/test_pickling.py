"""What goes to other processes by pickle: parts, environments and their specs."""

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import profilegym as pg
from profilegym._util.lru import Lru
from profilegym._util.sync import run_sync
from profilegym.envs.data.jsonl import write_jsonl
from profilegym.envs.profile_qa import ProfileQAEnv
from profilegym.envs.retrieval.bm25 import postings
from profilegym.envs.retrieval.store import StoreWriter, encode
from profilegym.envs.reward import rewards_of
from profilegym.rewards.rubric import RubricJudge

ID = "profilegym/ProfileQA-v0"
DATA = "world:users=10"


def again(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def finished(question: pg.Question) -> pg.Episode:
    episode = pg.Episode(question)
    episode.write("<search>dog</search>")
    episode.add_hits(pg.make_retriever("bm25").search(question.profile, "dog", episode.fetch_k))
    episode.write(f"<answer>{question.rubric.reference}</answer>")
    return episode


@pytest.mark.parametrize("made", [again, copy.deepcopy, copy.copy])
def test_a_copy_of_a_cache_is_empty_and_as_large(made: Any) -> None:
    cache: Lru[str, int] = Lru(1)
    cache.put("a", 1)

    other = made(cache)
    other.put("b", 2)
    other.put("c", 3)

    assert (other.get("a"), other.get("b"), other.get("c"), cache.get("a")) == (None, None, 3, 1)


@pytest.mark.parametrize(
    "spec",
    [
        "bm25:k1=1.2,b=0.5",
        "bm25:context=1,window=1",
        "random:seed=3",
        "recency",
        "hybrid:bm25+recency",
        "http:http://127.0.0.1:1/x",
    ],
)
def test_a_retriever_ranks_as_before_in_another_process(spec: str) -> None:
    question = pg.load_questions(DATA)[0]
    retriever = pg.make_retriever(spec)
    copied = again(retriever), copy.deepcopy(retriever)

    if not spec.startswith("http"):
        expected = retriever.search(question.profile, question.text, 5)
        assert [one.search(question.profile, question.text, 5) for one in copied] == [expected] * 2


@pytest.mark.parametrize("name", ["mine", "2024"])
def test_a_store_is_opened_anew_whatever_its_folder_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = pg.load_questions(DATA)[0]
    with StoreWriter(tmp_path / name) as writer:
        writer.add(question.profile.digest, encode(postings(question.profile)))
    monkeypatch.chdir(tmp_path)

    stored, fresh = again(pg.make_retriever(f"bm25:store={name}")), pg.make_retriever("bm25")

    assert stored.search(question.profile, "dog", 3) == fresh.search(question.profile, "dog", 3)


@pytest.mark.parametrize("spec", [DATA, "world-lamp-2:users=10", "world-lamp-3:users=10", "world-lamp-5:users=10"])
def test_a_data_set_holds_the_same_questions_in_another_process(spec: str) -> None:
    questions = pg.load_questions(spec)
    first = questions[0]

    assert again(questions)[0] == first
    assert list(again(questions).ids) == list(questions.ids)
    assert copy.deepcopy(questions) is questions


def test_questions_of_a_file_or_a_list_go_along(tmp_path: Path) -> None:
    some = pg.load_questions(DATA)[:3]
    write_jsonl(some, tmp_path / "some.jsonl")

    assert list(again(pg.load_questions(f"jsonl:{tmp_path / 'some.jsonl'}"))) == some
    assert list(again(pg.QuestionList(some))) == some


@pytest.mark.parametrize(
    "spec",
    [
        *("none", "rubric", "score", "score:rubric", "structure", "penalty", "match", "evidence", "cost:search=0.1"),
        *("pr2", "compose:1*score:rubric+0.1*structure", "tagpr:score:rubric,prmu=match", "tag_format", "tag_set"),
    ],
)
def test_a_reward_gives_the_same_in_another_process(spec: str) -> None:
    reward, episode = pg.make_reward(spec), finished(pg.load_questions(DATA)[0])

    assert rewards_of(again(reward)([again(episode)])) == rewards_of(reward([episode]))


@pytest.mark.parametrize("spec", ["rouge", "rouge:1+2+L,stemmer=true", "bleu", "meteor:synonyms=false"])
def test_a_reward_by_overlap_gives_the_same_in_another_process(spec: str) -> None:
    for package in ("rouge_score", "sacrebleu", "nltk"):
        pytest.importorskip(package)

    test_a_reward_gives_the_same_in_another_process(spec)


def test_a_judge_and_an_agent_go_along() -> None:
    episode = finished(pg.load_questions(DATA)[0])

    assert run_sync(again(RubricJudge()).score(episode.question, episode.answer or "")).score == 1.0
    for name in ("none", "rag", "plan", "pr2", "prlm", "tagpr", "r2p", "rpm"):
        assert again(pg.make_agent(name)).name == pg.make_agent(name).name


def test_an_episode_goes_on_in_another_process() -> None:
    episode = pg.Episode(pg.load_questions(DATA)[0])
    episode.write("<search>dog</search>")

    other = again(episode)
    for one in (episode, other):
        one.add_hits(pg.make_retriever("bm25").search(one.question.profile, "dog", one.fetch_k))
        one.write("<answer>Milo</answer>")
        one.score(pg.Reward(0.5))

    assert again(other).trajectory() == episode.trajectory()


def test_an_environment_goes_on_in_another_process() -> None:
    env = ProfileQAEnv(pg.load_questions(DATA), pg.make_retriever("bm25"), pg.make_reward("rubric"))
    env.reset(seed=3)
    env.step("<search>dog</search>")

    other = again(env)

    assert other.step("<search>tea</search>") == env.step("<search>tea</search>")
    assert other.reset() == env.reset()


@pytest.mark.parametrize("parts", [str, object])
def test_an_environment_has_a_spec_from_which_it_is_made_again(parts: type) -> None:
    made: dict[str, Any] = {"data": DATA, "retriever": "bm25", "reward": "rubric"}
    if parts is object:
        made = {
            "data": pg.load_questions(DATA),
            "retriever": pg.make_retriever("bm25"),
            "reward": pg.make_reward("rubric"),
        }

    spec = gym.make(ID, **made, max_searches=2).spec

    assert spec is not None
    one, other = gym.make(spec), gym.make(again(spec))
    assert one.reset(seed=3) == other.reset(seed=3)
    assert one.step("<search>dog</search>") == other.step("<search>dog</search>")


@pytest.mark.slow
@pytest.mark.parametrize("parts", [str, object])
def test_environments_run_in_spawned_processes(parts: type) -> None:
    made: dict[str, Any] = {"data": DATA, "retriever": "bm25", "reward": "rubric"}
    if parts is object:
        made = {
            "data": pg.load_questions(DATA),
            "retriever": pg.make_retriever("bm25"),
            "reward": pg.make_reward("rubric"),
        }
    venv = gym.make_vec(ID, 2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **made)

    _, infos = venv.reset(seed=3)
    questions = [pg.load_questions(DATA).find(question_id) for question_id in infos["question_id"]]
    _, rewards, terminated, _, infos = venv.step(tuple(f"<answer>{q.rubric.reference}</answer>" for q in questions))
    venv.close()

    assert (rewards.tolist(), terminated.tolist()) == ([1.0, 1.0], [True, True])
    assert len({trajectory.id for trajectory in infos["trajectory"]}) == 2
