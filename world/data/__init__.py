"""The world: made-up people, what they wrote, and questions whose perfect answers are known exactly.

`world[:seed=S,users=U,docs=D,hops=H][/SPLIT]`; the same spec gives the same bytes, and person 17 of a seed is the same
whether 20 or 20,000 were asked for.
"""

from .dataset import SPLITS, World, load, plan_of
from .lamp import WorldLamp, write_lamp
from .lamp_qa_file import write_lamp_qa

__all__ = ["SPLITS", "World", "WorldLamp", "load", "plan_of", "write_lamp", "write_lamp_qa"]
