"""Unpack layers into a folder, one over the other, without touching anything outside of it.

The members of a layer are defined in image-spec layer.md: whiteouts hide only what lower layers
added, a folder over a folder changes its attributes, anything else replaces. Layers are unpacked
into a private folder of the caller, who removes it if this raises.
"""

import os
import stat
from collections.abc import Iterator
from typing import Self

from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.compression import CHUNK_SIZE, Readable
from ocitool.formats.tar import Entry, EntryType, StreamInput, TarLimits, TarReader
from ocitool.fsops import (
    Directory,
    NewFile,
    describe_folder,
    make_folder,
    make_hard_link,
    make_link,
    make_node,
    set_mode,
    set_owner,
    set_times,
)
from ocitool.image.layers.budget import Budget
from ocitool.image.layers.paths import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, layer_path
from ocitool.image.layers.tree import Spot, Tree, below, prune
from ocitool.image.layers.unpacking import Pieces, unpacked
from ocitool.image.layers.upper import Upper
from ocitool.oci import DEFAULT_LIMITS, Digest, Limits
from ocitool.oci.quoting import quoted

_AUFS = ".wh..wh."
_LARGEST_ID = (1 << 32) - 2


class Keep(Struct, frozen=True, kw_only=True):
    """Which attributes of members are kept, if this user may set them; by default none of these.

    `owners` needs root. `set_id` are the set-user-ID and set-group-ID bits, `attributes` the
    extended attributes that mean something in any file system, `special` devices and FIFOs.
    """

    owners: bool = False
    set_id: bool = False
    attributes: bool = False
    special: bool = False


class Extracted(Struct, frozen=True, kw_only=True):
    """What was unpacked: members, the bytes of files, and the number of things left out.

    `special` counts devices and FIFOs that were not made, `attributes` extended attributes that
    were not set.
    """

    entries: int
    size: int
    special: int = 0
    attributes: int = 0


