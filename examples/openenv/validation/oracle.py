"""The best episode of the first question, as a plan: `python validation/oracle.py > validation/runtime.json`."""

import json

import profilegym as pg

DATA = "world:seed=7,users=200/test"


def plan() -> dict[str, object]:
    asked = pg.load_questions(DATA)[0]
    answer = "; ".join(aspect.accepted[0] for aspect in asked.rubric.aspects)
    turns = ("<search>food and drink</search>", f"<answer>{answer}</answer>")
    reset = {"episode_id": "oracle", "seed": 7, "options": {"question_id": asked.id}}
    return {"plan_schema_version": "1", "reset": reset, "actions": [{"message": turn} for turn in turns]}


if __name__ == "__main__":
    print(json.dumps(plan(), indent=2))
