"""The part of the screen that shows one file and takes it out."""

from typing import Any

from textual.app import App

from ocitool.cli.explore.background import Task, end_all
from ocitool.cli.explore.look import Look, Member
from ocitool.cli.explore.screens import ExtractScreen, FileView
from ocitool.cli.explore.tree import FileTree
from ocitool.cli.explore.viewer import MOST, shown
from ocitool.cli.render import console
from ocitool.cli.render.columns import size
from ocitool.errors import OcitoolError, UsageError


class FileReader(App[None]):
    """A screen with a tree of files. `written` is where files were put that were taken out."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.written: list[str] = []
        self._content: Task[bytes] = Task(self, self.complain)

    @property
    def file_tree(self) -> FileTree:
        """The tree."""
        return self.query_one(FileTree)

    def complain(self, error: OcitoolError) -> None:
        """Show an error that ends nothing."""
        self.notify(console.safe(error.message), severity="error", markup=False)

    def tasks(self) -> tuple[Task[Any], ...]:
        """The work that may be under way."""
        return (self._content,)

    def close(self) -> None:
        """Stop what is still being read, when the screen has ended."""
        end_all(self.tasks())

    def _member(self) -> Member | None:
        """Return the chosen file; say so if it is none."""
        listing, at = self.file_tree.listing, self.file_tree.chosen
        if listing is None or at is None:
            return None
        try:
            return self.look.member(listing, at)
        except UsageError as error:
            self.complain(error)
            return None

    def view(self) -> None:
        """Show the beginning of the chosen file."""
        member = self._member()
        if member is not None:
            self._content.start(
                lambda stop: self.look.beginning(member, MOST, stop),
                lambda data: self._show_file(member, data),
            )

    def _show_file(self, member: Member, data: bytes) -> None:
        note = size(member.size)
        if len(data) < member.size:
            note = f"the first {size(len(data))} of {note}"

        def closed(wants_to_extract: bool | None) -> None:
            if wants_to_extract:
                self._ask(member)

        title = f"/{console.safe(member.path)}"
        self.push_screen(FileView(title, note, shown(data)), closed)

    def extract(self) -> None:
        """Ask where to write the chosen file."""
        member = self._member()
        if member is not None:
            self._ask(member)

    def _ask(self, member: Member, proposal: str | None = None, wrong: str = "") -> None:
        name = console.safe(member.path.rpartition("/")[2])
        title = f"Extract /{console.safe(member.path)} ({size(member.size)})"

        def answered(path: str | None) -> None:
            if path is not None:
                self._extract(member, path)

        self.push_screen(ExtractScreen(title, proposal or f"./{name}", wrong), answered)

    def _extract(self, member: Member, path: str) -> None:
        writing: Task[None] = Task(
            self, lambda error: self._ask(member, path, console.safe(error.message))
        )
        writing.start(
            lambda stop: self.look.extract(member, path, stop), lambda _: self._wrote(path)
        )

    def _wrote(self, path: str) -> None:
        self.written.append(path)
        self.notify(f"wrote {console.safe(path)}", markup=False)
