"""A server that nobody here wrote: `transformers serve` with a small model, asked through `openai:PATH`."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import make_profile

from profilegym import Episode, Profile, Question, Trajectory, load_questions, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models.model import make_model
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.chat import Sampling
from profilegym.world.pilot.model import FOLDER as PILOT

for needed in ("torch", "transformers", "fastapi", "uvicorn"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow

ROLES = {"environment": "user", "policy": "assistant"}
CHAT_ML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAUGHT = {"What shall I drink?": "Rooibos.", "Where could we go?": "A walk with Milo."}
QUERY = "rooibos or Milo"
Lesson = list[tuple[str, bool]]  # pieces of text, and whether the model is to learn them


def taught(profile: Profile) -> list[Question]:
    return [Question(f"q{i}", profile.user_id, text, profile) for i, text in enumerate(TAUGHT)]


def lessons(questions: Sequence[Question]) -> list[Lesson]:
    """Each question searched and answered, and answered at once."""
    return [
        lesson
        for question in questions
        for lesson in (as_chat(searched(question)), as_chat(answered(Episode(question, kind="baseline"))))
    ]


def searched(question: Question) -> list[Any]:
    episode = Episode(question)
    episode.write(f"<search>{QUERY}</search>")
    episode.add_hits(make_retriever("bm25").search(question.profile, episode.query, episode.fetch_k))
    return answered(episode)


def answered(episode: Episode) -> list[Any]:
    episode.write(f"<answer>{TAUGHT[episode.question.text]}</answer>")
    return episode.segments


def as_chat(segments: Sequence[Any]) -> Lesson:
    pieces = [
        (f"<|im_start|>{ROLES[segment.author]}\n", f"{segment.text.strip()}<|im_end|>", segment.author == "policy")
        for segment in segments
    ]
    return [piece for head, body, own in pieces for piece in ((head, False), (body, own), ("\n", False))]


def tokenizer_of(texts: Sequence[str]) -> Any:
    """Space and marks stand apart, so that a text falls into the same tokens whole or in pieces."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    apart = pre_tokenizers.Split(Regex(r"\s+|\w+|[^\w\s]"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [apart, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=["<|im_end|>", "<|im_start|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>")


def memorise(tokenizer: Any, lessons: Sequence[Lesson]) -> Any:
    """A Qwen3-shaped model that knows the lessons by heart."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    pieces = [[(tokenizer(text)["input_ids"], own) for text, own in lesson] for lesson in lessons]
    rows = [[(token, own) for tokens, own in lesson for token in tokens] for lesson in pieces]
    longest = max(map(len, rows))
    tokens = torch.tensor([[token for token, _ in row] + [0] * (longest - len(row)) for row in rows])
    learnt = torch.tensor([[own for _, own in row] + [False] * (longest - len(row)) for row in rows])
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, head_dim=16,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, eos_token_id=0, pad_token_id=0,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(400):
        loss = model(input_ids=tokens, labels=tokens.where(learnt, -100)).loss
        if loss < 0.003:
            return model
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"the lessons are not learnt: loss {loss:.3f}")


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return taught(make_profile())


@pytest.fixture(scope="module")
def folder(questions: list[Question], server: "Server", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that chats; made while the server starts."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    texts = lessons(questions)
    tokenizer = tokenizer_of(["".join(text for text, _ in lesson) for lesson in texts])
    model = memorise(tokenizer, texts)
    torch.set_num_threads(threads)
    made = tmp_path_factory.mktemp("model")
    tokenizer.chat_template = CHAT_ML
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


@dataclass
class Server:
    """`transformers serve` in a process of its own; it loads whatever model is asked for by its path."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        end = time.monotonic() + 100
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return f"http://127.0.0.1:{self.port}/v1"
        raise AssertionError(f"the server did not come up:\n{self.log.read_text()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = "from transformers.cli.transformers import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]  # as at home
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", run, "serve", *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, stdout=output, stderr=output,
        )  # fmt: skip
        yield Server(process, port, log)
        process.terminate()
        process.wait(20)


def play(model: Any, questions: Sequence[Question], agent: str) -> dict[str, Trajectory]:
    """What it says when it always says what is likeliest."""

    async def run() -> dict[str, Trajectory]:
        greedy = Sampling(temperature=0.0, max_tokens=64)
        rollout = Rollout(model, make_retriever("bm25"), sampling=greedy)
        try:
            played = rollout.run([Job(question, make_agent(agent)) for question in questions])
            return {trajectory.question_id: trajectory async for trajectory in played}
        finally:
            await model.close()

    return asyncio.run(run())


def said(played: dict[str, Trajectory]) -> dict[str, list[str]]:
    """What the policy wrote, by question."""
    return {
        question: [segment.text for segment in trajectory.segments if segment.author == "policy"]
        for question, trajectory in played.items()
    }


def served(server: Server, folder: Path, form: str) -> Any:
    """Two tries, as the server drops the connection on which it failed."""
    return make_model(f"openai:{folder},base_url={server.url},api_key=any,form={form},attempts=2")


def test_the_pilot_plays_the_world_through_the_server_as_it_does_at_home(server: Server) -> None:
    world = load_questions("world:seed=7,users=20/test")[:6]
    model = served(server, PILOT, "auto")  # the pilot has no chat template

    away = play(model, world, "pr2")
    home = play(make_model("pilot"), world, "pr2")

    assert model.text_form == "completions"
    assert sum(trajectory.ended == "answered" for trajectory in away.values()) >= 4
    assert said(away) == said(home)


def test_a_chat_is_answered_as_it_is_at_home(server: Server, folder: Path, questions: list[Question]) -> None:
    away = play(served(server, folder, "chat"), questions, "none")
    home = play(make_model(f"hf:{folder}"), questions, "none")

    assert [away[question.id].answer for question in questions] == list(TAUGHT.values())
    assert said(away) == said(home)


def test_a_whole_episode_by_chat(server: Server, folder: Path, questions: list[Question]) -> None:
    played = play(served(server, folder, "chat"), questions, "pr2")

    for question in questions:
        trajectory = played[question.id]
        assert [search.query for search in trajectory.searches] == [QUERY]
        assert trajectory.answer == TAUGHT[question.text]
        assert trajectory.usage is not None
        assert trajectory.usage["completion_tokens"] > 0
