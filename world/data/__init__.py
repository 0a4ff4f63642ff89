"""The world: synthetic users, their documents, and questions with exactly known answers.

`world[:seed=S,users=U,docs=D,hops=H][/SPLIT]`: the same spec gives the same bytes, and user 17 of a seed is the same
for 20 and for 20,000 users.
"""

from .dataset import SPLITS, World, gold_queries, load
from .lamp import WorldLamp, write_lamp
from .lamp_qa_file import write_lamp_qa

__all__ = ["SPLITS", "World", "WorldLamp", "gold_queries", "load", "write_lamp", "write_lamp_qa"]
