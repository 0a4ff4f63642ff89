"""The environment in SkyRL: an episode by skyrl-gym alone, as SkyRL's generator plays it.

pip install 'profilegym[skyrl]'
python examples/skyrl_env.py
"""

import skyrl_gym

from profilegym.interop import skyrl

skyrl.register(
    data="world:users=20/train", max_searches=2
)  # in the Ray task that trains, before SkyRL's own entry point
row = skyrl.questions("world:users=20/train")[0]
env = skyrl_gym.make(row["env_class"], env_config={}, extras={"question_id": row["question_id"]})

messages, _ = env.init(row["prompt"])
print(messages[0]["content"])
for text in ("<search>food</search>", "<answer>I do not know.</answer>"):
    step = env.step(text)
    print(text, *(message["content"] for message in step["observations"]), sep="\n")
print(f"done {step['done']}, reward {step['reward']}")
env.close()
