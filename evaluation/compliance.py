"""Whether an output has the form that its agent asks for, beyond the grammar of tags."""

from collections.abc import Callable, Mapping, Sequence

from ..agents.r2p_template import complies
from ..envs.tagpr_tags import tagged
from ..envs.trajectory import Segment, Trajectory

_FORMS: Mapping[str, Callable[[Sequence[Segment]], bool]] = {  # by agent
    "r2p": complies,
    "tagpr": lambda segments: tagged(segments).problem is None,
}


def compliance(trajectory: Trajectory) -> bool | None:
    """None where the agent asks for no form, or its protocol has no tags."""
    form = _FORMS.get(trajectory.agent or "")
    if form is None or trajectory.structure_ok is None:
        return None
    return trajectory.structure_ok and form(trajectory.segments)
