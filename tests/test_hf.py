"""A local transformers model that goes on with many conversations at once."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from matching import naming

import profilegym as pg
from profilegym.agents.agent import make_agent
from profilegym.agents.models.hf import HFModel, HFSession
from profilegym.agents.models.model import Turn, make_model
from profilegym.agents.rollout import Job, Rollout
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import MissingExtra, ModelError, OptionError

torch = pytest.importorskip("torch", reason="the train extra is not installed")
transformers = pytest.importorskip("transformers", reason="the train extra is not installed")

torch.set_num_threads(1)  # a busy machine has no second core for so small a model
GREEDY = Sampling(max_tokens=9)
DRAWN = Sampling(temperature=1.0, max_tokens=9)
STOP = ("</search>", "</answer>")
ARCHITECTURES = {
    "Qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "Qwen2": {"num_key_value_heads": 2},
    "Llama": {"num_key_value_heads": 2},
    "Mistral": {"num_key_value_heads": 2},
    "Gemma3Text": {"num_key_value_heads": 2, "head_dim": 16},
    "Olmo2": {"num_key_value_heads": 2},
    "GPTNeoX": {},
    "GPT2": {},
}


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["my dog likes the garden"] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


def make_torch_model(architecture: str = "Qwen3", context: int = 400, seed: int = 0) -> Any:
    """Weights so large that what it writes depends on what it reads."""
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(TOKENIZER), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=context, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        **ARCHITECTURES[architecture],
    )  # fmt: skip
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


TOKENIZER = make_tokenizer()
MODEL = make_torch_model()


def make_hf(model: Any = MODEL, **options: Any) -> HFModel:
    return HFModel(model, TOKENIZER, **options)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


async def go_on(session: HFSession, said: list[Segment], sampling: Sampling, stop: Sequence[str] = STOP) -> Turn:
    """A turn, entered into the transcript as an episode does it."""
    turn = await session.generate(said, sampling, stop)
    assert turn.segment_tokens is not None
    said[-1] = said[-1]._replace(tokens=turn.segment_tokens[-1])
    said.append(Segment("policy", turn.text, turn.tokens, turn.logprobs))
    return turn


async def talk(model: HFModel, number: int, sampling: Sampling = DRAWN) -> list[Segment]:
    """Three turns with observations between them, of other lengths in every conversation."""
    session = model.open(QUESTION, number)
    said = [Segment("environment", f"Person {number} asks: " + "garden " * (number % 5))]
    for turn in range(3):
        await go_on(session, said, sampling)
        said.append(Segment("environment", f"\n{turn}. " + "the dog likes it " * (1 + (number + turn) % 4)))
        await asyncio.sleep(0)
    session.close()
    return said[:-1]


def talks(model: HFModel, numbers: Sequence[int], sampling: Sampling = DRAWN) -> list[list[Segment]]:
    async def all_of_them() -> list[list[Segment]]:
        return await asyncio.gather(*(talk(model, number, sampling) for number in numbers))

    return list(run(all_of_them()))


def tokens_of(said: Sequence[Segment]) -> list[int]:
    return [token for segment in said for token in segment.tokens or ()]


def recomputed(model: Any, said: Sequence[Segment], temperature: float = 1.0) -> list[tuple[int, int, float, float]]:
    """For each of the policy's tokens: itself, the likeliest, and its log-probability then and by a plain forward."""
    with torch.inference_mode():
        logits = model(torch.tensor([tokens_of(said)])).logits[0] / temperature
    rows, place = [], 0
    for segment in said:
        for number, token in enumerate(segment.tokens or ()):
            if segment.author == "policy":
                assert segment.logprobs is not None
                before = logits[place - 1].log_softmax(-1)
                rows.append((token, int(before.argmax()), segment.logprobs[number], float(before[token])))
            place += 1
    return rows


