"""SkyRL: its own generator plays a group of one member and a control, with a scripted inference engine."""

import asyncio
from typing import Any

import older_python  # noqa: F401
from scripted import ASKED, Facts, Played, Script, driver_options, is_unscored, main, played
from skyrl.train.config import GeneratorConfig, SkyRLGymConfig
from skyrl.train.generators.base import TrajectoryID

import profilegym as pg
from profilegym.interop import skyrl
from profilegym.interop.skyrl_train import ProfileGenerator

FACTS = Facts(
    "SkyRL", ("skyrl-gym", "skyrl"), "yes, masked: the generator's last member of a group",
    "`RewardError`, or NaN for this package's estimators", "SkyRL's, exact",
)  # fmt: skip
EOS = 0


class Tokenizer:
    """Bytes, and one token more that ends a message."""

    eos_token, eos_token_id, name_or_path, chat_template = "<end>", EOS, "bytes", ""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [byte + 1 for byte in text.encode()]

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(one - 1 for one in ids if one != EOS).decode()

    def apply_chat_template(self, messages: Any, **_: Any) -> list[int]:
        return [token for message in messages for token in [*self.encode(message["content"]), EOS]]


class Scripted:
    """Writes the turns of a script to each episode; remembers what it was given to read."""

    def __init__(self, script: Script) -> None:
        self.texts, self.read = script.texts("tags"), dict[str, list[list[int]]]()

    async def generate(self, asked: Any, model: Any = None) -> dict[str, Any]:
        (tokens,), (session,) = asked["prompt_token_ids"], asked["session_ids"]
        read = self.read.setdefault(session, [])
        read.append(list(tokens))
        text = self.texts[len(read) - 1]
        return {
            "responses": [text],
            "response_ids": [[*Tokenizer().encode(text), EOS]],
            "stop_reasons": ["stop"],
            "response_logprobs": None,
        }

    async def finish_session(self, session: str) -> None:
        """Nothing is held."""


def generate(script: Script, records: list[pg.Trajectory], unscored: str = "nan") -> tuple[Any, Scripted]:
    """A group of two: one that is personalised, and the control."""
    skyrl.register(**driver_options(script, records), unscored=unscored)
    config = GeneratorConfig(n_samples_per_prompt=2, max_turns=9, max_input_length=100_000)
    model = Scripted(script)
    generator = ProfileGenerator(config, SkyRLGymConfig(max_env_workers=0), model, Tokenizer())
    prompt = [{"role": "user", "content": ""}]
    asked = {
        "prompts": [prompt] * 2,
        "env_classes": [skyrl.NAME] * 2,
        "env_extras": [{"question_id": ASKED}, {"question_id": ASKED}],
        "trajectory_ids": [TrajectoryID(ASKED, number) for number in range(2)],
        "sampling_params": None,
        "batch_metadata": None,
    }
    return asyncio.run(generator.generate(asked, disable_tqdm=True)), model


def play(script: Script) -> Played:
    records: list[pg.Trajectory] = []
    output, model = generate(script, records)
    tokens = Tokenizer()
    own = next(record for record in records if record.kind == "personalised")
    last = model.read[f"{ASKED}_0"][-1]
    shown = [segment.text for segment in own.segments if segment.author == "environment"]
    for text in shown:
        assert text.strip() in tokens.decode(last), "the policy did not read it"
    mask, response = output["loss_masks"][0], output["response_ids"][0]
    trained = tokens.decode([token for token, kept in zip(response, mask, strict=True) if kept])
    assert trained == "".join(segment.text for segment in own.segments if segment.author == "policy")
    assert not any(output["loss_masks"][1]), "the control is trained"
    reward = sum(output["rewards"][0])
    unscored = is_unscored(reward, lambda: generate(script, [], "raise"))
    return played(own, shown, None if unscored else reward, unscored)


main(FACTS, play)
