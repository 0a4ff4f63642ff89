"""`profilegym play` on a whole screen of 80 × 24, driven by its keys alone."""

import asyncio
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual")

from test_locomo import long_talk
from textual.content import Content
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Input, Static

import profilegym as pg
from profilegym.agents.models.model import Turn, register_model
from profilegym.agents.models.scripted import ScriptedModel, ScriptedSession
from profilegym.apps.cli.play import play_on_screen
from profilegym.apps.play.screen import PlayApp
from profilegym.apps.play.session import PlaySession
from profilegym.envs.chat import Sampling
from profilegym.envs.trajectory import Segment
from profilegym.errors import MissingExtra, OptionError
from profilegym.evaluation.evaluate import Settings

DATA = "world:seed=7,users=20/test"
QUESTION = next(question for question in pg.load_questions(DATA) if question.rubric.hops == 2)
ORACLE = Settings(model="scripted:oracle", data=DATA)


class Person:
    """Somebody at the keyboard, who sees what the screen shows."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot

    @property
    def sees(self) -> str:
        screen = self.pilot.app.screen
        return "\n".join(strip.text.rstrip() for strip in screen._compositor.render_strips(screen.size))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def enter(self, text: str) -> None:
        self.pilot.app.screen.query_one(Input).post_message(Paste(text))  # as keys take long
        await self.pilot.press("enter")

    async def until(self, *words: str) -> None:
        """Until the screen shows them all."""
        for _ in range(500):
            if all(word in self.sees for word in words):
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"{words} did not come; the screen shows:\n{self.sees}")


@asynccontextmanager
async def seated(
    out: Path, settings: Settings = ORACLE, question: str | None = QUESTION.id, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Person]:
    app = PlayApp(PlaySession(settings, out, question_id=question))
    async with app.run_test(size=size) as pilot:
        person = Person(pilot)
        await person.until("SEARCH" if question else "Choose one of")
        yield person


def played(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """A test that is played to its end."""

    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    run.__name__ = test.__name__
    return run


def records(out: Path) -> list[pg.Trajectory]:
    return list(pg.TrajectoryReader(out / "trajectories.jsonl"))


@played
async def test_a_person_picks_a_question_and_plays_it_to_the_end(tmp_path: Path) -> None:
    async with seated(tmp_path, question=None) as person:
        await person.press(*QUESTION.text[:25])
        await person.until("Choose one of 1 question by 1 user")
        await person.press("enter")
        await person.until(f"Question {QUESTION.id} by {QUESTION.user_id}", "4 searches left; 100 of 100 posts unseen")
        await person.press(*"tea", "enter")
        await person.until("1. You searched for: tea", "3 searches left")
        await person.press("tab")
        await person.enter("I do not know")
        await person.until("2. You answered: I do not know", "not covered", "Evidence in the history", "missed, ")
        await person.until("Without the profile scripted:oracle answers:", "Saved.", "OVER")

    assert records(tmp_path)[-1].answer == "I do not know"
    assert records(tmp_path)[-1].baseline is not None


@played
async def test_what_is_typed_is_taken_for_what_the_screen_says(tmp_path: Path) -> None:
    async with seated(tmp_path, Settings(model="scripted:oracle", data=DATA, max_searches=1)) as person:
        assert "SEARCH  what to look for" in person.sees
        await person.press("tab")
        await person.until("ANSWER  your answer, which ends the game")
        await person.press("tab")
        await person.enter("tea")
        await person.until("no searches left: answer now", "ANSWER")
        await person.press("tab")
        assert "ANSWER" in person.sees
        assert "SEARCH" not in person.sees


@played
async def test_the_words_that_match_are_underlined(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        await person.enter("what name suits whom?")
        await person.until("1. You searched for: what name suits whom?")
        contents = [static.content for static in person.pilot.app.screen.query("#parts .indented").results(Static)]

    marked = [
        content.plain[span.start : span.end].lower()
        for content in contents
        if isinstance(content, Content)
        for span in content.spans
        if "underline" in str(span.style)
    ]
    assert marked
    assert set(marked) <= {"what", "name", "names", "named", "suit", "suits", "suited"}


@played
async def test_the_policy_is_asked_then_takes_the_step_that_is_taken_back(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        await person.press("ctrl+o")
        await person.until("pr2 (scripted:oracle) would write:", "<search>", "4 searches left")
        await person.press("t", "e", "a", "ctrl+t")
        await person.until("1. pr2 searched for:", "3 searches left", "SEARCH  tea")
        assert "would write" not in person.sees
        await person.press("ctrl+z")
        await person.until("4 searches left", "would write")
        await person.press("ctrl+z")
        await person.until("Error: there is no turn to take back")


@played
async def test_branches_stand_side_by_side(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        assert "Next" not in person.sees
        await person.enter("tea")
        await person.until("1. You searched for: tea")
        await person.press("ctrl+r")
        await person.until("branches 1  2", "^n Next")
        await person.enter("cakes")
        await person.until("2. You searched for: cakes", "2 searches left")
        await person.press("ctrl+n")
        await person.until("3 searches left")
        assert "cakes" not in person.sees


class Stuck(ScriptedModel):
    """Never says anything, as an endpoint that hangs."""

    def __init__(self) -> None:
        super().__init__("stuck", lambda question, said: "")

    def open(self, question: pg.Question, seed: int | None) -> ScriptedSession:
        return Hanging(question, self._script)


class Hanging(ScriptedSession):
    async def generate(self, said: Sequence[Segment], sampling: Sampling, stop: Sequence[str]) -> Turn:
        await asyncio.Event().wait()
        return await super().generate(said, sampling, stop)


@played
async def test_the_screen_stays_awake_while_a_model_hangs_and_escape_gives_it_up(tmp_path: Path) -> None:
    register_model("stuck", Stuck)
    async with seated(tmp_path, Settings(model="stuck", data=DATA)) as person:
        await person.press("ctrl+t")
        await person.until("The policy takes this step … (Esc stops it)")
        await person.press(*"tea")
        await person.until("SEARCH  tea")
        await person.press("enter")
        await person.until("A step is running")
        await person.press("escape")
        await person.until("Stopped. The game is as it was.", "4 searches left", "SEARCH  tea")
        await person.press("enter")
        await person.until("1. You searched for: tea")


@played
async def test_a_model_that_fails_is_a_line_on_the_screen(tmp_path: Path) -> None:
    async with seated(tmp_path, Settings(model="scripted:nobody", data=DATA)) as person:
        await person.press("ctrl+o")
        await person.until("Error: no script 'nobody'; known: explorer, oracle")
        await person.press("tab")
        await person.enter("tea")
        await person.until("gave no answer without the profile", "no script", "Score 0.00")

    assert records(tmp_path)[-1].answer == "tea"


HOSTILE = "[bold red]x[/] [/nothing] [@click=app.quit]quit[/] \x1b[2J\x07 \u202egnp.exe {} $foreground"


@played
async def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    line = {
        "id": "q[/]", "user_id": "u[bold]", "text": f"{HOSTILE} tea?",
        "profile": [{"id": "d", "text": "My [b]tea[/b] is [/] \x1b]0;owned\x07 \u202ereversed"}],
        "rubric": {"narrative": "", "aspects": [{"title": HOSTILE, "reason": HOSTILE, "evidence": HOSTILE}]},
    }  # fmt: skip
    (tmp_path / "odd.jsonl").write_text(json.dumps(line) + "\n")
    settings = Settings(model="scripted:nobody", data=f"jsonl:{tmp_path / 'odd.jsonl'}", judge="rubric")

    async with seated(tmp_path, settings, question=None) as person:
        await person.until("u[bold]  [bold red]x[/] [/nothing]")
        await person.press("enter")
        await person.until("Question q[/] by u[bold]")
        await person.enter("tea")
        await person.until("My [b]tea[/b] is [/] �]0;owned� �reversed")
        await person.press("tab")
        await person.enter("[/]")
        await person.until("2. You answered: [/]")
        assert not {"\x1b", "\x07", "\u202e"} & set(person.sees)


@played
async def test_it_fits_whatever_size_the_terminal_takes(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        for size in ((40, 12), (200, 50), (20, 8), (80, 24)):
            await person.pilot.resize_terminal(*size)
            await person.pilot.pause()
            assert max(map(len, person.sees.splitlines())) <= size[0]
        await person.enter("tea")
        await person.until("1. You searched for: tea")


@played
async def test_all_of_what_is_pasted_is_kept(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        await person.enter("one\ntwo\r\n  three")
        await person.until("1. You searched for: one two three")


@played
async def test_the_help_names_every_key_and_goes_away(tmp_path: Path) -> None:
    async with seated(tmp_path) as person:
        await person.press("f1")
        await person.until(
            "Ctrl+O", "Ctrl+T", "Ctrl+Z", "Ctrl+R", "Ctrl+N", "Ctrl+G", "Ctrl+Q", "Tab", "F2", "Esc closes this help."
        )
        await person.press("escape")
        await person.until("SEARCH", "4 searches left")


@played
async def test_a_question_that_is_not_there_is_said_and_another_can_be_picked(tmp_path: Path) -> None:
    app = PlayApp(PlaySession(ORACLE, tmp_path, question_id="nothing"))
    async with app.run_test() as pilot:
        person = Person(pilot)
        await person.until("Error: no question 'nothing'")
        await person.press("ctrl+t", "ctrl+z", "tab", "enter", "ctrl+g")
        await person.until("Choose one of")


def test_without_a_terminal_the_screen_points_to_plain(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--plain"):
        play_on_screen(PlaySession(ORACLE, tmp_path))


def test_without_textual_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "profilegym.apps.play.screen", None)

    with pytest.raises(MissingExtra, match=r"pip install 'profilegym\[play\]'"):
        play_on_screen(PlaySession(ORACLE, tmp_path))


@pytest.mark.slow
def test_in_a_real_terminal_it_draws_takes_keys_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    game = ["--data", DATA, "--question", QUESTION.id, "--model", "scripted:oracle", "--out", str(tmp_path)]
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", PYTHONWARNINGS="default")
        os.execv(sys.executable, [sys.executable, "-m", "profilegym", "play", *game])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    drawn = read_until(terminal, b"SEARCH")
    os.write(terminal, b"tea\r")
    drawn += read_until(terminal, b"You searched for")
    os.write(terminal, b"\t" + b"milk\r")
    drawn += read_until(terminal, b"OVER")
    os.write(terminal, b"\x11")
    drawn += read_until(terminal, b"1 game is saved")
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert drawn.index(b"\x1b[?1049h") < drawn.index(b"\x1b[?1049l")  # the alternate screen, entered and left
    assert records(tmp_path)[-1].answer == "milk"


@pytest.mark.slow
def test_a_screen_that_crashes_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    agent = ["--agent", f"{tmp_path / 'broken.py'}:make", "--out", str(tmp_path)]
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color")
        command = [sys.executable, "-m", "profilegym", "play", "--data", DATA, "--question", QUESTION.id, *agent]
        os.execv(sys.executable, command)
    drawn = read_until(terminal, b"nothing is saved")
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert b"AttributeError" in drawn
    assert os.waitstatus_to_exitcode(status) == 1


BROKEN = """
from profilegym import BaseAgent

