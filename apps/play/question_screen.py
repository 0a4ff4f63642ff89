"""The screen of the question list, with a search field."""

import asyncio
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, OptionList

from ..._util.counted import counted
from ..._util.terminal import printable
from ...errors import ProfileGymError
from .list_screen import ListScreen
from .session import PlaySession, QuestionRow

_LISTED = 500  # at most


class QuestionScreen(ListScreen):
    """Returns the id of a question."""

    PLACEHOLDER = "search by question or user"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "pick", "Play this question", priority=True)]

    def __init__(self, session: PlaySession) -> None:
        super().__init__()
        self._session = session
        self._rows: list[QuestionRow] = []
        self._found: list[QuestionRow] = []

    def on_mount(self) -> None:
        super().on_mount()
        self._tell("reading the questions …")
        self.run_worker(self._read())

    def action_pick(self) -> None:
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.dismiss(self._found[highlighted].id)

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
        self._tell(f"Choose one of {counted(len(found), 'question')} by {counted(people, 'user')}{more}")
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([_option(row) for row in self._found])
        options.highlighted = 0 if found else None


def _option(row: QuestionRow) -> Content:
    return Content.assemble((f"{printable(row.user_id)}  ", "$foreground-muted"), printable(row.text))
