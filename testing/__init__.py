"""For your own tests: contracts to inherit, and an endpoint on loopback that judges and fails as it is told."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contracts import RetrieverContract
    from .endpoint import Fault, JudgeServer

__all__ = ["Fault", "JudgeServer", "RetrieverContract"]


def __getattr__(name: str) -> Any:
    """The contracts need pytest, which the endpoint does not."""
    if name == "RetrieverContract":
        from .contracts import RetrieverContract

        return RetrieverContract
    if name in ("Fault", "JudgeServer"):
        from . import endpoint

        return getattr(endpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
