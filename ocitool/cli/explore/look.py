"""One image for the screen: its layers at once, everything else when they have been read."""

import re
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.explore.differing import Differences
from ocitool.cli.explore.listing import Listing
from ocitool.cli.render.columns import counted
from ocitool.cli.render.files import mode_text, time_text
from ocitool.cli.render.texts import one_line
from ocitool.concurrency import Stop
from ocitool.errors import NotFound, UsageError
from ocitool.events import SILENT, Observer
from ocitool.fsops import OutputFile
from ocitool.inside import entries
from ocitool.inside.columns import ColumnEntry, Columns
from ocitool.inside.comparing import DiffOptions, Image, compare
from ocitool.inside.content import read_member
from ocitool.inside.differences import FileChanges, Section
from ocitool.inside.duplicates import hash_doubtful
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, ScannedLayer, look_inside
from ocitool.inside.kept import KeptTars
from ocitool.inside.state import LayerRecord, TreeState
from ocitool.inside.table import FILE
from ocitool.inside.tree import Node
from ocitool.inside.waste import Waste, hidden, wastes

if TYPE_CHECKING:
    from ocitool.oci import Platform

_MOST_WASTE: Final = 200
_WORDS: Final = {
    "metadata": "copied for its owner, mode or time",
    "identical": "stored again unchanged",
    "repeated": "written twice",
}
_OF_LAYER: Final[dict[str, Callable[[TreeState, LayerRecord], Iterator[ColumnEntry]]]] = {
    "added": entries.added_entries,
    "changed": entries.changed_entries,
    "removed": entries.deleted_entries,
}
_OFTEN: Final = 4096


class LayerLine(Struct, frozen=True, kw_only=True):
    """A layer in the table; `files` and `hidden` are bytes, None before it was read."""

    number: int
    stored: int
    instruction: str
    files: int | None = None
    hidden: int | None = None
    problem: str | None = None


class Member(Struct, frozen=True):
    """A file in a layer: where its content is."""

    path: str
    layer: int
    row: int
    size: int


