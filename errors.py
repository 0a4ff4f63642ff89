"""Every error that is ours, in one tree; the policy's mistakes are observations and never appear here."""


class ProfileGymError(Exception):
    """Anything this package raises on purpose."""


class DataError(ProfileGymError, ValueError):
    """A data set or a trajectory file that is not what it should be; names file, record and field."""


class UnknownName(ProfileGymError, LookupError):
    """A spec that names no data set, retriever or reward that is known."""


class OptionError(ProfileGymError, ValueError):
    """An option with a value that cannot work."""


class RetrievalError(ProfileGymError):
    """A retriever that failed or broke its contract."""


class RewardError(ProfileGymError):
    """An answer that could not be scored; never a reward of 0."""


class ModelError(ProfileGymError):
    """A model from which no turn could be had."""


class EndpointError(ModelError):
    """A model's endpoint that gave no reply: it is down, refuses, is too slow, or the budget is spent.

    `status` is the HTTP status of what it refused.
    """

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status


class BudgetSpent(EndpointError):
    """The ceiling on cost is reached: nothing more is asked."""


class JudgeError(RewardError):
    """An evaluator from which no verdict could be had."""


class EpisodeError(ProfileGymError, RuntimeError):
    """An episode that was given something it did not ask for."""


class MissingExtra(ProfileGymError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency; install it with: pip install 'profilegym[{extra}]'")
