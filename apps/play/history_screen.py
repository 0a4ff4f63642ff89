"""The screen of the whole history after a game: find a post, and read on around it."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList

from ..._util.terminal import printable
from .history import HistoryRow
from .list_screen import ListScreen

_AFTER = 3  # posts in view below the one that is shown in its conversation


class HistoryScreen(ListScreen):
    """Enter leaves the search and stays at the post, in its conversation."""

    PLACEHOLDER = "find by words, speaker, date or session; also: evidence, shown"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "around", "Show in its conversation", priority=True)]

    def __init__(self, rows: Sequence[HistoryRow]) -> None:
        super().__init__()
        self._rows = self._found = rows

    def on_mount(self) -> None:
        super().on_mount()
        self._narrow("")

    def action_around(self) -> None:
        options, field = self.query_one(OptionList), self.query_one(Input)
        if options.highlighted is None:
            return
        place = self._rows.index(self._found[options.highlighted])
        with field.prevent(Input.Changed):
            field.value = ""
        self._narrow("", place)

    def _narrow(self, words: str, place: int = 0) -> None:
        self._found = [row for row in self._rows if row.has(words)]
        self._tell(f"{len(self._found):,} of {len(self._rows):,} posts")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([_option(row) for row in self._found])
        if self._found:
            options.highlighted = min(place + _AFTER, len(self._found) - 1)  # scrolls the posts after it into view
            options.highlighted = place


def _option(row: HistoryRow) -> Content:
    return Content.styled(printable(row.text), "$text-success" if row.aspects else "")
