"""The screen where a question is picked: a list, and words that narrow it."""

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static

from ..._util.terminal import printable
from ...errors import ProfileGymError
from .session import Asked, Sitting

_LISTED = 500  # nobody reads on; words narrow the rest


class PickScreen(Screen[str | None]):
    """Gives the id of a question, or None where the person goes back to the game."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('cursor_up')", show=False, priority=True),
        Binding("down", "move('cursor_down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("enter", "pick", "Play this question", priority=True),
        Binding("escape", "back", "Back to the game"),
    ]
    CSS = """
    PickScreen Static { color: $foreground-muted; height: 1; padding: 0 1; }
    PickScreen Input { border: none; height: 1; padding: 0 1; }
    PickScreen OptionList { border: none; height: 1fr; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    """

    def __init__(self, sitting: Sitting) -> None:
        super().__init__()
        self._sitting = sitting
        self._asked: list[Asked] = []
        self._found: list[Asked] = []

    def compose(self) -> ComposeResult:
        yield Static("reading the questions …", markup=False)
        yield Input(placeholder="words of a question, or of who asks")
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
            self._asked = await asyncio.to_thread(list, self._sitting.asked())
        except ProfileGymError as error:
            self._tell(str(error))
        else:
            self._narrow(self.query_one(Input).value)

    def _narrow(self, words: str) -> None:
        found = [asked for asked in self._asked if asked.has(words)]
        self._found = found[:_LISTED]
        people = len({asked.user_id for asked in found})
        more = f"; the first {_LISTED} are listed" if len(found) > _LISTED else ""
        self._tell(f"Pick one of {len(found):,} questions by {people:,} people{more}")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([_row(asked) for asked in self._found])
        options.highlighted = 0 if found else None

    def _tell(self, text: str) -> None:
        self.query_one(Static).update(printable(text))


def _row(asked: Asked) -> Content:
    return Content.assemble((f"{printable(asked.user_id)}  ", "$foreground-muted"), printable(asked.text))
