"""Joins the parts: an environment from the names of its data, its retriever and its reward."""

from typing import Any
from weakref import WeakValueDictionary

import gymnasium

ENV_ID = "profilegym/ProfileQA-v0"

_loaded: WeakValueDictionary[str, Any] = WeakValueDictionary()  # the environments of one vector share their questions


def register() -> None:
    """Make the environment known to Gymnasium."""
    if ENV_ID not in gymnasium.registry:
        here = __name__
        gymnasium.register(ENV_ID, entry_point=f"{here}:make_env", vector_entry_point=f"{here}:make_vector_env")


def make_env(data: Any = "world", retriever: Any = "bm25", reward: Any = "rubric", **options: Any) -> Any:
    """What `gym.make` calls. Each of the three is a spec or an object; `reward` a name or a callable."""
    from .envs.profile_qa import ProfileQAEnv

    return ProfileQAEnv(*_parts(data, retriever, reward), **options)


def make_vector_env(
    num_envs: int = 1, data: Any = "world", retriever: Any = "bm25", reward: Any = "rubric", **options: Any
) -> Any:
    """What `gym.make_vec(…, vectorization_mode="vector_entry_point")` calls."""
    from .envs.profile_qa_vector import ProfileQAVectorEnv

    return ProfileQAVectorEnv(*_parts(data, retriever, reward), num_envs=num_envs, **options)


def openai_judge(
    model: str,
    *,
    cache: str | None = None,
    offline: bool = False,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_replies: int = 4,
    **endpoint: Any,
) -> Any:
    """The judge `openai:MODEL`: an evaluator LLM behind an endpoint, its replies kept in the file `cache`.

    `max_tokens` is for each reply, thinking included; `max_replies` is how often an aspect is asked about until a reply
    can be read. The other options are those of `Endpoint`.
    """
    from dataclasses import replace

    from .agents.models import Endpoint
    from .errors import OptionError
    from .rewards.cache import Cache
    from .rewards.judge import SAMPLING, LLMJudge

    try:
        asked = Endpoint(model, **endpoint)
    except TypeError as error:  # an option that an endpoint does not have
        raise OptionError(f"openai:{model}: {error}") from error
    chosen: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
    sampling = replace(SAMPLING, **{name: value for name, value in chosen.items() if value is not None})
    return LLMJudge(
        asked, cache=Cache(cache) if cache else None, offline=offline, max_replies=max_replies, sampling=sampling
    )


def _parts(data: Any, retriever: Any, reward: Any) -> tuple[Any, Any, Any]:
    from .envs.retrieval import make_retriever
    from .rewards import make_reward
    from .rewards.rubric import RubricReward

    questions, scored = _questions(data), make_reward(reward)
    if isinstance(scored, RubricReward):
        scored.check(questions)
    return questions, make_retriever(retriever), scored


def _questions(data: Any) -> Any:
    from .envs.data import QuestionList, QuestionSet, load_questions

    if isinstance(data, QuestionSet):
        return data
    if not isinstance(data, str):
        return QuestionList(data)
    questions = _loaded.get(data)
    if questions is None:
        _loaded[data] = questions = load_questions(data)
    return questions
