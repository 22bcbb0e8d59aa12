"""Driving the screen of `explore`: opening an image on it, pressing keys, reading what it shows."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from ocitool.cli.explore.app import Explorer
from ocitool.cli.explore.look import Look
from ocitool.cli.explore.tree import FileTree
from ocitool.images.opening import one_root, open_source
from ocitool.inside.comparing import Image

_LONGEST = 120.0


class Shown:
    """A running screen."""

    def __init__(self, app: Explorer, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def tree(self) -> FileTree:
        return self.app.query_one(FileTree)

    async def press(self, *keys: str) -> None:
        """Press keys, and let the screen take them."""
        await self._pilot.press(*keys)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the screen work until something is so."""
        end = time.monotonic() + _LONGEST
        while not condition():
            assert time.monotonic() < end, f"never so:\n{self.text()}"
            await self._pilot.pause(0.01)
        await self._pilot.pause()

    async def titled(self, text: str) -> None:
        """Wait until the tree shows what the title says."""
        await self.until(
            lambda: self.tree.border_title == text and self.tree.border_subtitle != "…"
        )

    async def choose(self, path: str, *, hidden: bool = False) -> None:
        """Go to a path in the tree."""
        self.tree.focus()
        self.tree.reveal(path, hidden=hidden)
        await self._pilot.pause()

    def lines(self) -> list[str]:
        """Return the lines of the tree as they are seen, without guides."""
        style, found = self.tree.rich_style, []
        for number in range(self.tree.last_line + 1):
            node = self.tree.get_node_at_line(number)
            assert node is not None
            found.append(" ".join(self.tree.render_label(node, style, style).plain.split()))
        return found

    def rows(self, name: str) -> list[list[str]]:
        """Return the cells of a table."""
        table: DataTable[Any] = self.app.query_one(f"#{name}", DataTable)
        return [[cell.plain for cell in table.get_row_at(row)] for row in range(table.row_count)]

    def said(self, selector: str = "#detail") -> str:
        """Return what a line says."""
        return "".join(str(one.content) for one in self.app.screen.query(selector).results(Static))

    def text(self) -> str:
        """Return everything on the screen."""
        size = self.app.size
        with open("/dev/null", "w") as nowhere:
            console = Console(width=size.width, height=size.height, file=nowhere, record=True)
            console.print(self.app.screen._compositor)
            return console.export_text()

    def notes(self) -> str:
        """Return the messages that came up."""
        return "\n".join(note.message for note in self.app._notifications)


Journey = Callable[[Shown], Awaitable[None]]


@contextmanager
def look_at(path: Path, second: Path | None = None) -> Iterator[Look]:
    """Open an image for the screen, and one to compare it with."""
    with open_source(str(path)) as opened, open_source(str(second or path)) as other:
        look = Look(Image(source=opened.source, root=one_root(opened)), title="small:1")
        if second is not None:
            look.second = Image(source=other.source, root=one_root(other))
        yield look


def drive(
    look: Look, journey: Journey, size: tuple[int, int] = (100, 30), *, waits: bool = True
) -> Explorer:
    """Run the screen, wait until it shows the image, make the journey, and end it."""

    async def run(app: Explorer) -> None:
        async with app.run_test(size=size) as pilot:
            shown = Shown(app, pilot)
            await shown.until(lambda: not waits or shown.tree.listing or app.failure)
            await journey(shown)

    app = Explorer(look)
    asyncio.run(run(app))
    app.close()
    return app
