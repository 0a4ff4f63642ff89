"""An episode over OpenEnv: its server in this process, and its own client on the other side of a WebSocket.

pip install 'profilegym[openenv]'
python examples/openenv_client.py
"""

import threading
import time

import uvicorn
from openenv.core import GenericEnvClient

import profilegym as pg
from profilegym._util.loopback import listen

DATA = "world:users=20/test"
listening = listen(0)
server = uvicorn.Server(uvicorn.Config(pg.openenv.make_app(DATA), log_level="error"))
threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
while not server.started:
    time.sleep(0.05)

with GenericEnvClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
    result = client.reset(seed=7)
    print(result.observation["text"])
    for turn in ("<search>food and drink</search>", "<answer>I do not know.</answer>"):
        result = client.step({"message": turn})
        print(turn, result.observation["text"])
    print(f"reward {result.reward}, done {result.done}")
server.should_exit = True
