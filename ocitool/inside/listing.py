"""The files of an image as values: what is at a path, in a folder, and what is out of sight."""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import NotFound
from ocitool.image.layers import EntryKind, layer_path
from ocitool.inside.image import Inside
from ocitool.inside.state import LayerRecord
from ocitool.inside.table import KINDS, OPAQUE, WHITEOUT
from ocitool.inside.tree import MergedTree, Node


class FileEntry(Struct, frozen=True, kw_only=True):
    """What is at a path of an image, or was before a layer hid it.

    `path` is relative to the root of the image, which is "". `size` is the bytes of a file once
    unpacked, 0 for everything else; `mode` the permission bits; `mtime` seconds since 1970; `link`
    where a symbolic link leads, as it is written; `device` the numbers of a device. `sha256` is the
    digest of a file's content in hex, if it was computed. `layer` (from 1) brought it, by the build
    step `instruction`. `nlink` counts the names of a file. `hides` are the layers whose file or
    link at this path it hides. Of what is out of sight, `hidden_by` is the layer that hid it, and
    `how` the way: a word of `Fate`. The whiteouts of a layer have
    the path that they hide.
    """

    path: str
    type: EntryKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float
    layer: int
    instruction: str | None = None
    link: str | None = None
    device: tuple[int, int] | None = None
    sha256: str | None = None
    nlink: int = 1
    hides: tuple[int, ...] = ()
    hidden_by: int | None = None
    how: str | None = None

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]


def list_files(
    inside: Inside, path: str = "", *, recursive: bool = False, with_whiteouts: bool = False
) -> Iterator[FileEntry]:
    """Yield what a folder holds, sorted by name; of any other path, what is there.

    With `recursive` also what the folders below hold, `with_whiteouts` what the layers hide there.
    Links in the path are followed. NotFound if nothing is there.
    """
    hidden = list(whiteouts(inside)) if with_whiteouts else []
    try:
        root = inside.tree.find(path)
    except NotFound:
        # A layer may hide what is in a folder without having the folder.
        found = [one for one in hidden if _is_in(one.path, layer_path(path), recursive=recursive)]
        if not found:
            raise
        yield from found
        return
    if not root.is_folder:
        yield entry_of(inside, root)
        return
    nodes = inside.tree.walk(root.path) if recursive else inside.tree.children(root.path)
    for node in nodes:
        if node.path != root.path:
            yield entry_of(inside, node)
    yield from (one for one in hidden if _is_in(one.path, root.path, recursive=recursive))


def _is_in(path: str, folder: str, *, recursive: bool) -> bool:
    above = path.rpartition("/")[0]
    return above == folder or (recursive and (not folder or above.startswith(f"{folder}/")))


def entry_of(inside: Inside, node: Node) -> FileEntry:
    """Return a node of the merged tree with what is known of its layer and content."""
    digest = None
    if node.row is not None and node.kind is EntryKind.FILE:
        digest = inside.table(node.layer).digest(node.row)
    return FileEntry(
        path=node.path,
        type=node.kind,
        size=node.size,
        mode=node.mode,
        uid=node.uid,
        gid=node.gid,
        mtime=node.mtime,
        layer=node.layer,
        instruction=inside.layer(node.layer).instruction if node.layer else None,
        link=node.link,
        device=node.device,
        sha256=digest.hex() if digest is not None else None,
        nlink=node.nlink,
        hides=() if node.is_folder else _hidden_layers(inside.tree, node.path),
    )


def _hidden_layers(tree: MergedTree, path: str) -> tuple[int, ...]:
    """Return the layers that had something else at the path of a file, the highest first."""
    _, value, _ = tree.trace(path, follow=False)
    layers: list[int] = []
    while isinstance(value, int) and value >= 0:
        record = tree.record_of(value)
        value = record.previous[value - record.base]
        if value >= 0:
            layers.append(tree.record_of(value).number)
    return tuple(layers)


def hidden_files(inside: Inside) -> Iterator[FileEntry]:
    """Yield the files and links that no name of the image leads to, in the order of their layers.

    The bytes of these files are in the image, and no container can see them.
    """
    fates = inside.tree.fates
    for record in inside.tree.records:
        for row, index in enumerate(record.fates):
            if index:
                fate = fates[index]
                yield _entry_of_row(inside, record, row, hidden_by=fate.layer, how=fate.how)


def whiteouts(inside: Inside) -> Iterator[FileEntry]:
    """Yield the whiteouts of all layers that were looked at."""
    for record in inside.tree.records:
        for row, kind in enumerate(record.table.kinds):
            if kind in (WHITEOUT, OPAQUE):
                yield _entry_of_row(inside, record, row)


def _entry_of_row(
    inside: Inside,
    record: LayerRecord,
    row: int,
    *,
    hidden_by: int | None = None,
    how: str | None = None,
) -> FileEntry:
    table = record.table
    digest = table.digest(row)
    return FileEntry(
        path=record.path(row),
        type=KINDS[table.kinds[row]],
        size=table.sizes[row],
        mode=table.modes[row],
        uid=table.uids[row],
        gid=table.gids[row],
        mtime=table.mtimes[row],
        layer=record.number,
        instruction=inside.layer(record.number).instruction,
        link=table.links.get(row),
        device=table.devices.get(row),
        sha256=digest.hex() if digest is not None else None,
        hidden_by=hidden_by,
        how=how,
    )