QUESTION = pg.Question("q", "u", "?", pg.Profile("u", ()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_turns_are_those_of_a_plain_forward_over_the_whole_transcript(architecture: str) -> None:
    model = make_torch_model(architecture)

    for said in talks(make_hf(model, rows=3), range(7), GREEDY):
        rows = recomputed(model, said)

        assert len(rows) >= 3
        assert [token for token, *_ in rows] == [likeliest for _, likeliest, *_ in rows]
        assert all(then == pytest.approx(plain, abs=1e-4) for *_, then, plain in rows)


@pytest.mark.parametrize("read", [0, 1, 7, 10_000])
def test_it_does_not_matter_how_much_is_read_in_a_step(read: int) -> None:
    assert talks(make_hf(rows=4, read=read), range(6), GREEDY) == approximately(talks(make_hf(), range(6), GREEDY))


def approximately(talks: list[list[Segment]]) -> list[list[Segment]]:
    """Equal but for the last digits of log-probabilities."""
    return [
        [s._replace(logprobs=pytest.approx(s.logprobs, abs=1e-4) if s.logprobs else None) for s in said]  # type: ignore[arg-type]
        for said in talks
    ]


def test_a_conversation_is_the_same_alone_and_among_63_others() -> None:
    (alone,) = talks(make_hf(), [5])
    among = talks(make_hf(), range(64))

    assert approximately([alone]) == [among[5]]


def test_draws_depend_on_the_seed() -> None:
    async def texts(*seeds: int | None) -> list[str]:
        model = make_hf()
        sessions = [model.open(QUESTION, seed) for seed in seeds]
        turns = [await session.generate([Segment("environment", "dog")], DRAWN, ()) for session in sessions]
        return [turn.text for turn in turns]

    first, again, other, *unseeded = run(texts(1, 1, 2, None, None))

    assert first == again
    assert first != other
    assert unseeded[0] != unseeded[1]


def test_an_episode_taken_up_from_its_record_goes_on_as_it_would_have() -> None:
    async def taken_up() -> Turn:
        session = make_hf().open(QUESTION, 3)
        return await session.generate([*whole[:4], whole[4]._replace(tokens=None)], DRAWN, STOP)

    (whole,) = talks(make_hf(), [3])
    turn = run(taken_up())

    assert (turn.text, turn.tokens, turn.segment_tokens) == (
        whole[5].text,
        whole[5].tokens,
        [each.tokens for each in whole[:5]],
    )


def test_what_was_heard_and_sampled_is_all_that_the_model_read() -> None:
    async def streamed() -> tuple[list[Segment], list[int], list[Turn]]:
        session = make_hf().open(QUESTION, 1)
        said, turns = [Segment("environment", "My dog")], []
        for _ in range(3):
            turns.append(await go_on(session, said, DRAWN))
            said.append(Segment("environment", " likes the garden."))
        return said[:-1], session._sequence.tokens, turns

    said, read, turns = run(streamed())

    assert tokens_of(said) == read
    assert all(TOKENIZER.decode(s.tokens) == s.text for s in said if s.tokens and s.tokens[-1] != 0)
    assert sum(turn.prompt_tokens or 0 for turn in turns) == sum(
        len((turn.segment_tokens or [()])[-1] or ()) for turn in turns
    )
    assert [turn.completion_tokens for turn in turns] == [len(turn.tokens or ()) for turn in turns]


def counting() -> tuple[Any, list[int]]:
    """A model, and how many tokens it is given in each step."""
    model, given = make_torch_model(), list[int]()
    model.register_forward_pre_hook(lambda _, __, what: given.append(what["input_ids"].numel()), with_kwargs=True)
    return model, given


def test_nothing_is_read_twice() -> None:
    model, given = counting()

    (said,) = talks(make_hf(model), [4])

    assert sum(given) == len(tokens_of(said)) - 1  # nothing was asked after the last


def test_what_a_group_has_in_common_is_read_once() -> None:
    async def group(model: HFModel) -> None:
        prompt = [Segment("environment", "garden " * 20)]
        await asyncio.gather(
            *(model.open(QUESTION, seed).generate(prompt, Sampling(1.0, max_tokens=2), ()) for seed in range(5))
        )

    model, given = counting()
    length = len(TOKENIZER.encode("garden " * 20))

    run(group(make_hf(model, read=length)))

    assert given == [length, 5, 5]  # the first reads all of it, the others their last token beside its first word


def test_a_transcript_that_was_changed_is_read_anew_from_there() -> None:
    async def change() -> tuple[Turn, Turn]:
        session, fresh = (make_hf().open(QUESTION, 1) for _ in range(2))
        said = [Segment("environment", "The dog likes the garden. Does it?")]
        await go_on(session, said, DRAWN)
        changed = [
            Segment("environment", "The dog hates the garden. Does it?"),
            said[1],
            Segment("environment", "Well?"),
        ]
        return await session.generate(changed, DRAWN, STOP), await fresh.generate(changed, DRAWN, STOP)

    turn, anew = run(change())

    assert (turn.text, turn.tokens) == (anew.text, anew.tokens)


def test_every_turn_has_draws_of_its_own() -> None:
    def flatten(_: Any, __: Any, out: Any) -> None:
        out.logits.zero_()

    model = make_torch_model()
    model.register_forward_hook(flatten)
    said = talks(make_hf(model), [0])[0]

    turns = [tuple(segment.tokens or ()) for segment in said if segment.author == "policy"]
    assert len(set(turns)) == 3


def test_log_probabilities_are_those_of_the_tempered_distribution() -> None:
    said = talks(make_hf(), [2], Sampling(temperature=0.7, max_tokens=9))[0]

    assert all(then == pytest.approx(plain, abs=1e-4) for *_, then, plain in recomputed(MODEL, said, 0.7))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    from profilegym.agents.models.sampling import draw

    logits = torch.log(torch.tensor([0.0, 0.5, 0.3, 0.2])).expand(10_000, 4)
    luck = [(i + 0.5) / 10_000 for i in range(10_000)]

    tokens, _ = draw(logits, [Sampling(temperature=1.0)] * 10_000, luck)
    hot, _ = draw(logits, [Sampling(temperature=2.0)] * 10_000, luck)
    kept, logprobs = draw(logits, [Sampling(temperature=1.0, top_p=0.6)] * 10_000, luck)

    assert [tokens.count(token) for token in range(4)] == [
        0,
        5000,
        pytest.approx(3000, abs=1),
        pytest.approx(2000, abs=1),
    ]
    assert 0 < hot.count(1) / hot.count(3) < 2
    assert [kept.count(token) for token in range(4)] == [0, 6250, 3750, 0]
    assert set(kept) == {1, 2}
    assert sorted({round(float(torch.tensor(p).exp()), 4) for p in logprobs}) == [0.375, 0.625]


def test_neither_end_of_luck_draws_what_is_impossible() -> None:
    from profilegym.agents.models.sampling import draw

    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(2, 3)

    tokens, _ = draw(logits, [Sampling(temperature=1.0)] * 2, [0.0, 1 - 2**-53])

    assert tokens == [1, 1]


@pytest.mark.parametrize(
    "bad", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"max_tokens": 0}]
)
def test_a_sampling_that_cannot_work_is_refused(bad: dict[str, float]) -> None:
    ((name, value),) = bad.items()

    with pytest.raises(OptionError, match=naming(name, value)):
        Sampling(**bad)  # type: ignore[arg-type]


