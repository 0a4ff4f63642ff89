"""A text environment in which a language model answers a person's question by searching that person's own history.

import gymnasium as gym, profilegym as pg

env = gym.make("profilegym/ProfileQA-v0", data="world", retriever="bm25", reward="rubric")
"""

import importlib
from typing import TYPE_CHECKING, Any

from .registration import register

if TYPE_CHECKING:
    from .agents.agent import make_agent, register_agent
    from .agents.models import Endpoint
    from .agents.models.model import make_model, register_model
    from .envs.action import TOOLS, Answer, Malformed, SearchProfile, parse_action, parse_tool_call
    from .envs.data import QuestionList, QuestionSet, load_questions, register_data
    from .envs.episode import Episode
    from .envs.question import Aspect, Document, Profile, Question, Rubric
    from .envs.retrieval import Hit, Retriever, make_retriever, register_retriever
    from .envs.reward import AspectMatch, Reward, Verdict
    from .envs.trajectory import Trajectory, TrajectoryReader, TrajectoryWriter
    from .errors import ProfileGymError
    from .rewards import make_reward, register_reward
    from .rewards.baseline import BaselineStore
    from .rewards.judges import make_judge, register_judge

__version__ = "0.1.0"

_HOMES = {
    "agents.agent": ("make_agent", "register_agent"),
    "agents.models": ("Endpoint",),
    "agents.models.model": ("make_model", "register_model"),
    "envs.action": ("TOOLS", "Answer", "Malformed", "SearchProfile", "parse_action", "parse_tool_call"),
    "envs.data": ("QuestionList", "QuestionSet", "load_questions", "register_data"),
    "envs.episode": ("Episode",),
    "errors": ("ProfileGymError",),
    "envs.question": ("Aspect", "Document", "Profile", "Question", "Rubric"),
    "envs.retrieval": ("Hit", "Retriever", "make_retriever", "register_retriever"),
    "envs.reward": ("AspectMatch", "Reward", "Verdict"),
    "envs.trajectory": ("Trajectory", "TrajectoryReader", "TrajectoryWriter"),
    "rewards": ("make_reward", "register_reward"),
    "rewards.baseline": ("BaselineStore",),
    "rewards.judges": ("make_judge", "register_judge"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 (in the order of an episode)
    "Question",
    "Profile",
    "Document",
    "Rubric",
    "Aspect",
    "QuestionSet",
    "QuestionList",
    "load_questions",
    "register_data",
    "Retriever",
    "Hit",
    "make_retriever",
    "register_retriever",
    "SearchProfile",
    "Answer",
    "Malformed",
    "parse_action",
    "parse_tool_call",
    "TOOLS",
    "Episode",
    "Reward",
    "Verdict",
    "AspectMatch",
    "Endpoint",
    "make_judge",
    "register_judge",
    "make_reward",
    "register_reward",
    "BaselineStore",
    "make_agent",
    "register_agent",
    "make_model",
    "register_model",
    "Trajectory",
    "TrajectoryReader",
    "TrajectoryWriter",
    "ProfileGymError",
]


def __getattr__(name: str) -> Any:
    """Public names load when they are first used, so that importing the package stays cheap."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register()
