"""Registers the environment with Gymnasium, and creates it from the specs of its data, retriever and reward."""

from typing import Any

import gymnasium

ENV_ID = "profilegym/ProfileQA-v0"


def register() -> None:
    """Registers the environment with Gymnasium."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=f"{__name__}:make_env", vector_entry_point=f"{__name__}:make_vector_env")


def make_env(data: Any = "world", retriever: Any = "bm25", reward: Any = "rubric", **options: Any) -> Any:
    """Called by `gym.make`. `data`, `retriever` and `reward` are specs or objects."""
    from .envs.profile_qa import ProfileQAEnv

    return ProfileQAEnv(*parts_of(data, retriever, reward), **options)


def make_vector_env(
    num_envs: int = 1, data: Any = "world", retriever: Any = "bm25", reward: Any = "rubric", **options: Any
) -> Any:
    """Called by `gym.make_vec(…, vectorization_mode="vector_entry_point")`."""
    from .envs.profile_qa_vector import ProfileQAVectorEnv

    return ProfileQAVectorEnv(*parts_of(data, retriever, reward), num_envs=num_envs, **options)


def openai_judge(
    model: str,
    *,
    cache: str | None = None,
    offline: bool = False,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_replies: int = 4,
    prompt: str | None = None,
    verdict: str = "match",
    cut: str = "budget",
    **endpoint: Any,
) -> Any:
    """The judge `openai:MODEL`: an LLM behind an endpoint, with its replies cached in the file `cache`.

    `max_tokens` limits each reply, thinking included. `max_replies` is the number of requests for an aspect until a
    reply is valid. `prompt` is a file whose text is asked instead of the package's own; its reply is a JSON object
    whose verdict of 0, 1 or 2 stands under the key `verdict`. A folder has a file for each type of question, and the
    reply is yes or no; `longmemeval` is one that the package has. With `cut=none` long parts are shown whole. The other
    options are those of `Endpoint`.
    """
    from dataclasses import replace

    from ._util.registry import construct
    from .agents.models import Endpoint
    from .errors import OptionError
    from .rewards.cache import Cache
    from .rewards.judge import SAMPLING, LLMJudge, Prompt
    from .rewards.judge_prompts import ASPECT_PROMPT, AspectPrompt
    from .rewards.typed_prompt import TypedPrompt, is_typed

    llm = construct(Endpoint, f"openai:{model}", openai_judge, model, **endpoint)
    given: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    sampling = replace(SAMPLING, **{name: value for name, value in given.items() if value is not None})
    if cut not in ("budget", "none"):
        raise OptionError(f"cut={cut!r}: give 'budget' or 'none'")
    whole = cut == "none"
    asked: Prompt = ASPECT_PROMPT.whole(whole)
    if prompt:
        typed = is_typed(prompt)
        asked = (
            TypedPrompt.load(prompt, cut=not whole)
            if typed
            else AspectPrompt.load(prompt, verdict=verdict, cut=not whole)
        )
    return LLMJudge(
        llm,
        cache=Cache(cache) if cache else None,
        offline=offline,
        max_replies=max_replies,
        sampling=sampling,
        prompt=asked,
    )


def parts_of(data: Any, retriever: Any, reward: Any) -> tuple[Any, Any, Any]:
    """Questions, retriever and reward of their specs; objects are returned as they are."""
    from .envs.retrieval import make_retriever
    from .rewards import make_reward
    from .rewards.rubric import RubricReward

    questions, reward_function = _questions(data), make_reward(reward)
    if isinstance(reward_function, RubricReward):
        reward_function.check(questions)
    return questions, make_retriever(retriever), reward_function


def _questions(data: Any) -> Any:
    from .envs.data import QuestionList, QuestionSet
    from .envs.data.sharing import shared_questions

    if isinstance(data, QuestionSet):
        return data
    return shared_questions(data) if isinstance(data, str) else QuestionList(data)
