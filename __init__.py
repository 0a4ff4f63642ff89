"""A text environment in which a language model answers a person's question by searching that person's own history.

import gymnasium as gym, profilegym as pg

env = gym.make("profilegym/ProfileQA-v0", data="world", retriever="bm25", reward="rubric")
"""

import importlib
from typing import TYPE_CHECKING, Any

from .registration import register

if TYPE_CHECKING:
    from .agents.agent import BaseAgent, ModelHandle, make_agent, register_agent
    from .agents.models import Endpoint
    from .agents.models.model import Turn, make_model, register_model
    from .agents.rollout import Job, Rollout
    from .envs.action import TOOLS, Answer, Call, Malformed, SearchProfile, parse_action, parse_tool_call
    from .envs.chat import Sampling
    from .envs.data import QuestionList, QuestionSet, load_questions, register_data
    from .envs.episode import Episode
    from .envs.question import Aspect, Document, Profile, Question, Rubric
    from .envs.retrieval import BaseRetriever, Hit, Retriever, make_retriever, register_retriever
    from .envs.reward import AspectMatch, Reward, Verdict
    from .envs.tools import SearchRequest, Tool, as_tool, make_tools, register_tool
    from .envs.trajectory import Trajectory, TrajectoryReader, TrajectoryWriter
    from .errors import BadArgument, ProfileGymError
    from .evaluation.run import RunDirectory
    from .interop import openenv as openenv
    from .interop import trl as trl
    from .rewards import make_judge, make_reward, register_judge, register_reward
    from .rewards.cache import Cache
    from .rewards.judge import LLMJudge

__version__ = "0.1.0"

_MODULES = {
    "agents.agent": ("BaseAgent", "ModelHandle", "make_agent", "register_agent"),
    "agents.models": ("Endpoint",),
    "agents.models.model": ("Turn", "make_model", "register_model"),
    "agents.rollout": ("Rollout", "Job"),
    "envs.action": ("TOOLS", "Answer", "Call", "Malformed", "SearchProfile", "parse_action", "parse_tool_call"),
    "envs.chat": ("Sampling",),
    "envs.data": ("QuestionList", "QuestionSet", "load_questions", "register_data"),
    "envs.episode": ("Episode",),
    "errors": ("BadArgument", "ProfileGymError"),
    "evaluation.run": ("RunDirectory",),
    "envs.question": ("Aspect", "Document", "Profile", "Question", "Rubric"),
    "envs.retrieval": ("BaseRetriever", "Hit", "Retriever", "make_retriever", "register_retriever"),
    "envs.reward": ("AspectMatch", "Reward", "Verdict"),
    "envs.tools": ("SearchRequest", "Tool", "as_tool", "make_tools", "register_tool"),
    "envs.trajectory": ("Trajectory", "TrajectoryReader", "TrajectoryWriter"),
    "rewards": ("make_judge", "make_reward", "register_judge", "register_reward"),
    "rewards.cache": ("Cache",),
    "rewards.judge": ("LLMJudge",),
}
_FRAMEWORKS = ("openenv", "trl")  # `pg.trl`: modules of `interop`, each for a package that may not be installed
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [  # noqa: RUF022 (in the order of an episode)
    "Question", "Profile", "Document", "Rubric", "Aspect",
    "QuestionSet", "QuestionList", "load_questions", "register_data",
    "Retriever", "BaseRetriever", "Hit", "make_retriever", "register_retriever",
    "Tool", "SearchRequest", "as_tool", "make_tools", "register_tool",
    "SearchProfile", "Call", "Answer", "Malformed", "parse_action", "parse_tool_call", "TOOLS", "Episode",
    "Reward", "Verdict", "AspectMatch", "make_reward", "register_reward",
    "LLMJudge", "Cache", "Endpoint", "make_judge", "register_judge",
    "BaseAgent", "ModelHandle", "make_agent", "register_agent", "Rollout", "Job",
    "Turn", "Sampling", "make_model", "register_model",
    "Trajectory", "TrajectoryReader", "TrajectoryWriter", "RunDirectory",
    "ProfileGymError", "BadArgument",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `import profilegym` stays fast."""
    if name in _FRAMEWORKS:
        return importlib.import_module(f".interop.{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_FRAMEWORKS})


register()
