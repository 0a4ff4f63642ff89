"""What the keys of the screen do."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """You sit where a policy sits: a person asks, and nothing but that person's own posts can be searched.

Enter     search for what you typed, or answer with it
Tab       change between searching and answering
Ctrl+O    only ask the policy for its next step
Ctrl+T    let the policy take this step
Esc       stop waiting for the policy
Ctrl+Z    take the last step back, be it the answer
Ctrl+R    branch: go on in a copy of this game
Ctrl+N    the next branch
Ctrl+G    pick another question
↑ ↓ PgUp PgDn   scroll
Ctrl+Q    leave

Words that match the search are underlined. What a good answer rests on stays hidden until the game is over. Then it \
is shown with the verdict, and with the policy's answer without the posts. Every game that is over is saved.

Esc closes this."""


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,f1", "dismiss", "Close")]
    CSS = "HelpScreen VerticalScroll { background: $surface; padding: 1 2; }"

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(HELP, markup=False)
