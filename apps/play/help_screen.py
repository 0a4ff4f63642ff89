"""The help screen: what the keys do."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """You play in place of the policy: a person asks a question, and you can search only that person's own posts.

Enter     search for the text, or answer with it
Tab       search, answer, or call a tool: latest n=2
Ctrl+O    show the policy's next step
Ctrl+T    let the policy take this step
Esc       stop waiting for the policy
Ctrl+Z    undo the last step, also the answer
Ctrl+R    branch: go on in a copy of this game
Ctrl+N    go to the next branch
Ctrl+G    choose another question
F2        after the game: find posts in the whole history
↑ ↓ PgUp PgDn   scroll
Ctrl+Q    quit

Words that match the search are underlined. The evidence for a good answer is hidden until the game is over. Then it \
is shown with the verdict, and with the policy's answer without the posts. Every finished game is saved.

Esc closes this help."""


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,f1", "dismiss", "Close")]
    CSS = "HelpScreen VerticalScroll { background: $surface; padding: 1 2; }"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(HELP, markup=False)
