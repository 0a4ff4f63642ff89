"""The screen of the question list, with a search field."""

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static

from ..._util.terminal import printable
from ...errors import ProfileGymError
from .session import PlaySession, QuestionRow

_LISTED = 500  # at most


class QuestionScreen(Screen[str | None]):
    """Returns a question id, or None to go back to the game."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('cursor_up')", show=False, priority=True),
        Binding("down", "move('cursor_down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("enter", "pick", "Play this question", priority=True),
        Binding("escape", "back", "Back to the game"),
    ]
    CSS = """
    QuestionScreen Static { color: $foreground-muted; height: 1; padding: 0 1; }
    QuestionScreen Input { border: none; height: 1; padding: 0 1; }
    QuestionScreen OptionList { border: none; height: 1fr; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    """

    def __init__(self, session: PlaySession) -> None:
        super().__init__()
        self._session = session
        self._rows: list[QuestionRow] = []
        self._found: list[QuestionRow] = []

    def compose(self) -> ComposeResult:
        yield Static("reading the questions …", markup=False)
        yield Input(placeholder="search by question or user")
        yield OptionList(markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self.run_worker(self._read())

    def on_input_changed(self, event: Input.Changed) -> None:
        self._narrow(event.value)

    def action_move(self, where: str) -> None:
        getattr(self.query_one(OptionList), f"action_{where}")()

    def action_pick(self) -> None:
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.dismiss(self._found[highlighted].id)

    def action_back(self) -> None:
        self.dismiss(None)

    async def _read(self) -> None:
        try:
            self._rows = await asyncio.to_thread(list, self._session.rows())
        except ProfileGymError as error:
            self._tell(str(error))
        else:
            self._narrow(self.query_one(Input).value)

    def _narrow(self, words: str) -> None:
        found = [row for row in self._rows if row.has(words)]
        self._found = found[:_LISTED]
        people = len({row.user_id for row in found})
        more = f"; the first {_LISTED} are listed" if len(found) > _LISTED else ""
        self._tell(f"Choose one of {len(found):,} questions by {people:,} users{more}")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([_option(row) for row in self._found])
        options.highlighted = 0 if found else None

    def _tell(self, text: str) -> None:
        self.query_one(Static).update(printable(text))


def _option(row: QuestionRow) -> Content:
    return Content.assemble((f"{printable(row.user_id)}  ", "$foreground-muted"), printable(row.text))
