"""One episode by hand: a question, two searches of the person's own posts, an answer, and what it was worth.

python examples/step_an_episode.py
"""

import gymnasium as gym

import profilegym as pg
from profilegym.world.data import World

DATA = "world:seed=7,users=50/test"

env = gym.make("profilegym/ProfileQA-v0", data=DATA, retriever="bm25", reward="rubric", top_k=3, max_searches=4)

# The world knows how a perfect searcher would go about each question and what a perfect answer is. A policy doesn't.
world = pg.load_questions(DATA)
assert isinstance(world, World)
question = next(question for question in world if question.rubric.hops == 2)
first, second, *_ = world.gold_queries(question.id)

turns = (
    f"<think>Who is that? I have to find the name first.</think><search>{first}</search>",
    f"<think>Now I know whom they mean.</think><search>{second}</search>",
    f"<think>That is all I need.</think><answer>{question.rubric.reference}</answer>",
)

observation, info = env.reset(seed=7, options={"question_id": question.id})
print(f"── the environment, to a policy that answers {info['user_id']} ──\n{observation}\n")

for turn in turns:
    print(f"── the policy ──\n{turn}\n")
    observation, reward, terminated, truncated, info = env.step(turn)
    if observation:
        print(f"── the environment ──\n{observation.strip()}\n")

trajectory = info["trajectory"]
print(f"── the end: {trajectory.ended}, reward {reward:.3f} ──")
for aspect in trajectory.verdict.aspects:
    print(f"{aspect.match} of 2  {aspect.title}: {aspect.reason}")
for search in trajectory.searches:
    print(f"searched for {search.query!r} and saw {', '.join(document for document, _ in search.hits)}")

own = [segment for segment in trajectory.segments if segment.author == "policy"]
print(f"The record holds {len(trajectory.segments)} segments, {len(own)} of them the policy's; as JSON:")
print(trajectory.to_json()[:160] + "…")
