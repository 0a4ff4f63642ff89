"""The rollout worker of TRL's asynchronous trainer: the samples of the synchronous one, without a barrier."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from tiny_policy import by_chance, make_tiny_policy, recipe

import profilegym as pg
from profilegym import Trajectory
from profilegym.agents.models.vllm import VLLMModel
from profilegym.agents.models.vllm_servers import Servers
from profilegym.envs.trajectory import Segment
from profilegym.errors import RewardError
from profilegym.testing import VLLMServer
from profilegym.testing.vllm_server import ByteTokenizer
from profilegym.training.recipe import Recipe

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from profilegym.agents.models.hf import HFModel  # noqa: E402
from profilegym.training.grpo import trainer as grpo  # noqa: E402
from profilegym.training.grpo.rollout_worker import RolloutWorker  # noqa: E402
from profilegym.training.grpo.sequence import encoder  # noqa: E402
from profilegym.training.train import train  # noqa: E402

NUMBERS = count()
ANSWER = "<think>I know.</think><answer>Rooibos.</answer>"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def encode(segment: Segment) -> list[int]:
    return list(segment.text.encode())


def pulled(worker: RolloutWorker, count: int, seconds: float = 60.0) -> list[Any]:
    """As many samples as the trainer would take from the queue."""
    samples: list[Any] = []
    end = time.monotonic() + seconds
    while len(samples) < count:
        worker.check_health(seconds)
        assert time.monotonic() < end, f"{len(samples)} samples after {seconds} s"
        if worker.rollout_buffer.qsize():
            samples.append(worker.rollout_buffer.get())
        else:
            time.sleep(0.01)
    return samples


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("train_baseline", ["masked", "all"])
def test_its_samples_are_those_of_the_synchronous_trainer_for_the_same_episodes(
    train_baseline: str, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(policy, train_baseline=train_baseline, optimiser={"steps": 1, "questions": 3})
    rows: list[tuple[list[int], list[int], float]] = []
    original = grpo.PR2Trainer._generate_and_score_completions

    def spy(self: Any, inputs: Any) -> Any:
        found = original(self, inputs)
        for prompt, has, completion, is_there, own, advantage in zip(
            found["prompt_ids"], found["prompt_mask"], found["completion_ids"], found["completion_mask"],
            found["tool_mask"], found["advantages"], strict=True,
        ):  # fmt: skip
            context, said = prompt[has.bool()].tolist(), completion[is_there.bool()].tolist()
            mask = [0] * len(context) + own[is_there.bool()].tolist()
            rows.append((context + said, mask, float(advantage)))
        return found

    monkeypatch.setattr(grpo.PR2Trainer, "_generate_and_score_completions", spy)
    monkeypatch.setattr(grpo, "only_what_teaches", lambda batch, *_: batch)
    train(asked, tmp_path, lambda step, metrics: None)
    trajectories = list(pg.TrajectoryReader(tmp_path / "trajectories.jsonl"))
    by_row = sorted(trajectories, key=lambda t: int(t.id.rpartition("-")[2]))
    order = [trajectory.question_id for trajectory in by_row[::4]]
    expected = [row for row in rows if any(row[1])]
    played: list[Trajectory] = []

    local = HFModel.load(str(policy))
    worker = RolloutWorker(
        asked,
        pg.load_questions(asked.data.train),
        local,
        by_chance(),
        partial(encoder, local.tokenizer, local.template),
        played.extend,
        ahead=3,
        order=order,
    )
    worker.start()
    samples = pulled(worker, len(expected))
    worker.stop()

    samples = sorted(samples, key=lambda sample: sample.group_id)  # members of a group keep their order
    assert [(s.input_ids.tolist(), s.completion_mask.tolist()) for s in samples] == [row[:2] for row in expected]
    assert [s.advantage for s in samples] == pytest.approx([row[2] for row in expected])
    assert len(samples) == (9 if train_baseline == "masked" else 12)
    recorded = {t.id: t for t in trajectories}
    for trajectory in played:
        twin = recorded[trajectory.id]
        assert trajectory.segments[-1].tokens == twin.segments[-1].tokens
        assert trajectory.advantage == pytest.approx(twin.advantage)
        assert trajectory.baseline == twin.baseline
    for sample in samples:
        own = [logprob for logprob, is_own in zip(sample.old_log_probs, sample.completion_mask, strict=True) if is_own]
        assert all(logprob < 0 for logprob in own)


def numbered(prompt: str, model: str) -> str:
    return f"<answer>{next(NUMBERS)}</answer>"


def serving(policy: Callable[[str, str], str], **options: Any) -> VLLMServer:
    return VLLMServer(policy, tokenizer=ByteTokenizer(), **options)


def worker_of(
    server: VLLMServer, asked: Recipe, reward: Any = None, ahead: int = 2, **options: Any
) -> tuple[RolloutWorker, list[Trajectory]]:
    played: list[Trajectory] = []
    model = VLLMModel(Servers([server.base]), name="vllm:test", tokenizer=ByteTokenizer())
    questions = pg.load_questions(asked.data.train)
    made = RolloutWorker(
        asked, questions, model, reward or by_chance(), lambda tools: encode, played.extend, ahead=ahead, **options
    )
    return made, played


def asked_for(**changes: Any) -> Recipe:
    return recipe(Path("unused"), generation={"turn_tokens": 200, "max_tokens": 400}, **changes)


def test_no_more_groups_are_played_than_the_trainer_can_soon_use() -> None:
    with serving(lambda prompt, model: ANSWER) as server:
        worker, played = worker_of(server, asked_for(), ahead=2)
        worker.start()
        until(lambda: worker.rollout_buffer.qsize() == 6)
        time.sleep(0.3)
        assert len(played) == 8  # two groups of 3 + 1
        pulled(worker, 6)
        until(lambda: worker.rollout_buffer.qsize() == 6)
        worker.stop()

    assert len({trajectory.id for trajectory in played}) == len(played) == 16


def test_a_sample_has_the_version_that_was_live_when_its_group_began() -> None:
    with serving(lambda prompt, model: ANSWER, latency=0.3) as server:
        worker, _ = worker_of(server, asked_for(), ahead=1)
        worker.update_model_version(4)
        worker.start()
        until(lambda: server.in_flight == 4)
        worker.update_model_version(5)
        versions = [sample.model_version for sample in pulled(worker, 6)]
        worker.stop()

    assert versions == [4, 4, 4, 5, 5, 5]


def test_a_group_is_pushed_while_another_still_plays() -> None:
    slow_text = ""

    def latency(body: Any) -> float:
        return 5.0 if slow_text.encode() in bytes(body["prompt"]) else 0.0

    asked = asked_for()
    questions = pg.load_questions(asked.data.train)
    order = list(questions.ids[:4])
    slow_text = questions.find(order[0]).text
    with serving(lambda prompt, model: ANSWER, latency=latency) as server:
        worker, _ = worker_of(server, asked, ahead=4, order=order)
        worker.start()
        samples = pulled(worker, 9, seconds=4.0)
        worker.stop()

    assert {sample.group_id for sample in samples} == {1, 2, 3}


def test_what_could_not_be_scored_is_recorded_and_not_pushed() -> None:
    with serving(numbered) as server:
        worker, played = worker_of(server, asked_for(), by_chance(4), ahead=8)
        worker.start()
        until(lambda: len(played) >= 24)
        worker.stop()
        samples = [worker.rollout_buffer.get() for _ in range(worker.rollout_buffer.qsize())]

    scored = [t for t in played if t.kind == "personalised" and t.reward and t.reward.total is not None]
    assert len(scored) < sum(trajectory.kind == "personalised" for trajectory in played)
    assert len(samples) == len(scored)
    assert sorted(sample.metrics["reward"] for sample in samples) == sorted(t.reward.total for t in scored)  # type: ignore[union-attr, type-var]
    assert {t.advantage for t in played if not t.reward or t.reward.total is None} == {0.0}


def test_a_judge_that_is_gone_stops_the_trainer_with_its_reason() -> None:
    def gone(episodes: Sequence[Any]) -> list[pg.Reward]:
        return [pg.Reward(None, unscored="the judge is gone") for _ in episodes]

    with serving(lambda prompt, model: ANSWER) as server:
        worker, _ = worker_of(server, asked_for(), gone, ahead=3)
        worker.start()
        with pytest.raises(RewardError, match=naming("the judge is gone", "100%")):
            pulled(worker, 1)
        worker.stop()


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError("the disk is full"), OSError), (KeyError("the disk is full"), RuntimeError)]
)
def test_a_worker_that_fails_says_so(error: Exception, raised: type[Exception]) -> None:
    """An error after which training can be saved is raised as it is."""

    def full(_: Any) -> None:
        raise error

    with serving(lambda prompt, model: ANSWER) as server:
        worker, _ = worker_of(server, asked_for())
        worker._recorded = full
        worker.start()
        with pytest.raises(raised, match=naming("the disk is full")):
            pulled(worker, 1)
        worker.stop()


def test_a_worker_that_does_not_respond_is_noticed() -> None:
    with serving(lambda prompt, model: ANSWER) as server:
        worker, _ = worker_of(server, asked_for())
        worker.start()
        until(lambda: worker.rollout_buffer.qsize() > 0)
        worker.check_health(5.0)
        worker.stop()
        time.sleep(0.05)
        with pytest.raises(RuntimeError):
            worker.check_health(0.01)


def test_the_metrics_of_a_steps_groups_are_the_synchronous_trainers() -> None:
    with serving(numbered) as server:
        worker, _ = worker_of(server, asked_for(), ahead=3)
        worker.start()
        metrics = worker.metrics_queue.get(timeout=30)
        worker.stop()

    assert {"score", "baseline", "gain", "searches", "structure", "unscored", "zero_variance"} <= set(metrics)


def test_a_resumed_worker_goes_on_with_the_next_questions() -> None:
    found: dict[int, list[str]] = defaultdict(list)
    for first in (0, 15):
        with serving(lambda prompt, model: ANSWER) as server:
            worker, played = worker_of(server, asked_for(), ahead=20, first=first)
            worker.start()
            until(partial(_has, played, 80))
            worker.stop()
        by_number = sorted((_group_of(t), t.question_id) for t in played if t.kind == "personalised")
        found[first] = [question for number, question in dict(by_number).items() if 15 <= number < 20]

    assert found[0] == found[15]
    assert len(set(found[0])) == 5


def _has(played: list[Trajectory], count: int) -> bool:
    return len(played) >= count


def _group_of(trajectory: Trajectory) -> int:
    step, row = map(int, trajectory.id.rpartition(":")[2].split("-"))
    return step * 3 + row // 4


def test_a_server_that_is_killed_and_started_again_in_mid_step_costs_no_episode() -> None:
    """Nothing is lost, and nothing is 0 for our own failure."""
    with serving(numbered, latency=0.05) as server:
        worker, played = worker_of(server, asked_for(), ahead=6)
        worker.start()
        until(lambda: server.in_flight > 4)
        server.stop()
        time.sleep(0.5)
        server.start()
        samples = pulled(worker, 18)
        worker.stop()

    assert {t.ended for t in played} == {"answered"}
    assert all(t.reward is not None and t.reward.total is not None for t in played)
    assert len({tuple(sample.input_ids) for sample in samples}) == 18
    assert all(sample.completion_mask.any() for sample in samples)


def test_stopping_closes_what_it_asked(tmp_path: Path) -> None:
    with serving(lambda prompt, model: ANSWER, latency=60.0) as server:
        worker, _ = worker_of(server, asked_for())
        worker.stop()  # not yet started
        worker.start()
        until(lambda: server.in_flight > 0)
        worker.stop()
        until(lambda: server.in_flight == 0)
