"""A screen with a list and a field that narrows it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, OptionList, Static

from ..._util.terminal import printable


class ListScreen(Screen[str | None]):
    """Returns an id, or None to go back to the game. Subclasses fill the list in `_narrow`, and say what Enter does."""

    PLACEHOLDER: ClassVar = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move('cursor_up')", show=False, priority=True),
        Binding("down", "move('cursor_down')", show=False, priority=True),
        Binding("pageup", "move('page_up')", show=False, priority=True),
        Binding("pagedown", "move('page_down')", show=False, priority=True),
        Binding("escape", "back", "Back to the game"),
    ]
    CSS = """
    Static { color: $foreground-muted; height: 1; padding: 0 1; }
    Input { border: none; height: 1; padding: 0 1; }
    OptionList { border: none; height: 1fr; scrollbar-gutter: stable; scrollbar-size-vertical: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False)
        yield Input(placeholder=self.PLACEHOLDER)
        yield OptionList(markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._narrow(event.value)

    def action_move(self, where: str) -> None:
        getattr(self.query_one(OptionList), f"action_{where}")()

    def action_back(self) -> None:
        self.dismiss(None)

    def _narrow(self, words: str) -> None:
        """Show what has all of the words."""
        raise NotImplementedError

    def _tell(self, text: str) -> None:
        self.query_one(Static).update(printable(text))
