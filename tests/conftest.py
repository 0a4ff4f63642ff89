"""What several tests need: small people with their questions, and a retriever and a reward that do as they are told."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from launched import Launcher

from profilegym import Aspect, Document, Episode, Hit, Profile, Question, QuestionList, Reward, Rubric

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does; read when torch is imported
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker has one core

CANARIES = (
    "CANARY-NARRATIVE",
    "CANARY-ASPECT",
    "CANARY-REASON",
    "CANARY-EVIDENCE",
    "CANARY-REFERENCE",
    "CANARY-ACCEPTED",
)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A command that was run in this process with --quiet would hide the warnings of later tests."""
    yield
    logging.getLogger("profilegym").setLevel(logging.NOTSET)


def make_profile(
    user: str = "u1", texts: Sequence[str] = ("I only drink rooibos.", "My dog is called Milo.")
) -> Profile:
    return Profile(user, tuple(Document(f"{user}-{i}", text, f"2024-01-{i + 1:02}") for i, text in enumerate(texts)))


def make_question(
    question_id: str = "q1", text: str = "What shall I drink?", profile: Profile | None = None
) -> Question:
    narrative, title, reason, evidence, reference, accepted = CANARIES
    rubric = Rubric(narrative, (Aspect(title, reason, evidence, (accepted,)),), reference, hops=1)
    profile = profile or make_profile()
    return Question(question_id, profile.user_id, text, profile, rubric)


class ScriptedRetriever:
    """Gives the hits it was told for a query, else every document of the profile; counts its calls."""

    def __init__(self) -> None:
        self.hits: dict[str, list[Hit]] = {}
        self.searches = 0
        self.batches = 0

    def search(self, profile: Profile, query: str, k: int) -> list[Hit]:
        self.searches += 1
        return self.hits.get(query, [Hit(d, 1.0 / (i + 1)) for i, d in enumerate(profile.documents)])[:k]

    def search_many(self, requests: Sequence[tuple[Profile, str]], k: int) -> list[list[Hit]]:
        self.batches += 1
        return [self.search(profile, query, k) for profile, query in requests]


def answer_length(episodes: Sequence[Episode]) -> list[Reward]:
    return [Reward(float(len(episode.answer or ""))) for episode in episodes]


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("launcher") / "log")
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def launched_policy(launch: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    assert launch("make_policy", processes=1, folder=folder)["ended"]
    return folder


@pytest.fixture
def profile_of() -> Callable[..., Profile]:
    return make_profile


@pytest.fixture
def ask() -> Callable[..., Question]:
    return make_question


@pytest.fixture
def questions() -> QuestionList:
    return QuestionList([make_question(f"q{i}", f"Question number {i}?", make_profile(f"u{i}")) for i in range(5)])


@pytest.fixture
def retriever() -> ScriptedRetriever:
    return ScriptedRetriever()


@pytest.fixture
def length_reward() -> Callable[[Sequence[Episode]], list[Reward]]:
    return answer_length


@pytest.fixture
def hidden_in() -> Callable[[object], list[str]]:
    """The hidden words that a thing shows; there must be none."""
    return lambda thing: [canary for canary in CANARIES if canary in str(thing)]


settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine is no failure
settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers begin with the files that have the most slow tests, so that none of those is left over for one worker."""
    if WORKER:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With PROFILEGYM_NO_SKIPS=1 a skipped test fails the run: something optional is not installed.

    Tests of vLLM, SkyRL and verl have environments and commands of their own: make vllm, make interop.
    """
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    if os.environ.get("PROFILEGYM_NO_SKIPS") and any(map(_matters, skipped)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _matters(report: Any) -> bool:
    """A file that was skipped as a whole has no keywords."""
    return not {"vllm_real", "large"} & set(getattr(report, "keywords", ()))
