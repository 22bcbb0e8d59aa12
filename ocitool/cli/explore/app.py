"""The screen of `ocitool explore`: layers and waste on the left, files on the right."""

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Input, Static

from ocitool.cli.explore.background import Finished, Progress, Task
from ocitool.cli.explore.differing import Differences
from ocitool.cli.explore.listing import Listing
from ocitool.cli.explore.look import LayerLine, Look
from ocitool.cli.explore.reading import FileReader
from ocitool.cli.explore.screens import FileView, KeysScreen
from ocitool.cli.explore.tables import LayersTable, WasteTable
from ocitool.cli.explore.tree import FileTree
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size
from ocitool.concurrency import Stop
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.inside.waste import Waste

_TITLES = {
    "files": "Files",
    "added": "Added by {}",
    "changed": "Changed by {}",
    "removed": "Removed by {}",
    "hidden": "Hidden in {}",
    "found": "Found",
    "differs": "Differs",
}
_OF_LAYER = ("added", "changed", "removed", "hidden")
_BEAT = 0.2
_DETAIL_LINES = 3


class Explorer(FileReader):
    """The screen for one image or for two.

    `failure` is why it ended by itself; `interrupted` that Ctrl-C or a signal ended it.
    """

    CSS_PATH = "explore.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "only('added')", "Added"),
        Binding("c", "only('changed')", "Changed"),
        Binding("r", "only('removed')", "Removed"),
        Binding("w", "only('hidden')", "Hidden"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("v", "view", "View"),
        Binding("e", "extract", "Save"),
        Binding("d", "differ", "Diff"),
        Binding("escape", "leave", "Back", show=False),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self.failure: OcitoolError | None = None
        self.interrupted = False
        self._what = "files"
        self._asked: tuple[str, int] | None = None
        self._files: Listing | None = None
        self._differences: Differences | None = None
        self._waste: list[Waste] = []
        self._reveal: str | None = None
        self._progress = Progress(Stop())
        self._reading: Task[None] = Task(self, self._fail)
        self._listing: Task[Listing] = Task(self, self.complain)
        self._comparing: Task[Differences] = Task(self, self.complain)

    def compose(self) -> ComposeResult:
        """Lay out the screen; the tables are filled when their content is known."""
        yield Static(Text(console.safe(self.look.title)), id="head")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield LayersTable(id="layers")
                yield WasteTable(id="waste")
            with Vertical(id="right"):
                yield Input(id="filter", placeholder="regular expression of a path")
                yield FileTree(id="files")
        yield Static("", id="detail")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Begin to read the image."""
        self.file_tree.border_title = "Files"
        self._filter.border_title = "Find"
        self._layers.focus()
        self.set_interval(_BEAT, self._beat)
        outline: Task[list[LayerLine]] = Task(self, self._fail)
        outline.start(lambda _: self.look.outline(), self._outlined)

    @property
    def _layers(self) -> LayersTable:
        return self.query_one(LayersTable)

    @property
    def _wastes(self) -> WasteTable:
        return self.query_one(WasteTable)

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def tasks(self) -> tuple[Task[Any], ...]:
        """The work that may be under way."""
        return (*super().tasks(), self._reading, self._listing, self._comparing)

    # Reading.

    def on_finished(self, event: Finished) -> None:
        """Show what a thread has done."""
        event.tell()

    def action_keys(self) -> None:
        """Show what each key does."""
        self.push_screen(KeysScreen())

    def action_interrupt(self) -> None:
        """End as any command that is interrupted."""
        self.interrupted = True
        self.exit()

    def _fail(self, error: OcitoolError) -> None:
        self.failure = error
        self.exit()

    def _outlined(self, layers: list[LayerLine]) -> None:
        self._layers.fill(layers)
        self._head("reading")

        def scan(stop: Stop) -> None:
            self._progress = Progress(stop)
            self.look.scan(self._progress)

        self._reading.start(scan, lambda _: self._scanned())

    def _scanned(self) -> None:
        self._show_found()
        self._list()
        self._reading.start(
            lambda stop: self.look.compare_copies(Progress(stop)), lambda _: self._show_found()
        )

    def _show_found(self) -> None:
        layers = self.look.layers()
        self._layers.fill(layers)
        self._waste = self.look.waste()
        self._wastes.fill(self._waste)
        files = sum(layer.files or 0 for layer in layers)
        gone = sum(layer.hidden or 0 for layer in layers)
        share = f"{gone / files * 100:.0f} %" if files else "0 %"
        problems = len(self.look.problems())
        odd = f"  {counted(problems, 'problem')}" if problems else ""
        self._head(f"{size(files)} of files, {size(gone)} ({share}) hidden{odd}")

    def _head(self, text: str) -> None:
        self.query_one("#head", Static).update(Text(f"{console.safe(self.look.title)}  {text}"))

    def _beat(self) -> None:
        if self.interrupted:
            self.exit()
        total, done = self._progress.total, self._progress.done
        if self.look.inside is None and total:
            self._head(f"reading {size(done)} of {size(total)}")

    # What the tree shows.

    def action_only(self, what: str) -> None:
        """Show only what the chosen layer did, or the files again if that is shown."""
        if self.look.inside is not None:
            self._what = "files" if self._what == what else what
            self._list()

    def _list(self) -> None:
        what, layer = self._what, self._layers.chosen_layer
        self._asked = (what, layer)
        if what == "files" and self._files is not None:
            self._show(self._files)
            return
        self.file_tree.border_subtitle = "…"
        self._listing.start(lambda _: self.look.listing(what, layer), self._show)

    def _show(self, listing: Listing) -> None:
        if self._what == "files":
            self._files = listing
        layer = self._layers.chosen_layer
        words = f"layer {layer}" if layer else "all layers"
        self.file_tree.border_title = _TITLES[self._what].format(words)
        self.file_tree.show(listing)
        self._count()
        if self._reveal is not None:
            self.file_tree.reveal(self._reveal, hidden=True)
            self.file_tree.focus()
            self._reveal = None
        self._describe()

    def _count(self) -> None:
        listing = self.file_tree.listing
        if listing is not None:
            order = "name" if self.file_tree.by_name else "size"
            count = f"{listing.file_count:,} file{'' if listing.file_count == 1 else 's'}"
            self.file_tree.border_subtitle = f"{count}, {size(listing.size)}, by {order}"
            if self._what == "differs" and self._differences is not None:
                self.file_tree.border_subtitle = f"{self._differences.summary}, by {order}"

    def action_sort(self) -> None:
        """Sort by name, or by size again."""
        self.file_tree.sort(by_name=not self.file_tree.by_name)
        self._count()

    def action_search(self) -> None:
        """Go to the filter line."""
        self._filter.focus()

    @on(Input.Changed, "#filter")
    def search(self, event: Input.Changed) -> None:
        """Show the files whose path fits, while it is typed."""
        listing, pattern = self._files, event.value
        if listing is None:
            return
        self._what = "found" if pattern else "files"
        if pattern:
            self._asked = None
            self._listing.start(lambda stop: self.look.search(listing, pattern, stop), self._show)
        else:
            self._list()

    @on(Input.Submitted, "#filter")
    def searched(self) -> None:
        """Go to what was found."""
        self.file_tree.focus()

    def action_leave(self) -> None:
        """Clear the filter, or show the files again."""
        if self._filter.value:
            self._filter.value = ""
        elif self._what != "files":
            self._what = "files"
            self._list()
        self.file_tree.focus()

    def action_differ(self) -> None:
        """Show the files that differ in the second image, or all files again."""
        if self.look.second is None:
            self.notify("start with two images to compare: ocitool explore A B", markup=False)
        elif self._what == "differs":
            self.action_leave()
        elif self._differences is not None:
            self._show_differences(self._differences)
        else:
            self.file_tree.border_subtitle = "comparing …"
            self._comparing.start(
                lambda stop: self.look.compare(Progress(stop)), self._show_differences
            )

    def _show_differences(self, found: Differences) -> None:
        self._differences = found
        self._what = "differs"
        self._asked = None
        self._show(found.listing)
        self.file_tree.focus()

    # The tables.

    @on(DataTable.RowHighlighted, "#layers")
    def layer_chosen(self) -> None:
        """Show another layer, if what a layer did is shown."""
        if self.look.inside is None:
            return
        if self._what in _OF_LAYER and self._asked != (self._what, self._layers.chosen_layer):
            self._list()
        if self.focused is self._layers:
            self._describe()

    @on(DataTable.RowSelected, "#layers")
    def layer_entered(self) -> None:
        """Show what the layer added."""
        if self.look.inside is not None:
            self._what = "added"
            self._list()
            self.file_tree.focus()

    @on(DataTable.RowSelected, "#waste")
    def waste_entered(self, event: DataTable.RowSelected) -> None:
        """Show where the hidden files are."""
        waste = self._waste[event.cursor_row]
        self._what = "hidden"
        self._reveal = waste.path
        self._layers.move_cursor(row=waste.layer)
        self._list()

    @on(DataTable.RowHighlighted, "#waste")
    def waste_chosen(self) -> None:
        """Say what hid it."""
        if self.focused is self._wastes:
            self._describe()

    # What is chosen.

    @on(FileTree.NodeHighlighted)
    def highlighted(self) -> None:
        """Say what the cursor is on."""
        if self.focused is self.file_tree:
            self._describe()

    def on_descendant_focus(self) -> None:
        """Say what is chosen in what has the focus now."""
        self._describe()

    def _describe(self) -> None:
        """Say what is chosen where the focus is."""
        if self.look.inside is None:
            return
        if self.focused is self._layers:
            number = self._layers.chosen_layer
            lines = [self.look.instruction(number) if number else "all layers"]
        elif self.focused is self._wastes:
            at = self._wastes.cursor_row
            lines = self.look.describe_waste(self._waste[at]) if at < len(self._waste) else []
        else:
            lines = self._describe_file()
        detail = self.query_one("#detail", Static)
        detail.set_class(len(lines) >= _DETAIL_LINES, "full")
        detail.update(Text("\n".join(map(console.safe, lines))))

    def _describe_file(self) -> list[str]:
        listing, at = self.file_tree.listing, self.file_tree.chosen
        if listing is None or at is None:
            return [] if listing is None or listing.file_count else ["nothing is here"]
        if self._what == "differs" and self._differences is not None:
            return self._differences.describe(at)
        return self.look.describe(listing, at)

    @on(FileTree.NodeSelected)
    def entered(self, event: "FileTree.NodeSelected[int]") -> None:
        """Show more entries or a file; folders open by themselves."""
        node = event.node
        if node.data is not None and node.data < 0:
            self.file_tree.more(node)
        elif not node.allow_expand:
            self.action_view()

    def action_view(self) -> None:
        """Show the chosen file, or how it differs."""
        at = self.file_tree.chosen
        if self._what != "differs" or self._differences is None:
            self.view()
        elif at is not None:
            path = f"/{console.safe(self._differences.listing.path(at))}"
            lines = [console.safe(line) for line in self._differences.lines(at)]
            self.push_screen(FileView(path, "differs", lines))

    def action_extract(self) -> None:
        """Ask where to write the chosen file."""
        if self._what != "differs":
            self.extract()
