"""The package's exceptions. A policy's mistakes are observations, not exceptions."""


class ProfileGymError(Exception):
    """Base class of all errors that this package raises."""


class DataError(ProfileGymError, ValueError):
    """An invalid data set or trajectory file. The message names file, record and field."""


class UnknownName(ProfileGymError, LookupError):
    """A spec with an unknown name of a data set, retriever, tool, reward, judge, agent or model."""


class OptionError(ProfileGymError, ValueError):
    """An unknown option, or an option with an invalid value."""


class RetrievalError(ProfileGymError):
    """A retriever failed or violated its contract."""


class ToolError(ProfileGymError):
    """A tool failed or violated its contract."""


class BadArgument(ProfileGymError, ValueError):
    """A policy called a tool with an argument that it refuses; the policy is shown the message."""


class RewardError(ProfileGymError):
    """An answer could not be scored. It stays unscored and never gets a reward of 0."""


class ModelError(ProfileGymError):
    """A model gave no turn."""


class EndpointError(ModelError):
    """An endpoint gave no reply: it is down, refused the request, timed out, or the budget is spent.

    `status` is the HTTP status of a refusal.
    """

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status


class BudgetSpent(EndpointError):
    """The budget for an endpoint is spent; no more requests are made."""


class JudgeError(RewardError):
    """A judge gave no verdict."""


class FleetError(ProfileGymError):
    """Workers of a fleet cannot be placed, or die again and again."""


class EpisodeError(ProfileGymError, RuntimeError):
    """A call that the state of an episode or an environment does not allow."""


class MissingExtra(ProfileGymError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency; install it with: pip install 'profilegym[{extra}]'")
