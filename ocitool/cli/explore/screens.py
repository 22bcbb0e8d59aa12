"""What comes over the screen: a file to read, and the question where to write one."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

KEYS = (
    ("Tab, Shift-Tab", "go from layers to waste to files, and back"),
    ("↑ ↓", "choose a layer, a wasted path, a file"),
    ("Enter", "on a layer: what it added; on waste: where it is"),
    ("", "on a folder: open or close it; on a file: look into it"),
    ("a  c  r  w", "what the layer added, changed, removed; what is hidden"),
    ("s", "sort by size or by name"),
    ("/", "find paths by a regular expression"),
    ("v", "look into the chosen file"),
    ("e", "write the chosen file to the disk"),
    ("d", "show how the files of two images differ, and back"),
    ("Esc", "leave a search, a difference, a sheet"),
    ("?", "this list"),
    ("q", "quit"),
)


class FileView(ModalScreen[bool]):
    """The lines of a file; answers whether it is to be extracted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v", "dismiss(False)", "Close"),
        Binding("e", "dismiss(True)", "Extract"),
    ]

    def __init__(self, title: str, note: str, lines: list[str]) -> None:
        super().__init__()
        self._title = title
        self._note = note
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Put the lines into a sheet that scrolls."""
        with VerticalScroll(id="sheet") as sheet:
            sheet.border_title = Text(self._title)
            sheet.border_subtitle = Text(self._note)
            yield Static(Text("\n".join(self._lines)), id="lines")
        yield Footer()


class KeysScreen(ModalScreen[None]):
    """What each key does, also those that need no line at the bottom of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss(None)", "Close")
    ]

    def compose(self) -> ComposeResult:
        """Put the keys into a sheet that scrolls."""
        with VerticalScroll(id="sheet") as sheet:
            sheet.border_title = "Keys"
            yield Static(Text("\n".join(f"{key:<16}{what}" for key, what in KEYS)), id="lines")
        yield Footer()


class ExtractScreen(ModalScreen[str | None]):
    """The question where to write a file; answers with the path, None for nowhere."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, proposal: str, wrong: str = "") -> None:
        """`wrong` says what is wrong with the path that was given before."""
        super().__init__()
        self._title = title
        self._proposal = proposal
        self._wrong = wrong

    def compose(self) -> ComposeResult:
        """Ask for a path, below it say what is wrong."""
        with Vertical(id="ask") as ask:
            ask.border_title = Text(self._title)
            yield Static("Write to:  (Enter writes, Esc cancels)")
            yield Input(self._proposal, id="path")
            yield Static(Text(self._wrong), classes="wrong")

    @on(Input.Submitted)
    def answer(self, event: Input.Submitted) -> None:
        """Answer with what was typed."""
        self.dismiss(event.value or None)
