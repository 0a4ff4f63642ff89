"""`profilegym play` on the whole terminal screen, by keyboard."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Paste
from textual.screen import Screen
from textual.widgets import Footer, Input, Static
from textual.worker import Worker

from ..._util.terminal import printable
from ...errors import ProfileGymError
from . import text_view as text_view
from .game import Game
from .help_screen import HelpScreen
from .history import history
from .history_screen import HistoryScreen
from .question_screen import QuestionScreen
from .session import PlaySession
from .text_view import Line

Step = Callable[[], Awaitable[object]]

_PLACEHOLDERS = {
    "SEARCH": "what to look for; Tab: answer instead",
    "ANSWER": "your answer, which ends the game; Tab: search instead",
}
_DOING = {"SEARCH": "Searching", "CALL": "Calling", "ANSWER": "Scoring"}
_GAME_OVER = "Saved. Ctrl+Z takes the answer back, Ctrl+G chooses another question."
_MARK = "bold underline $text-accent"  # visible without colours


class OneLine(Input):
    def on_paste(self, event: Paste) -> None:
        """Insert all lines as one; the default takes only the first line."""
        event.prevent_default()
        event.stop()
        self.insert_text_at_cursor(" ".join(event.text.split()))


class GameScreen(Screen[None]):
    """A step runs in a worker, so that the screen stays responsive; Escape cancels it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "turn", "Mode", priority=True),
        Binding("ctrl+o", "ask", "Ask"),
        Binding("ctrl+t", "take", "Take"),
        Binding("ctrl+z", "undo", "Undo"),
        Binding("ctrl+r", "branch", "Branch"),
        Binding("ctrl+n", "next", "Next"),
        Binding("ctrl+g", "choose", "Questions"),
        Binding("f2", "history", "History"),
        Binding("f1", "help", "Help"),
        Binding("escape", "stop", show=False),
        Binding("up", "scroll('scroll_up')", show=False),
        Binding("down", "scroll('scroll_down')", show=False),
        Binding("pageup", "scroll('scroll_page_up')", show=False),
        Binding("pagedown", "scroll('scroll_page_down')", show=False),
    ]
    CSS = """
    #status { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    #transcript { padding: 0 1; scrollbar-size-vertical: 1; }
    #parts, #baseline { height: auto; }
    #parts .part { height: auto; margin-bottom: 1; }
    #parts .indented { padding-left: 3; }
    #parts .head { text-style: bold; }
    #parts .faint { color: $foreground-muted; }
    #parts .good { color: $text-success; }
    #parts .fair { color: $text-warning; }
    #parts .bad { color: $text-error; }
    #note { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
    #line { height: 1; }
    #mode { width: auto; padding: 0 1; background: $primary-muted; text-style: bold; }
    #mode.answering { background: $success-muted; }
    #line .input--placeholder { color: $foreground-muted; }
    #line Input { border: none; height: 1; padding: 0 1; }
    """

    def __init__(self, session: PlaySession) -> None:
        super().__init__()
        self._session = session
        self._branches: list[Game] = []
        self._place = 0  # of the branch that is shown
        self._mode = "SEARCH"
        self._step: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="status", markup=False)
        with VerticalScroll(id="transcript", can_focus=False):
            yield Vertical(id="parts")
            yield Static(id="baseline", markup=False)
        yield Static(id="note", markup=False)
        with Horizontal(id="line"):
            yield Static(id="mode", markup=False)
            yield OneLine()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        if self._session.question_id:
            self._chosen(self._session.question_id)
        else:
            self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Before the first game, only a question can be chosen; the whole history is shown after a game alone."""
        if action == "next":
            return len(self._branches) > 1
        if action == "history":
            return bool(self._branches) and self._game.over
        return bool(self._branches) or action not in ("turn", "ask", "take", "undo", "branch")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        game = self._game
        step = {"SEARCH": game.search, "CALL": game.call_typed, "ANSWER": game.answer}[self._mode]

        async def submit() -> None:
            await step(event.value)
            event.input.clear()

        self._run_step(_DOING[self._mode], submit, is_turn=True)

    def action_turn(self) -> None:
        modes = self._modes
        self._mode = modes[(modes.index(self._mode) + 1) % len(modes)] if self._mode in modes else modes[0]
        self._show_line()

    def action_ask(self) -> None:
        self._run_step("The policy is asked", self._game.ask)

    def action_take(self) -> None:
        self._run_step("The policy takes this step", self._game.take, is_turn=True)

    def action_undo(self) -> None:
        self._run_step("Undoing", self._undo)

    def action_branch(self) -> None:
        self._run_step("Branching", self._branch)

    def action_next(self) -> None:
        self._run_step("The next branch", self._next)

    def action_choose(self) -> None:
        self.app.push_screen(QuestionScreen(self._session), self._chosen)

    def action_history(self) -> None:
        self.app.push_screen(HistoryScreen(history(self._game)))

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_stop(self) -> None:
        if self._step and not self._step.is_finished:
            self._step.cancel()
            self._note("Stopped. The game is as it was.")

    def action_scroll(self, how: str) -> None:
        getattr(self.query_one("#transcript"), how)(animate=False)

    @property
    def _game(self) -> Game:
        return self._branches[self._place]

    @property
    def _modes(self) -> list[str]:
        """What the line may be now."""
        tools = self._game.episode.tools
        if not self._game.episode.searches_left:
            return ["ANSWER"]
        if tools is None:
            return ["SEARCH", "ANSWER"]
        return [*(["SEARCH"] if "search_profile" in tools.tools else []), "CALL", "ANSWER"]

    def _chosen(self, question_id: str | None) -> None:
        if question_id:
            self._run_step("Opening the game", partial(self._begin, question_id))
        elif not self._branches:
            self.app.exit()

    def _run_step(self, doing: str, step: Step, is_turn: bool = False) -> None:
        """One step at a time; an error is a line on the screen."""
        if self._step and not self._step.is_finished:
            self._note("A step is running: Esc stops it.")
        else:
            self._step = self.run_worker(self._step_worker(doing, step, is_turn))

    async def _step_worker(self, doing: str, step: Step, is_turn: bool) -> None:
        self._note(f"{doing} … (Esc stops it)")
        try:
            await step()
        except ProfileGymError as error:
            self._note(f"Error: {error}")
        else:
            self._note("")
            if is_turn and self._game.over:
                self._note(_GAME_OVER)
                self.run_worker(self._add_baseline(self._game))
        await self._show()

    async def _begin(self, question_id: str) -> None:
        self._branches, self._place = [await self._session.begin(question_id)], 0

    async def _undo(self) -> None:
        self._game.undo()

    async def _branch(self) -> None:
        self._branches.append(self._game.branch())
        self._place = len(self._branches) - 1

    async def _next(self) -> None:
        self._place = (self._place + 1) % len(self._branches)

    async def _add_baseline(self, game: Game) -> None:
        if game.episode.kind == "baseline":
            return
        try:
            await game.play_baseline()
        except ProfileGymError as error:
            self._note(f"Error: {error}")
        self._show_baseline()

    async def _show(self) -> None:
        """Redraw the game and scroll to its newest part."""
        if self._branches:
            game, shown = self._game, self.query_one("#parts")
            parts = [_part(lines) for lines in text_view.parts(game)]
            with self.app.batch_update():
                await shown.remove_children()
                await shown.mount(*parts)
            newest = parts[-1 if game.proposal else len(game.turns)]
            self.call_after_refresh(newest.scroll_visible, top=True, animate=False)
            self._mode = "SEARCH" if game.over else self._mode
            self._show_baseline()
        self._show_line()

    def _show_baseline(self) -> None:
        """It may come late, and must not move what is being read."""
        told = text_view.baseline(self._game) if self._game.over else ()
        self.query_one("#baseline", Static).update("\n".join(line.text for line in told))

    def _show_line(self) -> None:
        """Update the input line, its mode and the status line."""
        on = bool(self._branches) and not self._game.over
        if on and self._mode not in self._modes:
            self._mode = self._modes[0]
        line = self.query_one(Input)
        shown = self.query_one("#mode", Static).set_class(self._mode == "ANSWER", "answering")
        shown.update(self._mode if on else "OVER")
        line.placeholder = self._placeholder() if on else ""
        line.disabled = not on
        if on:
            line.focus()
        self.query_one("#status", Static).update(self._status())
        self.refresh_bindings()

    def _placeholder(self) -> str:
        tools = self._game.episode.tools
        return _PLACEHOLDERS[self._mode] if tools is None or self._mode != "CALL" else tools.signatures

    def _status(self) -> Content:
        """The branch, the searches left, and the question."""
        if not self._branches:
            return Content("")
        numbers = [
            Content.styled(f" {n + 1} ", "reverse" if n == self._place else "") for n in range(len(self._branches))
        ]
        names = Content.assemble("branches", *numbers, "  ") if len(numbers) > 1 else Content("")
        left = "The game is over" if self._game.over else text_view.budget(self._game)
        question = " ".join(printable(self._game.question.text).split())
        return Content.assemble(names, left, (f" · {question}", "$foreground-muted"))

    def _note(self, text: str) -> None:
        self.query_one("#note", Static).update(printable(text))


class PlayApp(App[None]):
    """The terminal application."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "profilegym play"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", "Quit", priority=True)]

    def __init__(self, session: PlaySession) -> None:
        super().__init__()
        self._session = session

    def on_mount(self) -> None:
        self.push_screen(GameScreen(self._session))

    async def on_unmount(self) -> None:
        await self._session.close()


def _part(lines: Iterable[Line]) -> Vertical:
    return Vertical(*(_paragraph(line) for line in lines), classes="part")


def _paragraph(line: Line) -> Static:
    text = Content(line.text)
    for start, end in line.marks:
        text = text.stylize(_MARK, start, end)
    return Static(text, classes=f"{line.kind} indented" if line.indented else line.kind)