class Broken(BaseAgent):
    name = "broken"

    def begin(self, question, **options):
        return "no episode"

def make():
    return Broken()
"""


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What the terminal was sent, up to something that must come within a minute."""
    read, end = b"", time.monotonic() + 60
    while wanted not in read:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{wanted!r} did not come: {read[-2000:]!r}"
        read += os.read(terminal, 65536)
    return read


@played
async def test_after_the_game_a_post_is_found_and_read_in_its_conversation(tmp_path: Path) -> None:
    document = QUESTION.rubric.aspects[0].documents[0]
    posts = QUESTION.profile.documents
    place = posts.index(QUESTION.profile.by_id[document])

    async with seated(tmp_path, size=(120, 30)) as person:
        await person.press("f2")  # while the game is on the history is hidden
        assert "find by words" not in person.sees
        await person.press("tab")
        await person.enter("I do not know")
        await person.until("The game is over")
        await person.press("f2")
        await person.until("100 of 100 posts")
        person.pilot.app.screen.query_one(Input).post_message(Paste(f"evidence {document}"))
        await person.until(f"{document} (evidence)")
        assert person.sees.count("(evidence)") == 1
        await person.press("enter")
        await person.until("100 of 100 posts", f"{document} (evidence)", posts[place - 1].id)
        await person.press("escape")
        await person.until("The game is over")