class Extraction:
    """A root file system that grows in an open, private folder. Use it as a context manager.

    Call `layer` for each layer, the lowest first, then `finish`. With `whiteouts` unset a name such
    as .wh.x is one like any other. Raises MalformedArchive for what would lead out of the folder or
    is not valid, LimitExceeded, DigestMismatch for a layer that
    does not match its digests, StorageError from the disk. Not thread-safe.
    """

    def __init__(
        self,
        root: Directory,
        *,
        keep: Keep | None = None,
        limits: Limits = DEFAULT_LIMITS,
        whiteouts: bool = True,
    ) -> None:
        self._root = root
        self._whiteouts = whiteouts
        self._tree = Tree(root, limits=limits)
        self._keep = keep or Keep()
        self._budget = Budget(root, limits)
        self._limits = limits
        # Modes and times of folders are set last: nothing can be added to an unwritable folder.
        self._folders: dict[str, tuple[int, float]] = {}
        self._left_out: set[str] = set()
        self._special = self._attributes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()

    def layer(self, raw: Readable, diff_id: Digest, *, stored: Digest) -> None:
        """Unpack a layer over what is there. `raw` has to verify the digest `stored` itself."""
        self.tar(unpacked(raw, diff_id, stored=stored))

    def tar(self, content: Iterator[bytes]) -> None:
        """Unpack the pieces of a tar over what is there, like a layer; all of them are taken."""
        pieces = Pieces(content)
        limits = TarLimits(extension_bytes=self._limits.extension_header_bytes)
        reader = TarReader(StreamInput(pieces.read), limits=limits)
        upper = Upper()
        for entry in reader:
            self._budget.count_entry()
            self._member(reader, entry, upper)
        # What follows the end of the tar is part of its digest.
        pieces.drain()

    def finish(self) -> Extracted:
        """Give all folders their modes and times; return what was done."""
        # The deepest first: after its mode is set, the owner may no longer be able to enter.
        for path in sorted(self._folders, key=_depth, reverse=True):
            self._describe_folder(path, *self._folders[path])
        return Extracted(
            entries=self._budget.entries,
            size=self._budget.size,
            special=self._special,
            attributes=self._attributes,
        )

    def _describe_folder(self, path: str, mode: int, seconds: float) -> None:
        spot = self._tree.spot(below(path, "."))
        # If the path differs, a later member has replaced the folder by a link.
        if spot is not None and spot.path == path:
            set_times(spot.folder, ".", seconds)
            describe_folder(spot.folder, mode=mode)

    def _member(self, reader: TarReader, entry: Entry, upper: Upper) -> None:
        path = layer_path(entry.name)
        self._check_path(path)
        name = path.rpartition("/")[2]
        if self._whiteouts and name.startswith(WHITEOUT_PREFIX):
            self._whiteout(path, name, upper)
        elif entry.type is EntryType.OTHER:
            self._special += 1
        elif not path:
            self._describe_root(entry)
        else:
            self._place(reader, entry, path, upper)

    def _check_path(self, path: str) -> None:
        raw = path.encode("utf-8", "surrogateescape")
        longest = max(len(part) for part in raw.split(b"/"))
        if len(raw) > self._limits.path_bytes or longest > self._limits.component_bytes:
            raise LimitExceeded(
                f"the path {quoted(path)} is longer than {self._limits.path_bytes} bytes, or a "
                f"name in it than {self._limits.component_bytes}"
            )

    def _whiteout(self, path: str, name: str, upper: Upper) -> None:
        hidden = name.removeprefix(WHITEOUT_PREFIX)
        if hidden in ("", ".", ".."):
            raise MalformedArchive(f"the whiteout {quoted(path)} names nothing")
        if name == OPAQUE_WHITEOUT:
            spot = self._tree.spot(below(path.rpartition("/")[0], "."))
            if spot is not None:
                with spot.folder.subdirectory(".") as folder:
                    self._empty(folder, spot.path, upper)
        elif not name.startswith(_AUFS):
            spot = self._tree.spot(path)
            if spot is not None:
                self._hide(Spot(spot.folder, spot.path, hidden), upper)

    def _empty(self, folder: Directory, path: str, upper: Upper) -> None:
        """Remove what lower layers added to a folder."""
        if not upper.clean(path):
            for name in folder.names():
                self._hide(Spot(folder, path, name), upper)
            upper.cleaned.add(path)

    def _hide(self, spot: Spot, upper: Upper) -> None:
        """Remove what lower layers added under a name."""
        if spot.folder.kind(spot.name) != "folder":
            if not upper.brought(spot.full):
                self._tree.remove(spot, self._gone)
            return
        if not upper.clean(spot.full):
            prune(spot, upper.brought, cleaned=upper.cleaned, gone=self._gone)
            upper.cleaned.add(spot.full)
        elif not upper.brought(spot.full) and spot.folder.remove_folder(spot.name):
            self._gone(spot.full)
        self._tree.forget()

    def _gone(self, path: str) -> None:
        self._folders.pop(path, None)

    def _describe_root(self, entry: Entry) -> None:
        if entry.type is not EntryType.DIRECTORY:
            raise MalformedArchive(f"{quoted(entry.name)} would replace the root by a {entry.type}")
        self._note_folder(self._root, "", entry)

    def _place(self, reader: TarReader, entry: Entry, path: str, upper: Upper) -> None:
        if entry.type is EntryType.HARD_LINK and self._is_itself(entry, path):
            return
        spot = self._made(path)
        kind = spot.folder.kind(spot.name)
        exists = (kind, entry.type) == ("folder", EntryType.DIRECTORY)
        if entry.type is not EntryType.HARD_LINK and (kind is None or exists):
            self._put(reader, spot, entry, upper, exists=exists)
            return
        # Removing it, or looking for the target of a hard link, may close the cached folder.
        with spot.folder.subdirectory(".") as folder:
            spot = Spot(folder, spot.path, spot.name)
            self._tree.remove(spot, self._gone)
            self._put(reader, spot, entry, upper, exists=False)

    def _put(
        self, reader: TarReader, spot: Spot, entry: Entry, upper: Upper, *, exists: bool
    ) -> None:
        upper.add(spot.full)
        self._left_out.discard(spot.full)
        match entry.type:
            case EntryType.DIRECTORY:
                self._folder(spot, entry, exists=exists)
            case EntryType.FILE:
                self._file(reader, spot, entry)
            case EntryType.SYMLINK:
                self._link(spot, entry)
            case EntryType.HARD_LINK:
                self._second_name(spot, entry)
            case _:
                self._node(spot, entry)

    def _folder(self, spot: Spot, entry: Entry, *, exists: bool) -> None:
        if not exists:
            make_folder(spot.folder, spot.name)
        with spot.folder.subdirectory(spot.name) as folder:
            self._note_folder(folder, spot.full, entry)

    def _note_folder(self, folder: Directory, path: str, entry: Entry) -> None:
        owner = self._owner(entry)
        # The mode is set last, in `finish`: it may lock out even the owner.
        describe_folder(folder, owner=owner)
        self._set_attributes(folder, entry)
        self._folders[path] = (self._mode(entry), entry.mtime)

    def _file(self, reader: TarReader, spot: Spot, entry: Entry) -> None:
        if entry.sparse:
            raise MalformedArchive(f"{quoted(entry.name)} is sparse, which a layer must not be")
        with NewFile.create(spot.folder, spot.name) as file:
            self._budget.count_bytes(0, expected=entry.size)
            while data := reader.read_data(entry, CHUNK_SIZE):
                file.write(data)
                self._budget.count_bytes(len(data))
            owner = self._owner(entry)
            file.describe(mode=0o600, owner=owner, seconds=entry.mtime)
            self._set_attributes(file, entry)
            file.describe(mode=self._mode(entry), owner=None, seconds=entry.mtime)

    def _link(self, spot: Spot, entry: Entry) -> None:
        target = entry.link_name
        if not target or len(target) > self._limits.path_bytes:
            raise MalformedArchive(f"the link {quoted(entry.name)} has an empty or long target")
        make_link(spot.folder, spot.name, target)
        self._describe(spot, entry)

    def _second_name(self, spot: Spot, entry: Entry) -> None:
        found = self._lookup(layer_path(entry.link_name))
        if found is not None and found.full in self._left_out:
            self._leave_out(spot.full)
            return
        if found is None or found.folder.kind(found.name) in (None, "folder"):
            raise MalformedArchive(
                f"{quoted(entry.name)} is a hard link to {quoted(entry.link_name)}, which is "
                "not a file of the image"
            )
        make_hard_link(found.folder, found.name, spot.folder, spot.name)

    def _is_itself(self, entry: Entry, path: str) -> bool:
        """Tell whether a hard link points to itself, as tar writes a file that it adds twice."""
        target = self._lookup(layer_path(entry.link_name))
        if target is None or target.folder.kind(target.name) != "file":
            return False
        return self._made(path).full == target.full

    def _made(self, path: str) -> Spot:
        spot = self._tree.spot(path, create=True)
        if spot is None:
            raise MalformedArchive(f"{quoted(path)} cannot be reached in the image")
        return spot

    def _lookup(self, path: str) -> Spot | None:
        self._check_path(path)
        return self._tree.spot(path) if path else None

    def _node(self, spot: Spot, entry: Entry) -> None:
        kind = {EntryType.FIFO: stat.S_IFIFO, EntryType.CHARACTER: stat.S_IFCHR}.get(
            entry.type, stat.S_IFBLK
        )
        device = _device(entry) if entry.type is not EntryType.FIFO else 0
        # Overlays mark deleted files by such a device, so it would not be visible.
        invisible = kind == stat.S_IFCHR and device == 0
        wanted = self._keep.special and not invisible and device is not None
        if wanted and make_node(spot.folder, spot.name, kind | 0o600, device or 0):
            self._describe(spot, entry)
            set_mode(spot.folder, spot.name, self._mode(entry))
        else:
            self._leave_out(spot.full)

    def _leave_out(self, path: str) -> None:
        self._special += 1
        self._left_out.add(path)

    def _describe(self, spot: Spot, entry: Entry) -> None:
        owner = self._owner(entry)
        if owner is not None:
            set_owner(spot.folder, spot.name, *owner)
        set_times(spot.folder, spot.name, entry.mtime)

    def _owner(self, entry: Entry) -> tuple[int, int] | None:
        if not (0 <= entry.uid <= _LARGEST_ID and 0 <= entry.gid <= _LARGEST_ID):
            raise MalformedArchive(f"{quoted(entry.name)} has the owner {entry.uid}:{entry.gid}")
        return (entry.uid, entry.gid) if self._keep.owners else None

    def _mode(self, entry: Entry) -> int:
        return entry.mode & (0o7777 if self._keep.set_id else 0o1777)

    def _set_attributes(self, place: Directory | NewFile, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            wanted = self._keep.attributes and is_portable(name)
            if not (wanted and place.set_attribute(name, value)):
                self._attributes += 1


def _device(entry: Entry) -> int | None:
    try:
        return os.makedev(entry.device_major, entry.device_minor)
    except (OverflowError, ValueError):
        return None


def is_portable(attribute: str) -> bool:
    """Tell whether an extended attribute may be set from an image.

    Not those of overlays and security modules, which would act on them.
    """
    if attribute.startswith("user."):
        return not attribute.startswith("user.overlay.")
    return attribute == "security.capability"


def _depth(path: str) -> int:
    return path.count("/") + 1 if path else 0
