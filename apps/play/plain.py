"""`profilegym play --plain`: plain text, for screen readers, pipes and tests."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from itertools import chain
from typing import Any

from ..._util.terminal import printable
from ...errors import OptionError, ProfileGymError
from ...evaluation.conversation import places_around
from . import text_view as text_view
from .calls import is_in_brackets
from .game import Game
from .history import history
from .session import PlaySession
from .text_view import Line

_ALONE = (
    "ask",
    "take",
    "undo",
    "branch",
    "show",
    "new",
    "help",
    "quit",
)  # with more words, a search
_LISTED = 10  # questions or posts
HELP = """A line is a search; when no searches are left, it is your answer. These words are commands:
search WORDS   search the history for the words
answer TEXT    answer the question, which ends the game; with --cites, "cites: ID, ID" may follow
call TOOL …    call another tool: call latest n=2, call latest {"n": 2}, or latest(n=2)
ask            show the policy's next turn
take           let the policy take this turn
undo           undo the last turn
branch         go on in a copy of the game; branch 1 goes back to the first one
show           print the whole game again
find WORDS     after the game: list the posts of the history with these words; evidence and shown are words, too
around ID      after the game: show a post in its conversation
new            choose another question
quit           quit"""


def play(session: PlaySession) -> None:
    """Play until the person quits or the input ends."""
    with asyncio.Runner() as runner:
        try:
            _PlainGame(session, runner).play()
        except (EOFError, KeyboardInterrupt):
            _print("")
        finally:
            runner.run(session.close())
            _print(session.saved_games)


def play_alone(session: PlaySession) -> None:
    """The policy plays; each turn is printed."""
    asyncio.run(_play_alone(session))


async def _play_alone(session: PlaySession) -> None:
    try:
        game = await session.begin(session.question_id or session.first())
        _print_lines(text_view.opening(game))
        while not game.over:
            _print(text_view.budget(game))
            await game.take()
            _print_lines(text_view.latest(game))
        await _print_baseline(game)
    finally:
        await session.close()
        _print(session.saved_games)


class _PlainGame:
    """Reads a line, runs its command, and prints the result."""

    _game: Game

    def __init__(self, session: PlaySession, runner: asyncio.Runner) -> None:
        self._session, self._runner = session, runner
        self._branches: list[Game] = []

    def play(self) -> None:
        self._begin(self._session.question_id or self._choose())
        others = ", or: call TOOL …" if self._game.episode.tools else ""
        _print(f"Type what to search for{others}. help lists all commands.")
        while True:
            command, rest = _read(_ask(self._prompt()), self._game)
            if command == "quit":
                return
            try:
                self._do(command, rest)
            except ProfileGymError as error:
                _print(f"Error: {error}")
            except KeyboardInterrupt:
                _print("Stopped. The game is unchanged.")

    def _do(self, command: str, rest: str) -> None:
        game = self._game
        match command:
            case "search":
                self._take_turn(game.search(rest))
            case "answer":
                self._take_turn(game.answer(rest))
            case "call":
                self._take_turn(game.call_typed(rest))
            case "take":
                self._take_turn(game.take())
            case "ask":
                self._runner.run(game.ask())
                _print_lines(text_view.proposal(game))
            case "undo":
                game.undo()
                _print("The last turn is undone.")
            case "branch":
                self._branch(rest)
            case "show":
                _print_lines(chain.from_iterable(text_view.parts(game)))
                _print_lines(text_view.baseline(game) if game.over else ())
            case "find":
                self._find(rest)
            case "around":
                self._around(rest)
            case "new":
                self._begin(self._choose())
            case _:
                _print(HELP)

    def _take_turn(self, turn: Coroutine[Any, Any, None]) -> None:
        self._runner.run(turn)
        _print_lines(text_view.latest(self._game))
        if self._game.over:
            _print("Saved. undo takes the answer back; new chooses another question.")
            self._runner.run(_print_baseline(self._game))

    def _begin(self, question_id: str) -> None:
        self._game = self._runner.run(self._session.begin(question_id))
        self._branches = [self._game]
        _print_lines(text_view.opening(self._game))

    def _find(self, words: str) -> None:
        found = [row for row in history(self._game) if row.has(words)]
        _print(f"{len(found):,} of {len(self._game.question.profile):,} posts")
        for row in found[:_LISTED]:
            _print(f"  {row.text}")

    def _around(self, document_id: str) -> None:
        rows = history(self._game)
        for place in places_around(self._game.question.profile, document_id):
            _print(f"{'>' if rows[place].document.id == document_id else ' '} {rows[place].text}")

    def _branch(self, number: str) -> None:
        if not number:
            self._branches.append(self._game.branch())
        elif not 1 <= int(number) <= len(self._branches):
            raise OptionError(f"there is no branch {number}: there are {len(self._branches)}")
        self._game = self._branches[int(number) - 1 if number else -1]
        _print(f"This is branch {self._branches.index(self._game) + 1} of {len(self._branches)}.")

    def _prompt(self) -> str:
        if self._game.over:
            return "over"
        return f"{text_view.budget(self._game)}\n{'search' if self._game.episode.searches_left else 'answer'}"

    def _choose(self) -> str:
        """Ask for a question id, or words of a question."""
        while True:
            words = _ask("Question id, or words of the question or user. Empty: the first question.\nquestion")
            found = [row for row in self._session.rows() if row.has(words)]
            exact = [row for row in found if row.id == words]
            if not words or len(found) == 1 or exact:
                return (exact or found)[0].id
            _print(f"{len(found)} questions match." if found else "No question matches.")
            for row in found[:_LISTED]:
                _print(f"{row.id}: {row.text}")


def _read(line: str, game: Game) -> tuple[str, str]:
    """The command and its text; any other line is a search, or the answer when no searches are left."""
    first, _, rest = line.partition(" ")
    word, rest = first.lower(), rest.strip()
    if game.over and word in ("find", "around"):
        return word, rest
    tools = game.episode.tools
    if word == "call" and tools is not None:
        return word, rest
    if tools is not None and is_in_brackets(line, tools):
        return "call", line
    if word in ("search", "answer") or (word in _ALONE and not rest) or (word == "branch" and rest.isdecimal()):
        return word, rest
    return ("search" if game.episode.searches_left else "answer"), line


async def _print_baseline(game: Game) -> None:
    """Print the answer without the profile, or why there is none."""
    if game.episode.kind == "baseline":
        return
    try:
        await game.play_baseline()
    except ProfileGymError as error:
        _print(f"Error: {error}")
    _print_lines(text_view.baseline(game))


def _ask(prompt: str) -> str:
    """Read a line; input from a pipe is echoed."""
    line = input(f"{prompt}> ").strip()
    if not sys.stdin.isatty():
        _print(line)
    return line


def _print_lines(lines: Iterable[Line]) -> None:
    for line in lines:
        _print(f"{'   ' if line.indented else ''}{line.text}")
        if words := dict.fromkeys(line.text[start:end] for start, end in line.marks):
            _print(f"      matches: {', '.join(words)}")


def _print(text: str) -> None:
    print(printable(text), flush=True)  # noqa: T201 (a person reads it)
