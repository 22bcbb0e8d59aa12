"""The tables on the left of the screen: the layers, and what is hidden by path."""

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.widgets import DataTable

from ocitool.cli.explore.look import LayerLine
from ocitool.cli.render import console
from ocitool.cli.render.columns import size
from ocitool.inside.waste import Waste

_LEAST = 8
_FIGURES = 13
"""The cells of a row that are for the size and between the columns."""


class _Table(DataTable[Text]):
    """A table whose rows are chosen."""

    TITLE = ""
    COLUMNS: Sequence[str] = ()

    def on_mount(self) -> None:
        """Set up the columns."""
        self.cursor_type = "row"
        self.border_title = self.TITLE
        self.add_columns(*self.COLUMNS)

    def _set(self, rows: Iterable[Sequence[str]]) -> None:
        at = self.cursor_row
        self.clear()
        for row in rows:
            *figures, text = row
            cells = [Text(figure, justify="right") for figure in figures]
            self.add_row(*cells, Text(text, no_wrap=True))
        self.move_cursor(row=at)


class LayersTable(_Table):
    """The layers, below a row for all of them."""

    TITLE = "Layers"
    COLUMNS = ("#", "Size", "Hidden", "Step")

    def fill(self, layers: Sequence[LayerLine]) -> None:
        """Show the layers; sizes are those of files, or as stored before they were read."""
        known = [layer for layer in layers if layer.files is not None]
        files = sum(layer.files or 0 for layer in known)
        gone = sum(layer.hidden or 0 for layer in known)
        stored = sum(layer.stored for layer in layers)
        first = ("all", size(files if known else stored), size(gone) if known else "", "")
        self._set([first, *map(_layer_cells, layers)])

    @property
    def chosen_layer(self) -> int:
        """The number of the chosen layer, 0 for all."""
        return max(0, self.cursor_row)


class WasteTable(_Table):
    """What is hidden, the largest first."""

    TITLE = "Hidden, by path"
    COLUMNS = ("Size", "By", "Path")
    _shown: Sequence[Waste] = ()

    def fill(self, wastes: Sequence[Waste]) -> None:
        """Show the waste."""
        self._shown = wastes
        by = [f"{waste.layer}→{waste.hidden_by}" for waste in wastes]
        used = _FIGURES + max(map(len, by), default=0)
        room = max(_LEAST, self.scrollable_content_region.width - used)
        paths = (_end_of(f"/{console.safe(waste.path)}", room) for waste in wastes)
        self._set(zip((size(waste.bytes) for waste in wastes), by, paths, strict=True))
        self.border_subtitle = "" if wastes else "nothing is hidden"

    def on_resize(self) -> None:
        """Fit the paths into the new width."""
        if self._shown:
            self.fill(self._shown)


def _end_of(path: str, room: int) -> str:
    """Return the end of a path, which tells more than its beginning."""
    return path if len(path) <= room else f"…{path[1 - room :]}"


def _layer_cells(layer: LayerLine) -> Sequence[str]:
    if layer.files is None:
        unknown = "?" if layer.problem else ""
        text = console.safe(layer.problem) if layer.problem else layer.instruction
        return str(layer.number), size(layer.stored), unknown, text
    gone = size(layer.hidden) if layer.hidden else "-"
    return str(layer.number), size(layer.files), gone, layer.instruction