def saying(text: str, context: int = 400) -> tuple[Any, str]:
    """A model that writes this after a prompt of ten tokens."""
    script = TOKENIZER.encode(text)
    model = make_torch_model(context=context)

    def overrule(_: Any, args: Any, given: dict[str, Any], out: Any) -> None:
        for logits, place in zip(out.logits[0], given["position_ids"][0, -out.logits.shape[1] :], strict=True):
            logits[script[(int(place) - 9) % len(script)]] = 100.0

    model.register_forward_hook(overrule, with_kwargs=True)
    return model, "0123456789"


def said_by(text: str, stop: Sequence[str] = STOP, context: int = 400, **sampling: Any) -> Turn:
    model, prompt = saying(text, context)
    session = make_hf(model).open(QUESTION, 0)
    turn: Turn = run(session.generate([Segment("environment", prompt)], Sampling(**sampling), stop))
    return turn


def test_a_turn_ends_with_a_stop_string_however_tokens_divide_it() -> None:
    turn = said_by("a > b</sea></search> and more")

    assert (turn.text, turn.finish) == ("a > b</sea></search>", "stop")
    assert turn.tokens == TOKENIZER.encode(turn.text)


def test_stop_strings_may_end_in_any_character() -> None:
    assert said_by("one two ", ["o "]).text == "one two "
    assert said_by("so, ça va… oui", ["…"]).text == "so, ça va…"
    assert said_by("the dog", ["g"]).text == "the dog"


def test_a_turn_ends_where_the_text_does() -> None:
    turn = said_by("yes<|end|>no")

    assert (turn.text, turn.finish) == ("yes", "stop")
    assert TOKENIZER.decode(turn.tokens) == "yes<|end|>"


def test_a_turn_ends_after_so_many_tokens() -> None:
    turn = said_by("0123456789", max_tokens=4)

    assert (turn.text, turn.finish, turn.completion_tokens) == ("0123", "length", 4)