class Look:
    """An image that is looked at. What takes long says so, and belongs on a thread."""

    def __init__(
        self,
        image: Image,
        *,
        title: str,
        platform: "Platform | None" = None,
        required: bool = False,
        second: Image | None = None,
        kept: KeptTars | None = None,
    ) -> None:
        """`second` is an image to compare it with; `kept` keeps what was read of the first."""
        self.title = title
        self.second = second
        self._image = image
        self._kept = kept
        self.platform = platform
        self.required = required
        self.inside: Inside | None = None

    def outline(self) -> list[LayerLine]:
        """Return the layers as the manifest has them. Takes as long as small files take."""
        inside = self._look_into(self._image, SILENT, layers=())
        self.title = f"{self.title}  {inside.chosen.image.platform}"
        return [_line(layer) for layer in inside.layers]

    def scan(self, observer: Observer) -> None:
        """Read all layers; takes long."""
        self.inside = self._look_into(self._image, observer)

    def _look_into(
        self, image: Image, observer: Observer, *, layers: Collection[int] | None = None
    ) -> Inside:
        return look_inside(
            image.source,
            image.root,
            platform=self.platform,
            required=self.required,
            hashes=Hashes.DOUBTFUL,
            cache=image.cache,
            observer=observer,
            layers=layers,
            ranges=True,
            keep=self._kept if image is self._image else None,
        )

    def compare_copies(self, observer: Observer = SILENT) -> None:
        """Find out which files a layer only repeats with other attributes; takes long."""
        hash_doubtful(self._read, observer=observer)

    @property
    def _read(self) -> Inside:
        if self.inside is None:
            raise UsageError("the layers have not been read yet")
        return self.inside

    def layers(self) -> list[LayerLine]:
        """Return the layers with what was found in them."""
        records = {record.number: record for record in self._read.tree.records}
        return [_line(layer, records.get(layer.number)) for layer in self._read.layers]

    def waste(self) -> list[Waste]:
        """Return the largest waste by path."""
        return wastes(self._read.tree, top=_MOST_WASTE)

    def problems(self) -> list[str]:
        """Return what is odd about the image."""
        return [
            ": ".join(filter(None, (f"layer {one.layer}", one.path, one.text)))
            for one in self._read.problems
        ]

    def instruction(self, number: int) -> str:
        """Return the words for a layer: its number and instruction, on one line."""
        text = self._read.layer(number).instruction
        return f"layer {number}{f': {one_line(text, shorten=True)}' if text else ''}"

    # What a tree can show. All of it takes long.

    def listing(self, what: str, layer: int) -> Listing:
        """Return files: "files" that a container sees, "hidden" ones, or what a layer has done.

        That is "added", "changed" or "removed". Layer 0 stands for all.
        """
        tree = self._read.tree
        if what == "files":
            return Listing(Columns.build(entries.live_entries(tree)))
        if what == "hidden":
            found = entries.hidden_entries(tree)
            return Listing(Columns.build((), (e for e in found if layer in (0, e.layer))))
        records = [record for record in tree.records if layer in (0, record.number)]
        every = chain.from_iterable(_OF_LAYER[what](tree, record) for record in records)
        return Listing(Columns.build((), every, gone=0))

    def search(self, listing: Listing, pattern: str, stop: Stop) -> Listing:
        """Return the files of a listing whose path has a match of a regular expression.

        A text that is no regular expression is looked for as it is. Upper and lower case are equal.
        """
        try:
            expression = re.compile(pattern, re.IGNORECASE)
        except re.error:
            expression = re.compile(re.escape(pattern), re.IGNORECASE)
        return Listing(Columns.build(_matching(listing, expression.search, stop), gone=0))

    def compare(self, observer: Observer) -> Differences:
        """Return how the files differ in the second image."""
        if self.second is None:
            raise UsageError("there is no second image")
        other = self._look_into(self.second, observer)
        options = DiffOptions(sections={Section.FILES}, content=True)
        found = compare(self._read, other, options, observer=observer)
        return Differences(found, found.files or FileChanges())

    # One path.

    def describe_waste(self, waste: Waste) -> list[str]:
        """Return lines about hidden bytes: which layers have and hide them, and how."""
        how = _WORDS.get(waste.how, waste.how)
        return [
            f"/{waste.path}  {counted(waste.files, 'file')}, {how}",
            f"from {self.instruction(waste.layer)}",
            f"by {self.instruction(waste.hidden_by)}",
        ]

    def describe(self, listing: Listing, node: int) -> list[str]:
        """Return two lines about a path: where it is and leads to, and what is known of it."""
        path, columns = listing.path(node), listing.columns
        number = columns.layers[node]
        parts = []
        if columns.is_hidden(node) and not listing.is_folder(node):
            how = entries.HOWS[columns.hows[node]]
            by = self.instruction(columns.hidden_by[node])
            parts += [f"{listing.size_of(node):,} bytes", f"hidden: {_WORDS.get(how, how)} by {by}"]
            return [f"/{path}", "  ".join([*parts, f"from {self.instruction(number)}"])]
        try:
            found = self._read.tree.find(path, follow=False)
        except NotFound:
            text = f"{listing.size_of(node):,} bytes"
            return [f"/{path}", "  ".join([text, self.instruction(number)] if number else [text])]
        link = f" -> {found.link}" if found.link is not None else ""
        about = _attributes(found, listing.size_of(node))
        return [f"/{path}{link}", f"{about}  {self.instruction(found.layer)}"]

    def member(self, listing: Listing, node: int) -> Member:
        """Return the file that a node stands for; UsageError for what is none."""
        path, columns = listing.path(node), listing.columns
        tree, layer = self._read.tree, columns.layers[node]
        for record in tree.records:
            if record.number != layer:
                continue
            rows = [row for row in range(len(record.table)) if _is_at(record, row, path)]
            # Of a member that comes twice the first is the one that is written over.
            is_first = entries.HOWS[columns.hows[node]] == "repeated" and columns.is_hidden(node)
            for row in rows if is_first else reversed(rows):
                inode = tree.inode(record.base + row)
                owner = tree.record_of(inode)
                at = inode - owner.base
                if owner.table.kinds[at] == FILE:
                    return Member(path, owner.number, at, owner.table.sizes[at])
        raise UsageError(f"/{path} is not a file")

    def beginning(self, member: Member, most: int, stop: Stop) -> bytes:
        """Return the first bytes of a file; takes long in a compressed layer."""
        data = bytearray()
        for part in read_member(self._read, member.layer, member.row):
            stop.check()
            data += part
            if len(data) >= most:
                break
        return bytes(data[:most])

    def extract(self, member: Member, path: str, stop: Stop) -> None:
        """Write the content of a file where nothing is; takes long. Refused where something is."""
        output = OutputFile(path, replaces=False)
        try:
            for part in read_member(self._read, member.layer, member.row):
                stop.check()
                output.write(part)
            output.publish()
        finally:
            output.close()


def _is_at(record: LayerRecord, row: int, path: str) -> bool:
    name = record.table.names[row]
    return name == path.rpartition("/")[2] and record.path(row) == path


def _line(layer: ScannedLayer, record: LayerRecord | None = None) -> LayerLine:
    gone = sum(record.table.sizes[row] for row, _ in hidden(record)) if record else None
    return LayerLine(
        number=layer.number,
        stored=layer.descriptor.size,
        instruction=one_line(layer.instruction or "", shorten=True),
        files=sum(record.table.sizes) if record else None,
        hidden=gone,
        problem=layer.problem,
    )


def _matching(listing: Listing, fits: Callable[[str], object], stop: Stop) -> Iterator[ColumnEntry]:
    columns = listing.columns
    way: list[str] = []
    for node in range(1, len(columns)):
        if node % _OFTEN == 0:
            stop.check()
        depth = columns.depths[node]
        del way[depth - 1 :]
        path = f"{way[-1]}/{columns.names[node]}" if way else columns.names[node]
        way.append(path)
        if fits(path):
            found = columns.entry(node)
            yield replace(found, path=path, name=columns.names[node])


def _attributes(node: Node, size: int) -> str:
    names = f"  {node.nlink} names" if node.nlink > 1 else ""
    owner = f"{node.uid}:{node.gid}"
    return (
        f"{mode_text(node.kind, node.mode)} {owner}  {size:,} bytes  {time_text(node.mtime)}{names}"
    )