@played
async def test_with_several_tools_a_person_calls_them_by_name(tmp_path: Path) -> None:
    settings = Settings(model="scripted:oracle", data=DATA, tools="search_profile+latest", max_shown=9, cites=True)
    newest = QUESTION.profile.documents[-1]
    async with seated(tmp_path, settings) as person:
        await person.until("4 calls left; 9 more can be shown")
        await person.press("tab")
        await person.until("CALL  search_profile(query")
        await person.enter("latest n=two")
        await person.until("Error: ", "a whole number")
        await person.press("ctrl+u")
        await person.enter("latest n=1")
        await person.until("1. You called latest(n=1)", "3 calls left; 8 more can be shown", newest.id)
        await person.press("tab")
        await person.until("ANSWER")
        await person.enter(f"I do not know cites: {newest.id}")
        await person.until("2. You answered: I do not know", f"It cites {newest.id}.")

    record = records(tmp_path)[-1]
    assert [(search.tool, search.arguments) for search in record.searches] == [("latest", {"n": 1})]
    assert (record.answer, record.cites) == ("I do not know", [newest.id])


@played
async def test_a_turn_among_690_is_found_by_speaker_and_id_and_marked(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps([long_talk()]), "utf-8")
    settings = Settings(model="scripted:oracle", data=f"locomo:{tmp_path / 'talk.json'}")

    async with seated(tmp_path, settings, "talk:q1", (120, 30)) as person:
        await person.enter("yacht")
        await person.until("My yacht lies in Ghent")
        await person.press("tab")
        await person.enter("in Ghent")
        await person.until("The game is over")
        await person.press("f2")
        await person.until("690 of 690 posts", "session 1")
        for words, told in (("tom d5:", "15 of 690 posts"), ("evidence yacht", "D7:12 (evidence, shown)")):
            field = person.pilot.app.screen.query_one(Input)
            field.value = words
            await person.until(told)
        await person.press("enter")
        await person.until("690 of 690 posts", "D7:11", "D7:12 (evidence, shown)", "D7:13")