def test_a_turn_ends_where_the_model_can_read_no_more_and_so_does_the_next() -> None:
    async def to_the_end() -> list[Turn]:
        model, prompt = saying("abc", context=14)
        session = make_hf(model).open(QUESTION, 0)
        said = [Segment("environment", prompt)]
        first = await go_on(session, said, GREEDY)
        return [first, await session.generate([*said, Segment("environment", "and")], GREEDY, STOP)]

    first, second = run(to_the_end())

    assert (first.text, first.finish) == ("abca", "context")
    assert (second.text, second.finish, second.tokens) == ("", "context", [])


def test_text_that_was_put_into_the_policys_mouth_is_gone_on_with() -> None:
    async def generate() -> tuple[Turn, list[int]]:
        session = make_hf().open(QUESTION, 0)
        said = [Segment("environment", "Well?"), Segment("policy", "<think>The dog")]
        return await session.generate(said, GREEDY, STOP), session._sequence.tokens

    turn, read = run(generate())

    assert turn.segment_tokens == [TOKENIZER.encode("Well?"), TOKENIZER.encode("<think>The dog")]
    assert read == TOKENIZER.encode("Well?") + TOKENIZER.encode("<think>The dog") + list(turn.tokens or ())


def test_a_chat_template_renders_what_comes_first_and_nothing_else() -> None:
    async def generate(tokenizer: Any) -> list[Segment]:
        session = HFModel(MODEL, tokenizer).open(QUESTION, 0)
        said = [Segment("environment", "Well?")]
        await go_on(session, said, GREEDY)
        said.append(Segment("environment", "And?"))
        await go_on(session, said, GREEDY)
        return said

    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    said = run(generate(tokenizer))

    assert TOKENIZER.decode(said[0].tokens) == "[user]Well?[assistant]"
    assert TOKENIZER.decode(said[2].tokens) == "And?"


def test_more_conversations_than_rows_all_end() -> None:
    assert talks(make_hf(rows=2), range(9), GREEDY) == approximately(talks(make_hf(), range(9), GREEDY))


def test_who_waits_gets_the_row_of_one_that_never_speaks_again() -> None:
    async def wait() -> Turn:
        model = make_hf(rows=1)
        await model.open(QUESTION, 0).generate([Segment("environment", "I wait for a judge.")], GREEDY, STOP)
        return await asyncio.wait_for(model.open(QUESTION, 0).generate([Segment("environment", "Hi")], GREEDY, STOP), 5)

    assert run(wait()).tokens


def test_who_lost_a_row_goes_on_as_if_not() -> None:
    async def take_turns(rows: int) -> list[list[Segment]]:
        model = make_hf(rows=rows)
        sessions = [model.open(QUESTION, seed) for seed in range(3)]
        talks = [[Segment("environment", f"I am {name}")] for name in "abc"]
        for _ in range(3):
            for session, said in zip(sessions, talks, strict=True):
                await go_on(session, said, DRAWN)
                said.append(Segment("environment", " and then?"))
        return talks

    assert run(take_turns(1)) == approximately(run(take_turns(3)))


def test_a_conversation_that_is_given_up_frees_its_row() -> None:
    async def give_up() -> tuple[Turn, list[Any]]:
        model = make_hf(rows=1)
        session = model.open(QUESTION, 0)
        speaking = asyncio.create_task(session.generate([Segment("environment", "dog")], Sampling(max_tokens=300), ()))
        for _ in range(5):
            await asyncio.sleep(0)
        speaking.cancel()
        session.close()
        other = model.open(QUESTION, 0)
        turn = await other.generate([Segment("environment", "Hi")], GREEDY, STOP)
        return turn, model.decoder._rows

    turn, rows = run(give_up())

    assert turn.tokens
    assert len(rows) == 1


def test_the_memory_of_rows_stays_as_large_as_it_was_until_the_model_is_closed() -> None:
    model, sizes = make_hf(rows=4), []
    for _ in range(3):
        talks(model, range(8))
        sizes.append((model.decoder._cache.rows, model.decoder._cache.length, len(model.decoder._waiting)))
    run(model.close())

    assert sizes == [(4, sizes[0][1], 0)] * 3
    assert model.decoder._cache.rows == 0
    assert talks(model, range(2)) == approximately(talks(make_hf(), range(2)))


