"""The server: PROFILEGYM_DATA and PROFILEGYM_REWARD name other data and another judge."""

import os

import uvicorn

from profilegym.interop.openenv import make_app

app = make_app(
    {"test": os.environ.get("PROFILEGYM_DATA", "world:seed=7,users=200/test")},
    reward=os.environ.get("PROFILEGYM_REWARD", "rubric"),
)


def main() -> None:
    uvicorn.run(app, host="0.0.0.0", port=8000)  # noqa: S104 (inside a container)


if __name__ == "__main__":
    main()
