"""Rewards of groups, and the advantages that every estimator must give: those of `profilegym.training.advantages`."""

from math import nan

# (group, reward, is it the control?): a control is the last of its group; NaN is unscored.
ROWS = (
    ("a", 1.0, False), ("a", 1.5, False), ("a", 0.5, False), ("a", 1.0, False), ("a", 0.5, True),
    ("b", 1.0, False), ("b", nan, False), ("b", 0.0, False), ("b", 1.0, True),
    ("c", 1.0, False), ("c", 1.0, False), ("c", 1.0, True),
)  # fmt: skip
FLAT = (0.0, 0.0, 0.0)
EXPECTED = {
    "joint": (0.239046, 1.434274, -0.956183, 0.239046, -0.956183, 0.577350, 0.0, -1.154701, 0.577350, *FLAT),
    "delta": (1.224745, 2.449490, 0.0, 1.224745, 0.0, 0.0, 0.0, -1.414214, 0.0, *FLAT),
    "code": (-3.405673, -2.210444, -4.600901, -3.405673, 0.0, -3.983128, 0.0, -5.715178, 0.0, *FLAT),
    "none": (0.0, 1.224745, -1.224745, 0.0, 0.0, 0.707107, 0.0, -0.707107, 0.0, *FLAT),
}
UNDIVIDED = {  # by a deviation; `code` has one always
    "joint": (0.1, 0.6, -0.4, 0.1, -0.4, 1 / 3, 0.0, -2 / 3, 1 / 3, *FLAT),
    "delta": (0.5, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0, -1.0, 0.0, *FLAT),
    "none": (0.0, 0.5, -0.5, 0.0, 0.0, 0.5, 0.0, -0.5, 0.0, *FLAT),
}


def token_rewards() -> list[list[float]]:
    """The reward of a row is at its last token."""
    return [[0.0, 0.0, reward] for _, reward, _ in ROWS]


def masks() -> list[list[int]]:
    """Those of the loss: a control is masked as a whole."""
    return [[0, 0, 0] if is_control else [1, 0, 1] for _, _, is_control in ROWS]


def groups() -> list[str]:
    return [group for group, _, _ in ROWS]
