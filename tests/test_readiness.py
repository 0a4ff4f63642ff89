"""A dry run builds TRL's config, and asks the servers that a recipe names whether they are there and fit."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matching import naming
from tiny_policy import recipe

from profilegym.apps.train import run_train
from profilegym.errors import OptionError
from profilegym.testing import JudgeServer, VLLMServer
from profilegym.training.readiness import Readiness, longest_episode, readiness_of
from profilegym.training.recipe import Recipe, load_recipe
from profilegym.training.settings import recipe_names

pytest.importorskip("trl")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VLLMServer]:
    with VLLMServer(lambda prompt, model: "", model=str(tmp_path), context=4096) as one:
        yield one


def asked(policy: Path, url: str, **changes: Any) -> Recipe:
    served = {"engine": "vllm-server", "vllm_server": url, "turn_tokens": 40, "max_tokens": 80}
    return recipe(policy, **({"generation": served, "lora": {"rank": 4}} | changes))


def about_vllm(asked: Recipe) -> Readiness:
    return next(one for one in readiness_of(asked) if one.what.startswith("vLLM"))


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize(
    "name", [name for name in recipe_names() if name.startswith("pr2-") and "smollm2" not in name]
)  # which is in stages
def test_trls_config_is_built_for_every_recipe(name: str) -> None:
    trl = next(readiness_of(load_recipe(name)))

    assert trl.state == "fine", trl.found
    assert trl.what in ("TRL's GRPOConfig", "TRL's AsyncGRPOConfig")


def test_settings_that_trl_refuses_end_a_dry_run_with_its_words(tmp_path: Path) -> None:
    (one,) = readiness_of(recipe(tmp_path, trl={"num_iterations": 1, "lr_scheduler_kwargs": "{"}))

    assert one.state == "unfit"


def test_a_server_that_serves_the_model_with_adapters_is_fine(server: VLLMServer, tmp_path: Path) -> None:
    found = about_vllm(asked(tmp_path, server.base))

    assert found.state == "fine", found.found
    assert "4,096 tokens" in found.found
    assert server.controls == []


def test_a_server_that_is_not_up_is_missing_and_no_reason_to_fail(tmp_path: Path) -> None:
    found = about_vllm(asked(tmp_path, f"http://127.0.0.1:{a_free_port()}"))

    assert found.state == "missing"


def test_each_server_is_asked(server: VLLMServer, tmp_path: Path) -> None:
    found = readiness_of(asked(tmp_path, f"{server.base}|http://127.0.0.1:{a_free_port()}"))

    assert [one.state for one in found] == ["fine", "fine", "missing"]  # TRL, and two servers


def renamed(server: VLLMServer) -> None:
    server.model = "another/model"


def untempered(server: VLLMServer) -> None:
    server.logprobs_mode = "raw_logprobs"


def short(server: VLLMServer) -> None:
    server.context = 80


@pytest.mark.parametrize(
    ("changed", "settings", "told"),
    [
        (renamed, {}, "another/model"),
        (short, {}, "--max-model-len"),
        (untempered, {"temperature": 0.7}, "--logprobs-mode processed_logprobs"),
        (None, {"lora": {"rank": 128}}, "--max-lora-rank 128"),
        (None, {"trl": {"max_staleness": 30}}, "--max-loras 32"),
    ],
)
def test_a_server_that_does_not_fit_is_told_with_the_flag_that_mends_it(
    changed: Callable[[VLLMServer], None] | None,
    settings: dict[str, Any],
    told: str,
    server: VLLMServer,
    tmp_path: Path,
) -> None:
    if changed is not None:
        changed(server)
    served = {"engine": "vllm-server", "vllm_server": server.base, "turn_tokens": 40, "max_tokens": 80}
    drawn = {"temperature": settings.pop("temperature", 1.0)}

    found = about_vllm(recipe(tmp_path, **({"generation": served | drawn, "lora": {"rank": 4}} | settings)))

    assert found.state == "unfit"
    assert told in found.found


def test_a_server_of_something_else_is_unfit(tmp_path: Path) -> None:
    with JudgeServer() as judge:
        found = about_vllm(asked(tmp_path, judge.url.removesuffix("/v1")))

    assert found.state == "unfit"


def test_a_judges_endpoint_is_asked_once_for_reward_and_judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    url = f"http://127.0.0.1:{a_free_port()}/v1"
    judge = f"openai:m,base_url={url}"

    found = list(readiness_of(recipe(tmp_path, reward=f"compose:1*score:{judge}+0.1*structure", judge=judge)))

    assert [(one.what, one.state) for one in found[1:]] == [(f"judge at {url}", "missing")]


def test_a_dry_run_fails_for_a_server_that_does_not_fit_and_not_for_one_that_is_not_up(
    server: VLLMServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    served = ["generation.engine=vllm-server", "lora.rank=8"]
    away = f"generation.vllm_server=http://127.0.0.1:{a_free_port()}"

    run_train("pr2-world", [*served, away], tmp_path / "run", dry_run=True)
    with pytest.raises(OptionError, match=naming(server.base)):  # it serves another model than the pilot
        run_train("pr2-world", [*served, f"generation.vllm_server={server.base}"], tmp_path / "run", dry_run=True)

    told = capsys.readouterr().out
    assert "missing: vLLM at" in told
    assert "unfit:   vLLM at" in told


def test_the_longest_episode_counts_the_prompt_the_hits_and_what_is_written(tmp_path: Path) -> None:
    short, long = (
        longest_episode(recipe(tmp_path, episode={"max_searches": searches, "top_k": 2, "hit_chars": 1000}))
        for searches in (0, 3)
    )

    assert long - short == 1800
    assert short > 30
