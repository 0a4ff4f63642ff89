"""Where the weights of a model lie: those that a spec names can be trained and read here."""

from importlib import import_module

from ...errors import OptionError

_NAMED = {"pilot": "profilegym.world.pilot.model", "smollm2": "profilegym.agents.models.smollm2"}


def weights_of(spec: str) -> str:
    """The folder, or the name on the hub, that a model spec means; its options, after a comma, are left out."""
    name, _, rest = spec.partition(":")
    path = rest.partition(",")[0]
    if name == "hf" and path:
        return path
    if name in _NAMED:
        return str(import_module(_NAMED[name]).weights())
    raise OptionError(f"model={spec!r} has no weights to train: give {', '.join(_NAMED)}, or hf:PATH_OR_ID")
