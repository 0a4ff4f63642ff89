"""`profilegym play --plain`, line by line."""

import io
import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from matching import names, naming
from talks import asked, conversation, turn

import profilegym as pg
from profilegym.apps.cli.play import play_plain
from profilegym.apps.play import plain
from profilegym.apps.play.session import PlaySession
from profilegym.errors import ProfileGymError
from profilegym.evaluation.evaluate import Settings

DATA = "world:seed=7,users=20/test"
QUESTION = next(question for question in pg.load_questions(DATA) if question.rubric.hops == 2)
ORACLE = Settings(model="scripted:oracle", data=DATA)
Typed = Callable[..., str]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    """What is printed to somebody who types some lines and then leaves."""

    def play(*lines: str, settings: Settings = ORACLE, question: str | None = QUESTION.id, **options: Any) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        plain.play(PlaySession(settings, tmp_path, question_id=question, **options))
        return capsys.readouterr().out

    return play


def records(out: Path) -> list[pg.Trajectory]:
    return list(pg.TrajectoryReader(out / "trajectories.jsonl"))


@pytest.mark.slow
def test_a_policy_that_needs_no_person_plays_to_the_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "profilegym", "play", "--plain", "--data", DATA, "--agent", "scripted:oracle"]

    told = subprocess.run(
        [*command, "--out", str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )

    assert told.stderr == ""
    assert names(told.stdout, "answered", "1.00", "scripted:oracle", tmp_path / "trajectories.jsonl")
    last = records(tmp_path)[-1]
    assert (last.agent, last.ended) == ("scripted:oracle", "answered")
    assert last.baseline is not None


def test_a_person_searches_answers_and_is_told_all_of_it(typed: Typed, tmp_path: Path) -> None:
    document = QUESTION.rubric.aspects[0].documents[0]

    told = typed(QUESTION.profile.by_id[document].text, "answer I do not know")

    assert QUESTION.text in told
    assert "4 searches left; 100 of 100 posts unseen" in told
    assert "1. You searched for:" in told
    assert "matches: " in told
    assert "2. You answered: I do not know" in told
    assert "not covered" in told
    assert "   found, " in told
    assert "   missed, " in told
    assert "gain " in told
    assert records(tmp_path)[-1].answer == "I do not know"


def test_the_evidence_is_not_told_before_the_end(typed: Typed) -> None:
    told = typed("tea", "show")

    assert "Evidence" not in told
    assert not any(aspect.title in told for aspect in QUESTION.rubric.aspects)


def test_the_policy_is_asked_and_takes_a_turn_that_is_taken_back(typed: Typed) -> None:
    told = typed("ask", "take", "undo", "show")

    asked, taken = told.index("would write:"), told.index("1. pr2 searched for:")
    assert asked < taken < told.index("The last turn is undone.")
    assert told.count("1. pr2 searched for:") == 1


def test_branches_are_left_and_come_back_to(typed: Typed, tmp_path: Path) -> None:
    told = typed("tea", "branch", "answer Milk", "branch 1", "answer Water", "branch 7")

    assert "This is branch 2 of 2." in told
    assert "This is branch 1 of 2." in told
    assert "there is no branch 7: there are 2" in told
    first, second = {trajectory.id: trajectory for trajectory in records(tmp_path)}.values()
    assert first.id == f"{second.id}.1"
    assert (first.answer, second.answer) == ("Milk", "Water")
    assert "2 games are saved" in told


def test_a_command_word_with_more_behind_it_is_a_search(typed: Typed) -> None:
    told = typed("ask my sister about tea", "search help")

    assert "You searched for: ask my sister about tea" in told
    assert "You searched for: help" in told


def test_the_last_turn_asks_for_the_answer(typed: Typed, tmp_path: Path) -> None:
    one = Settings(model="scripted:oracle", data=DATA, max_searches=1)

    told = typed("tea", "search more tea", "Rooibos, I think", settings=one)

    assert "no searches left: answer now" in told
    assert "Error: no searches are left: answer" in told
    assert records(tmp_path)[-1].answer == "Rooibos, I think"


def test_the_end_of_the_input_says_what_was_saved(typed: Typed, tmp_path: Path) -> None:
    told = typed("tea")

    assert told.endswith("No game is over, so nothing is saved.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_question_is_picked_by_its_words(typed: Typed) -> None:
    told = typed("no such words", QUESTION.user_id, QUESTION.text, "quit", question=None)

    assert "No question matches." in told
    assert "questions match." in told
    assert f"Question {QUESTION.id} by" in told


def test_another_question_can_be_picked_of_the_same_person(typed: Typed) -> None:
    told = typed("new", "", question=QUESTION.id, user=QUESTION.user_id)

    first = next(question for question in pg.load_questions(DATA) if question.user_id == QUESTION.user_id)
    assert told.index(f"Question {QUESTION.id}") < told.rindex(f"Question {first.id}")


def test_a_model_that_cannot_be_had_is_one_line_and_the_game_goes_on(typed: Typed, tmp_path: Path) -> None:
    told = typed("ask", "answer Milk", settings=Settings(model="scripted:nobody", data=DATA))

    assert "Error: no script 'nobody'; known: explorer, oracle" in told
    assert "Error: the policy gave no answer without the profile:" in told
    assert [trajectory.answer for trajectory in records(tmp_path)] == ["Milk"]


HANGING = """
import asyncio
from profilegym.agents.models.scripted import ScriptedModel, ScriptedSession

class Hanging(ScriptedSession):
    async def generate(self, *asked):
        print("thinking", flush=True)
        await asyncio.Event().wait()

class Model(ScriptedModel):
    def open(self, question, seed):
        return Hanging(question, self._script)

def make():
    return Model("hanging", lambda question, said: "")
"""


@pytest.mark.slow
def test_an_interrupt_gives_up_a_model_that_hangs_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    options = ["--data", DATA, "--question", QUESTION.id, "--model", f"{tmp_path / 'hanging.py'}:make"]
    command = [sys.executable, "-m", "profilegym", "play", "--plain", *options, "--out", str(tmp_path)]
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may have it ignored
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, preexec_fn=heeded) as game:
        assert game.stdin is not None
        assert game.stdout is not None
        game.stdin.write("ask\n")
        game.stdin.flush()
        assert any("thinking" in line for line in iter(game.stdout.readline, ""))
        game.send_signal(signal.SIGINT)
        told, _ = game.communicate("tea\n", timeout=60)

    assert game.returncode == 0
    assert "Stopped. The game is unchanged." in told
    assert "1. You searched for: tea" in told.partition("Stopped.")[2]


def test_hostile_text_reaches_no_terminal(typed: Typed) -> None:
    told = typed("\x1b[2J\u202eevil", "answer \x1b]0;title\x07")

    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "�[2J�evil" in told


def test_what_was_named_and_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    for given, named in (
        ({"question_id": "nothing"}, ["'nothing'", "world-7-000007-0"]),
        ({"user": "nobody"}, ["'nobody'", "world-7-000007"]),
        ({"question_id": QUESTION.id, "user": "nobody"}, [QUESTION.id, f"'{QUESTION.user_id}'", "'nobody'"]),
    ):
        with pytest.raises(ProfileGymError, match=naming(*named)):
            play_plain(PlaySession(ORACLE, tmp_path, **given), alone=False)


DOCS = (Path(__file__).parent.parent / "docs/play.md").read_text("utf-8")


@pytest.mark.slow
def test_the_python_of_the_docs_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)

    run = subprocess.run([sys.executable, "-W", "error", "-c", snippet], check=True, capture_output=True, text=True)

    assert "My nurse is called" in run.stdout


