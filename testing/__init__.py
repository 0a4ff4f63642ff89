"""Conformance kits to inherit in your own tests, and fake OpenAI-compatible servers with scripted faults."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contracts import AgentContract, JudgeContract, ModelContract, RetrieverContract, RewardContract, ToolContract
    from .fake_server import Fault
    from .judge_server import JudgeServer
    from .policy_server import PolicyServer
    from .vllm_server import VLLMServer

__all__ = [
    "AgentContract",
    "Fault",
    "JudgeContract",
    "JudgeServer",
    "ModelContract",
    "PolicyServer",
    "RetrieverContract",
    "RewardContract",
    "ToolContract",
    "VLLMServer",
]

_HOME_OF = {
    "Fault": "fake_server",
    "JudgeServer": "judge_server",
    "PolicyServer": "policy_server",
    "VLLMServer": "vllm_server",
}


def __getattr__(name: str) -> Any:
    """Names load on first use: contracts need pytest, servers do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF.get(name, 'contracts')}", __name__), name)
