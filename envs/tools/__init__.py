"""Tools: what a policy can call, bound to one user's profile by the episode."""

from .arguments import ArgumentType
from .tool import Argument, Result, SearchRequest, Tool, as_tool
from .toolset import Toolset, make_tool, make_tools, register_tool

__all__ = [
    "Argument",
    "ArgumentType",
    "Result",
    "SearchRequest",
    "Tool",
    "Toolset",
    "as_tool",
    "make_tool",
    "make_tools",
    "register_tool",
]