def test_the_docs_show_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(agent="scripted:oracle", model="scripted:oracle")
    plain.play_alone(PlaySession(settings, tmp_path))

    told = capsys.readouterr().out.splitlines()
    shown = textwrap.dedent(re.findall(r"--agent scripted:oracle\n\n(.*?)\n\n", DOCS, re.DOTALL)[0]).splitlines()
    assert len(shown) > 10
    assert [line for line in shown if line != "…" and line not in told] == []


def test_after_the_game_a_post_is_found_and_shown_in_its_conversation(typed: Typed, tmp_path: Path) -> None:
    talk = conversation("talk", asked(4))
    talk["conversation"]["session_2"] = [turn(f"D2:{n}", "Tom", f"Matter {n}.") for n in range(1, 31)]
    (tmp_path / "talk.json").write_text(json.dumps([talk]))
    settings = Settings(model="scripted:oracle", data=f"locomo:{tmp_path / 'talk.json'}")

    told = typed(
        *("find matter 7", "answer Bruges", "find Matter 7", "around D2:7", "around D2:99", "find evidence"),
        settings=settings,
        question="talk:q1",
    )

    searched, _, after = told.partition("You answered: Bruges")
    assert "searched for: find matter 7" in searched
    assert re.search(r"^  D2:7 .*session 2.* Tom: Matter 7\.$", after, re.MULTILINE)
    assert re.findall(r"^[> ] (D2:\d+)", after[after.index("around D2:7") :], re.MULTILINE)[:7] == [
        f"D2:{n}" for n in range(4, 11)
    ]
    assert "D2:99" in after[after.index("Error: ") :]
    assert re.search(r"1 of 33 posts\n  D1:1 \(evidence", after)
