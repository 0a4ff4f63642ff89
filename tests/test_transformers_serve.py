"""A server that nobody here wrote: `transformers serve` with a small model, asked through `openai:PATH`."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import make_profile

from profilegym import Episode, Profile, Question, Trajectory, make_retriever
from profilegym.agents.agent import make_agent
from profilegym.agents.models.model import make_model
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.completion import Sampling

for needed in ("torch", "transformers", "fastapi", "uvicorn"):
    pytest.importorskip(needed)

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
    """Each question searched and answered, as raw text and as chat, and answered at once in a chat."""
    return [
        lesson
        for question in questions
        for lesson in (
            [(segment.text, segment.author == "policy") for segment in searched(question, "<think>Hm.</think>\n")],
            as_chat(searched(question, "")),
            as_chat(answered(Episode(question, kind="baseline"))),
        )
    ]


def searched(question: Question, thought: str) -> list[Any]:
    episode = Episode(question)
    episode.write(f"{thought}<search>{QUERY}</search>")
    episode.inform(make_retriever("bm25").search(question.profile, episode.query, episode.depth))
    return answered(episode, thought)


def answered(episode: Episode, thought: str = "") -> list[Any]:
    episode.write(f"{thought}<answer>{TAUGHT[episode.question.text]}</answer>")
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
def folders(questions: list[Question], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights without and with a chat template."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    texts = lessons(questions)
    tokenizer = tokenizer_of(["".join(text for text, _ in lesson) for lesson in texts])
    model = memorise(tokenizer, texts)
    torch.set_num_threads(threads)
    made = {form: tmp_path_factory.mktemp(form) for form in ("completions", "chat")}
    for form, folder in made.items():
        tokenizer.chat_template = CHAT_ML if form == "chat" else None
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def url(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for both forms."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = "from transformers.cli.transformers import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", run, "serve", str(folders["chat"]), *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


def wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 100
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server did not come up:\n{log.read_text()}")


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


def turns(trajectory: Trajectory) -> list[str]:
    return [segment.text for segment in trajectory.segments if segment.author == "policy"]


def served(folders: dict[str, Path], url: str, form: str) -> Any:
    return make_model(f"openai:{folders['chat']},base_url={url},api_key=any,form={form},attempts=1")


@pytest.mark.parametrize(("form", "agent"), [("completions", "pr2"), ("chat", "none")])
def test_served_weights_say_what_they_say_at_home(
    form: str, agent: str, url: str, folders: dict[str, Path], questions: list[Question]
) -> None:
    away = play(served(folders, url, form), questions, agent)
    home = play(make_model(f"hf:{folders[form]}"), questions, agent)

    assert [away[question.id].answer for question in questions] == list(TAUGHT.values())
    assert {key: turns(trajectory) for key, trajectory in away.items()} == {
        key: turns(trajectory) for key, trajectory in home.items()
    }


def test_a_whole_episode_by_chat(url: str, folders: dict[str, Path], questions: list[Question]) -> None:
    played = play(served(folders, url, "chat"), questions, "pr2")

    for question in questions:
        trajectory = played[question.id]
        assert [search.query for search in trajectory.searches] == [QUERY]
        assert trajectory.answer == TAUGHT[question.text]
        assert trajectory.usage is not None
        assert trajectory.usage["completion_tokens"] > 0


def test_the_form_is_found_without_being_told(url: str, folders: dict[str, Path], questions: list[Question]) -> None:
    model = served(folders, url, "auto")

    played = play(model, questions, "pr2")

    assert model.text_form == "completions"
    assert [played[question.id].answer for question in questions] == list(TAUGHT.values())
