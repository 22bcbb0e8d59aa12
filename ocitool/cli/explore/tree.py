"""The tree of files: each folder is filled when it is opened, so that a key costs the same at
any number of files."""

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import BindingType
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from ocitool.cli.explore.listing import Listing
from ocitool.cli.render import console
from ocitool.cli.render.columns import cells, clip, padded, size

_PART = 500
"""Entries of a folder that are shown at first, and then each time that more are wanted."""
_DEEPEST = 100
_SIZE, _MARK = 8, 5
_LEAST = 12


class FileTree(Tree[int]):
    """The files of a listing. The data of a line is its node, or below 0 for a line that has more.

    A line shows the name, the bytes and the number of the layer; what is hidden is struck through.
    """

    guide_depth = 2
    show_root = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__("", data=0, id=id)
        self.listing: Listing | None = None
        self.by_name = False

    def show(self, listing: Listing) -> None:
        """Show another listing from its root."""
        self.listing = listing
        self._refill()
        self._go_to(self.root.children[0] if self.root.children else None)

    def sort(self, *, by_name: bool) -> None:
        """Sort by name or by size; what is open stays open, and the cursor on its entry."""
        opened = {node.data for node in self._opened()}
        at = self.chosen
        self.by_name = by_name
        self._refill()
        waiting = list(self.root.children)
        while waiting:
            node = waiting.pop()
            if node.data in opened:
                self._fill(node)
                node.expand()
                waiting += node.children
        if at is not None and self.listing is not None:
            self.reveal(self.listing.path(at), hidden=self.listing.columns.is_hidden(at))

    def _opened(self) -> list[TreeNode[int]]:
        found, waiting = [], list(self.root.children)
        while waiting:
            node = waiting.pop()
            if node.is_expanded:
                found.append(node)
                waiting += node.children
        return found

    @property
    def chosen(self) -> int | None:
        """The node of the listing that the cursor is on."""
        node = self.cursor_node
        return node.data if node is not None and node.data is not None and node.data > 0 else None

    def reveal(self, path: str, *, hidden: bool) -> None:
        """Open the folders of a path and put the cursor on it."""
        if self.listing is None:
            return
        at = self.root
        for wanted in self.listing.way(path, hidden=hidden)[:_DEEPEST]:
            found = self._child(at, wanted)
            if found is None:
                break
            at = found
            if self.listing.is_folder(wanted):
                self._fill(at)
                at.expand()
        self._go_to(at)

    def _go_to(self, node: TreeNode[int] | None) -> None:
        # A line has no number before the lines were laid out, which asking for the last one does.
        self.move_cursor(node if self.last_line >= 0 else None, animate=False)

    def _child(self, parent: TreeNode[int], wanted: int) -> TreeNode[int] | None:
        while True:
            for node in parent.children:
                if node.data == wanted:
                    return node
            last = parent.children[-1] if parent.children else None
            if last is None or (last.data or 0) >= 0:
                return None
            self.more(last)

    def _refill(self) -> None:
        self.clear()
        self.root.data = 0
        self._add(self.root, 0)
        self.root.expand()

    def on_tree_node_expanded(self, event: "Tree.NodeExpanded[int]") -> None:
        """Fill a folder that is opened for the first time."""
        self._fill(event.node)

    def _fill(self, node: TreeNode[int]) -> None:
        if not node.children and node.data is not None:
            self._add(node, 0)

    def more(self, node: TreeNode[int]) -> None:
        """Put the next entries of a folder in the place of the line that stands for them."""
        folder, start = node.parent, -(node.data or 0)
        if folder is not None:
            node.remove()
            self._add(folder, start)
            self._go_to(folder.children[start])

    def _add(self, folder: TreeNode[int], start: int) -> None:
        """Add entries of a folder from a position on, and a line for those that are left."""
        if self.listing is None or folder.data is None:
            return
        entries = self.listing.entries(folder.data, by_name=self.by_name)
        for node in entries[start : start + _PART]:
            folder.add("", data=node, allow_expand=self.listing.is_folder(node))
        left = len(entries) - start - _PART
        if left > 0:
            folder.add_leaf(f"… {left:,} more", data=-(start + _PART))

    def get_label_width(self, node: TreeNode[int]) -> int:
        """Return how wide a line is: as much as there is, so that nothing moves sideways."""
        return max(_LEAST, self.scrollable_content_region.width - self._indent(node))

    def _indent(self, node: TreeNode[int]) -> int:
        depth, at = 0, node.parent
        while at is not None and at.parent is not None:
            depth, at = depth + 1, at.parent
        return depth * self.guide_depth

    def render_label(self, node: TreeNode[int], base_style: Style, style: Style) -> Text:
        """Return a line: the name on the left, bytes and layer on the right."""
        listing, at = self.listing, node.data
        if listing is None or at is None or at < 0:
            return Text(f"  {node.label}", style=style + Style(dim=True))
        is_folder, is_hidden = listing.is_folder(at), listing.columns.is_hidden(at)
        icon = ("▼ " if node.is_expanded else "▶ ") if is_folder else "  "
        room = self.get_label_width(node) - len(icon) - _SIZE - _MARK - 2
        name = clip(console.safe(listing.name(at)) + ("/" if is_folder else ""), max(4, room))
        text = Text(icon, style=base_style + style)
        look = Style(bold=is_folder, strike=is_hidden and not is_folder, dim=is_hidden)
        text.append(name, style=style + look)
        text.append(" " * max(1, room - cells(name) + 1), style=style)
        text.append(padded(size(listing.size_of(at)), _SIZE, right=True), style=style)
        text.append(padded(listing.mark(at), _MARK, right=True), style=style)
        return text
