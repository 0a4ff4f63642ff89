"""Options of a game in the browser: those of its run, or others from the form."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, cast, get_args

from ..._util.registry import Registry
from ...agents.agent import AGENTS
from ...agents.models.model import MODELS
from ...envs.data.profile_controls import ProfileOf
from ...envs.retrieval.retriever import RETRIEVERS
from ...envs.tools.toolset import TOOLS
from ...errors import OptionError
from ...evaluation.evaluate import Settings
from ...rewards.registry import JUDGES, REWARDS
from .trust import is_trusted

PROFILES = get_args(ProfileOf)
_MOST = 1000  # posts per search
_NAMED: tuple[tuple[str, Registry], ...] = (("agent", AGENTS), ("model", MODELS), ("retriever", RETRIEVERS))
_GENERATION = ("temperature", "top_p", "turn_tokens", "max_tokens")
_EPISODE = ("top_k", "max_searches", "protocol", "tools", "max_shown", "cites", "costs", "hit_chars")


def settings_of(recorded: Mapping[str, Any]) -> Settings:
    """Settings from the recipe of an evaluation or of training, without those that are refused."""
    found, refused = _ungrouped(recorded), refused_of(recorded)
    known = (field.name for field in fields(Settings) if field.name in found and field.name not in refused)
    return Settings(**{name: found[name] for name in known})


def refused_of(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Specs of the recipe that are not trusted. The defaults take their place."""
    found = _ungrouped(recorded)
    registries = {**dict(_NAMED), "judge": JUDGES, "metric": REWARDS, "tools": TOOLS}
    specs = {name: str(found[name]) for name in registries if found.get(name)}
    parts = {name: spec.split("+") if name == "tools" else [spec] for name, spec in specs.items()}
    return {
        name: spec
        for name, spec in specs.items()
        if not all(is_trusted(part.strip(), registries[name]) for part in parts[name])
    }


def _ungrouped(recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """A training run has its settings in groups."""
    if "episode" not in recorded:
        return recorded
    found = {**recorded, "data": recorded["data"]["train"]}
    for group, names in (("generation", _GENERATION), ("episode", _EPISODE)):
        found |= {name: recorded[group][name] for name in names if name in recorded.get(group, {})}
    return found


def flat(recorded: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Settings in groups, flattened to names such as `optimiser.steps`."""
    found: dict[str, Any] = {}
    for name, value in recorded.items():
        found |= flat(value, f"{group}{name}.") if isinstance(value, Mapping) else {f"{group}{name}": value}
    return found


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Suggestions for the form, which takes other names too."""

    agents: Sequence[str]
    models: Sequence[str]
    retrievers: Sequence[str]
    profiles: Sequence[str] = PROFILES

    @classmethod
    def here(cls, weights: Sequence[str]) -> Self:
        """`weights`: specs of the models in run directories."""
        agents = [name for name in AGENTS.names() if name != "none"]
        return cls(agents, [*weights, *MODELS.names()], RETRIEVERS.names())


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """The options of the form, with the specs of the command line."""

    agent: str
    model: str
    retriever: str
    top_k: int
    profile: ProfileOf = "own"
    tools: str | None = None  # those of the run, except in a new game

    @classmethod
    def of_run(cls, settings: Settings) -> Self:
        agent = "pr2" if settings.agent == "none" else settings.agent
        return cls(agent, settings.model, settings.retriever, settings.top_k, tools=settings.tools)

    @classmethod
    def of_branch(cls, settings: Settings, told: Mapping[str, Any], profile: ProfileOf) -> Self:
        """The run's options, changed as the branch's record says, where that is trusted."""
        kept = {name: told[name] for name, registry in _NAMED if is_trusted(told.get(name), registry)}
        if isinstance(told.get("top_k"), int) and 1 <= told["top_k"] <= _MOST:
            kept["top_k"] = told["top_k"]
        return replace(cls.of_run(settings), **kept, profile=profile)

    def filled_in(self, form: Mapping[str, str]) -> Self:
        """Changed by the fields of a form."""
        filled: dict[str, Any] = {
            name: form[name].strip() for name in ("agent", "model", "retriever") if form.get(name)
        }
        if "tools" in form:
            filled["tools"] = form["tools"].strip() or None
        if form.get("top_k"):
            if not re.fullmatch(r"[1-9]\d{0,3}", form["top_k"]) or int(form["top_k"]) > _MOST:
                raise OptionError(f"top_k={form['top_k']!r}: give a whole number from 1 to {_MOST}")
            filled["top_k"] = int(form["top_k"])
        if form.get("profile", self.profile) not in PROFILES:
            raise OptionError(f"profile={form['profile']!r}: give one of {', '.join(PROFILES)}")
        profile = cast(ProfileOf, form.get("profile", self.profile))
        return replace(self, **filled, profile=profile)

    def other_than(self, usual: Self) -> dict[str, Any]:
        """The options that differ."""
        return {name: value for name, value in asdict(self).items() if value != getattr(usual, name)}

    def settings(self, settings: Settings) -> Settings:
        """The run's settings with these options."""
        chosen = asdict(self)
        del chosen["profile"]
        return replace(settings, **chosen)
