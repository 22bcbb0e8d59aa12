"""The file system that the layers of an image make together, to be asked for paths.

No walk is recursive, however deep the tree is.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from ocitool.errors import NotFound
from ocitool.image.layers import EntryKind, layer_path
from ocitool.inside.applying import Application
from ocitool.inside.state import (
    IMPLIED,
    IMPLIED_MODE,
    Folder,
    LayerRecord,
    Missing,
    TreeState,
    attributes,
)
from ocitool.inside.table import DIRECTORY, KINDS, LayerTable
from ocitool.oci.quoting import quoted


class Node(Struct, frozen=True, kw_only=True):
    """What a path of the image leads to.

    `path` is where it really is, relative to the root, which is "". `size` is the bytes of a file,
    else 0; `mode` the permission bits, `mtime` seconds since 1970, `link` the target of a symbolic
    link as it is written, `device` the major and minor number. `layer` (from 1) and `row` are the
    member that has the attributes and the data; `named_by` is the layer that gave the name, another
    one only for a hard link. A folder that no layer has a member for has the row None, and what an
    unpacker gives it. `nlink` is how many names a file has.
    """

    path: str
    kind: EntryKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    layer: int
    row: int | None
    named_by: int
    link: str | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    nlink: int = 1

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_folder(self) -> bool:
        """Whether other paths can be below it."""
        return self.kind is EntryKind.DIRECTORY


class MergedTree(TreeState):
    """The tree of all layers that were applied. Reading is thread-safe, applying is not."""

    def apply(self, number: int, table: LayerTable) -> LayerRecord:
        """Put a layer over the ones that were applied before; return what it did.

        Raises LimitExceeded for what needs too many or too deep folders.
        """
        record = self.begin(number, table)
        Application(self, record).run()
        return record

    def find(self, path: str, *, follow: bool = True) -> Node:
        """Return what a path leads to, links followed inside the image, the last one if `follow`.

        NotFound tells the links that the path went through, at most `MOST_LINKS`.
        """
        names, value = self._locate(path, follow=follow)
        return self.node("/".join(names), value)

    def children(self, path: str) -> Iterator[Node]:
        """Yield what a folder holds, sorted by name; links in the path are followed.

        NotFound for what is not a folder.
        """
        names, value = self._locate(path, follow=True)
        if not isinstance(value, dict):
            raise NotFound(f"{quoted(path)} is not a folder of the image")
        for name in _sorted(value):
            yield self.node("/".join((*names, name)), value[name])

    def walk(self, path: str = "") -> Iterator[Node]:
        """Yield what a path leads to and everything below it, each folder before what it holds.

        Names are sorted in each folder. Links in the path are followed, those below are not.
        """
        for found, value in self.walk_values(path):
            yield self.node(found, value)

    def walk_values(self, path: str = "") -> Iterator[tuple[str, "int | Folder"]]:
        """Yield the same paths as `walk`, each with what `TreeState` has for it: much faster."""
        names, value = self._locate(path, follow=True)
        start = "/".join(names)
        yield start, value
        if not isinstance(value, dict):
            return
        open_folders = [(f"{start}/" if start else "", value, iter(_sorted(value)))]
        while open_folders:
            prefix, folder, left = open_folders[-1]
            name = next(left, None)
            if name is None:
                open_folders.pop()
                continue
            inner = folder[name]
            yield prefix + name, inner
            if isinstance(inner, dict):
                open_folders.append((f"{prefix}{name}/", inner, iter(_sorted(inner))))

    def _where_it_is(self, path: str) -> str | None:
        """Return which layer has a member of this path, and which layer hides it."""
        head, _, leaf = path.rpartition("/")
        for record in reversed(self.records):
            table = record.table
            if not leaf or leaf not in table.names or head not in table.folders:
                continue
            folder = table.folders.index(head)
            for row, name in enumerate(table.names):
                fate = record.fates[row]
                if fate and name == leaf and table.parents[row] == folder:
                    by, number = self.fates[fate].layer, record.number
                    return f"layer {number} has it, and layer {by} hides it: --layer {number}"
        return None

    def _locate(self, path: str, *, follow: bool) -> tuple[list[str], "int | Folder"]:
        try:
            names, value, _ = self.trace(path, follow=follow)
        except Missing as missing:
            chain = f" ({', '.join(missing.links)})" if missing.links else ""
            hint = self._where_it_is(layer_path(path))
            raise NotFound(f"{quoted(path)} {missing.reason}{chain}", hint=hint) from None
        return names, value

    def node(self, path: str, value: "int | Folder") -> Node:
        """Return the node of a path for what `walk_values` yields with it."""
        name = attributes(value) if isinstance(value, dict) else value
        inode = self.inode(name)
        if inode < 0:
            return _implied_node(path, inode)
        record = self.record_of(inode)
        table, row = record.table, inode - record.base
        kind = table.kinds[row]
        return Node(
            path=path,
            kind=KINDS[kind],
            size=table.sizes[row],
            mode=table.modes[row],
            uid=table.uids[row],
            gid=table.gids[row],
            mtime=table.mtimes[row],
            link=table.links.get(row),
            device=table.devices.get(row),
            xattrs=table.xattrs.get(row, {}),
            layer=record.number,
            row=row,
            named_by=record.number if inode == name else self.record_of(name).number,
            nlink=self.names.get(inode, 1),
        )


def _implied_node(path: str, inode: int) -> Node:
    layer = IMPLIED - inode
    return Node(
        path=path,
        kind=KINDS[DIRECTORY],
        size=0,
        mode=IMPLIED_MODE,
        uid=0,
        gid=0,
        mtime=0,
        layer=layer,
        row=None,
        named_by=layer,
    )


def _sorted(folder: Folder) -> list[str]:
    return sorted(name for name in folder if name)