def test_weights_that_a_trainer_changed_between_runs_are_the_ones_that_write() -> None:
    owned = make_torch_model(seed=1)
    model = make_hf(owned)
    before = talks(model, range(3), GREEDY)

    owned.load_state_dict(make_torch_model(seed=2).state_dict())

    after = talks(model, range(3), GREEDY)
    assert before != after
    assert after == approximately(talks(make_hf(make_torch_model(seed=2)), range(3), GREEDY))


def test_a_trainers_model_is_given_back_as_it_was() -> None:
    owned = make_torch_model().train()
    attention = owned.config._attn_implementation

    talks(make_hf(owned), range(2))

    assert owned.training
    assert owned.config._attn_implementation == attention


def test_a_model_that_fails_ends_the_turns_and_not_the_next_ones() -> None:
    async def generate() -> Turn:
        session = model.open(QUESTION, 0)
        return await session.generate([Segment("environment", "dog")], GREEDY, STOP)

    def fail(*_: Any) -> None:
        raise MemoryError("no room")

    owned = make_torch_model()
    model = make_hf(owned)
    broken = owned.register_forward_pre_hook(fail)
    with pytest.raises(ModelError, match=naming("MemoryError: no room", "rows")):
        run(generate())
    broken.remove()

    assert run(generate()).tokens


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("Gemma2", ["Gemma2Attention", "softcap"]),
        ("Bloom", ["BloomForCausalLM", "AttentionInterface"]),
        ("FalconH1", ["FalconH1ForCausalLM", "state"]),
    ],
)
def test_an_architecture_that_would_be_read_wrongly_is_refused(config: str, named: list[str]) -> None:
    sizes = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"Gemma2": {"head_dim": 8}, "FalconH1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8}}
    made = getattr(transformers, f"{config}Config")(**sizes, **more.get(config, {}))
    session = make_hf(transformers.AutoModelForCausalLM.from_config(made)).open(QUESTION, 0)

    with pytest.raises(ModelError, match=naming(*named, "openai:MODEL")):
        run(session.generate([Segment("environment", "dog")], GREEDY, STOP))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    MODEL.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def test_a_folder_is_loaded_by_its_spec(folder: Path) -> None:
    model = make_model(f"hf:{folder},rows=3,device=cpu,dtype=float32")

    assert isinstance(model, HFModel)
    assert model.name == f"hf:{folder}"
    assert talks(model, range(4), GREEDY) == approximately(talks(make_hf(), range(4), GREEDY))


def test_what_cannot_be_loaded_is_named() -> None:
    with pytest.raises(ModelError, match="'/nowhere/at/all'"):
        make_model("hf:/nowhere/at/all")
    with pytest.raises(OptionError, match="rows=0"):
        make_hf(rows=0)
    with pytest.raises(ModelError, match="tokens"):
        run(make_hf().open(QUESTION, 0).generate([Segment("environment", "")], GREEDY, ()))


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(MissingExtra, match=r"pip install 'profilegym\[train\]'"):
        make_model("hf:anything")


def test_episodes_keep_the_tokens_and_two_runs_are_the_same(ask: Callable[..., pg.Question], retriever: Any) -> None:
    async def play() -> list[pg.Trajectory]:
        model = make_hf(make_torch_model(context=1500), rows=4)
        rollout = Rollout(model, retriever, sampling=Sampling(temperature=1.0, max_tokens=12), in_flight=6, seed=1)
        jobs = [Job(ask(f"q{i}"), make_agent("pr2")) for i in range(10)]
        return [trajectory async for trajectory in rollout.run(jobs)]

    first, second = run(play()), run(play())

    assert [trajectory.ended for trajectory in first] == ["budget"] * 10
    assert first == second
    for segment in first[0].segments:
        assert segment.tokens
        assert (segment.logprobs is not None) == (segment.author == "policy")


def test_an_episode_that_is_being_judged_holds_no_conversation(ask: Callable[..., pg.Question], retriever: Any) -> None:
    held: list[list[Any]] = []

    async def judge(episodes: Sequence[pg.Episode]) -> list[pg.Reward]:
        held.append([sequence for sequence in model.decoder._rows if sequence])
        return [pg.Reward(1.0)] * len(episodes)

    async def play() -> list[pg.Trajectory]:
        rollout = Rollout(model, retriever, judge, sampling=Sampling(max_tokens=3))
        return [trajectory async for trajectory in rollout.run([Job(ask(), make_agent("none"))])]

    model = make_hf(make_torch_model(context=1500))
    (trajectory,) = run(play())

    assert trajectory.ended == "budget"
    assert held == [[]]
