"""The core and nothing else: no openai, no torch. An episode is stepped, and the command line tells what it can do."""

import subprocess
import sys
from importlib.util import find_spec

from episode import play, questions

import profilegym as pg
from profilegym.errors import MissingExtra

for extra in ("openai", "aiohttp", "torch", "transformers"):
    assert find_spec(extra) is None, f"{extra} is installed here, so this shows nothing"

play(questions()[0].id)
subprocess.run([sys.executable, "-m", "profilegym", "--help"], check=True, stdout=subprocess.DEVNULL)
try:
    pg.make_judge("openai:gpt-5-mini")
except MissingExtra as error:
    print(f"the core alone: an episode stepped; {error}")
else:
    raise AssertionError("a judge was made without its client")
