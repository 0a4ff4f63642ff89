"""`profilegym play --plain`: a game line by line, for screen readers, pipes and tests."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from itertools import chain
from typing import Any

from ..._util.terminal import printable
from ...errors import OptionError, ProfileGymError
from . import text_view as telling
from .game import Game
from .session import Sitting
from .text_view import Line

_ALONE = ("ask", "take", "undo", "branch", "show", "new", "help", "quit")  # with more behind it, a line is a search
_LISTED = 10  # questions
HELP = """What you type is searched for; when no searches are left, it is your answer. Or begin with one of these words:
search WORDS   search the history for the words
answer TEXT    answer the question; this ends the game
ask            see what the policy would write next
take           let the policy take this turn
undo           take the last turn back
branch         go on in a copy of the game; branch 1 goes back to the first one
show           tell the whole game again
new            pick another question
quit           leave"""


def play(sitting: Sitting) -> None:
    """Until the person leaves or the input ends; a game that is over is saved by then."""
    with asyncio.Runner() as runner:
        try:
            _Person(sitting, runner).play()
        except (EOFError, KeyboardInterrupt):
            _say("")
        finally:
            runner.run(sitting.close())
            _say(sitting.told)


def watch(sitting: Sitting) -> None:
    """The policy takes every turn, and each is told as it is taken."""
    asyncio.run(_watch(sitting))


async def _watch(sitting: Sitting) -> None:
    try:
        game = await sitting.begin(sitting.question_id or sitting.first())
        _tell(telling.opening(game))
        while not game.over:
            _say(telling.budget(game))
            await game.take()
            _tell(telling.latest(game))
        await _tell_baseline(game)
    finally:
        await sitting.close()
        _say(sitting.told)


class _Person:
    """Reads a line, does what it asks for, and tells what came of it."""

    _game: Game

    def __init__(self, sitting: Sitting, runner: asyncio.Runner) -> None:
        self._sitting, self._runner = sitting, runner
        self._branches: list[Game] = []

    def play(self) -> None:
        self._begin(self._sitting.question_id or self._pick())
        _say("Type what to look for. help lists what else you can do.")
        while True:
            command, rest = _read(_ask(self._prompt()), self._game)
            if command == "quit":
                return
            try:
                self._do(command, rest)
            except ProfileGymError as error:
                _say(f"That did not work: {error}")
            except KeyboardInterrupt:
                _say("Stopped. The game is as it was.")

    def _do(self, command: str, rest: str) -> None:
        game = self._game
        match command:
            case "search":
                self._moved(game.search(rest))
            case "answer":
                self._moved(game.answer(rest))
            case "take":
                self._moved(game.take())
            case "ask":
                self._runner.run(game.ask())
                _tell(telling.proposal(game))
            case "undo":
                game.undo()
                _say("The last turn is taken back.")
            case "branch":
                self._branch(rest)
            case "show":
                _tell(chain.from_iterable(telling.parts(game)))
                _tell(telling.baseline(game) if game.over else ())
            case "new":
                self._begin(self._pick())
            case _:
                _say(HELP)

    def _moved(self, turn: Coroutine[Any, Any, None]) -> None:
        self._runner.run(turn)
        _tell(telling.latest(self._game))
        if self._game.over:
            _say("Saved. undo takes the answer back; new picks another question.")
            self._runner.run(_tell_baseline(self._game))

    def _begin(self, question_id: str) -> None:
        self._game = self._runner.run(self._sitting.begin(question_id))
        self._branches = [self._game]
        _tell(telling.opening(self._game))

    def _branch(self, number: str) -> None:
        if not number:
            self._branches.append(self._game.branch())
        elif not 1 <= int(number) <= len(self._branches):
            raise OptionError(f"there is no branch {number}: there are {len(self._branches)}")
        self._game = self._branches[int(number) - 1 if number else -1]
        _say(f"This is branch {self._branches.index(self._game) + 1} of {len(self._branches)}.")

    def _prompt(self) -> str:
        if self._game.over:
            return "over"
        return f"{telling.budget(self._game)}\n{'search' if self._game.episode.searches_left else 'answer'}"

    def _pick(self) -> str:
        """The id of a question: the person names it, or words of it."""
        while True:
            words = _ask("Which question? Its id, or words of it or of who asks; nothing takes the first.\nquestion")
            found = [asked for asked in self._sitting.asked() if asked.has(words)]
            exact = [asked for asked in found if asked.id == words]
            if not words or len(found) == 1 or exact:
                return (exact or found)[0].id
            _say(f"{len(found)} questions have that." if found else "No question has that.")
            for asked in found[:_LISTED]:
                _say(f"{asked.id}: {asked.text}")


def _read(line: str, game: Game) -> tuple[str, str]:
    """The command, and what stands behind it; a line that is none is searched for, or is the answer."""
    first, _, rest = line.partition(" ")
    word, rest = first.lower(), rest.strip()
    if word in ("search", "answer") or (word in _ALONE and not rest) or (word == "branch" and rest.isdecimal()):
        return word, rest
    return ("search" if game.episode.searches_left else "answer"), line


async def _tell_baseline(game: Game) -> None:
    """The answer without the profile, or one line that says why there is none."""
    if game.episode.kind == "baseline":
        return
    try:
        await game.play_baseline()
    except ProfileGymError as error:
        _say(f"That did not work: {error}")
    _tell(telling.baseline(game))


def _ask(prompt: str) -> str:
    """A line of the input; one that nobody typed is shown like one that was."""
    line = input(f"{prompt}> ").strip()
    if not sys.stdin.isatty():
        _say(line)
    return line


def _tell(lines: Iterable[Line]) -> None:
    for line in lines:
        _say(f"{'   ' if line.indented else ''}{line.text}")
        if words := dict.fromkeys(line.text[start:end] for start, end in line.marks):
            _say(f"      matches: {', '.join(words)}")


def _say(text: str) -> None:
    print(printable(text), flush=True)  # noqa: T201 (a person reads it)
