"""What `compare` finds: the differences between two images, as values.

On both sides of a difference `a` is the first image and `b` the second one.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from ocitool.image.layers import EntryKind
from ocitool.inside.settings import Setting
from ocitool.oci import Digest, Platform


class What(StrEnum):
    """What differs about a path that both images have.

    LINK is the target of a symbolic link, or which other paths a file has. DEVICE is the number of
    a device.
    """

    TYPE = "type"
    CONTENT = "content"
    MODE = "mode"
    OWNER = "owner"
    LINK = "link"
    DEVICE = "device"
    XATTRS = "xattrs"
    MTIME = "mtime"


class Section(StrEnum):
    """A part of two images that is compared."""

    FILES = "files"
    CONFIG = "config"
    LAYERS = "layers"


class Entry(Struct, frozen=True, kw_only=True):
    """What an image has at a path; the root is "". `layer` and `row` are the member it is from.

    `size` is the bytes of a file, else 0, `mode` the permission bits, `mtime` seconds since 1970,
    None for a folder that no layer says anything about. `link` is the target of a symbolic link.
    `hard_link` is the first of the paths of a file that has several, None for that path itself.
    `sha256` is that of a file's content if it was read.
    """

    path: str
    kind: EntryKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime: float | None
    layer: int
    row: int
    link: str | None = None
    hard_link: str | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] | None = None
    sha256: str | None = None


class FileChange(Struct, frozen=True, kw_only=True):
    """A path that both images have, and what differs about it, MTIME alone never.

    `diff` has the lines of a text diff, if one was asked for and both are small text files.
    """

    path: str
    what: tuple[What, ...]
    a: Entry
    b: Entry
    diff: tuple[str, ...] | None = None


class FileChanges(Struct, frozen=True, kw_only=True):
    """The differences between two merged trees, each list in the order of a walk.

    `mtime_only` counts the paths of which only the time differs, `compared` those that both images
    have.
    """

    added: Sequence[Entry] = ()
    removed: Sequence[Entry] = ()
    changed: Sequence[FileChange] = ()
    mtime_only: int = 0
    compared: int = 0

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not (self.added or self.removed or self.changed or self.mtime_only)


class ConfigChange(Struct, frozen=True, kw_only=True):
    """A field of the configuration or the manifest, such as `env.PATH`; None where it is not set.

    A text, or the words of a command. Fields that are objects are their JSON as text.
    """

    field: str
    a: Setting | None
    b: Setting | None


class HistoryChange(Struct, frozen=True, kw_only=True):
    """A step that only one image has: `is_added` if that is the second one. Numbers begin at 1."""

    is_added: bool
    step: int
    instruction: str
    created_by: str


class HistoryChanges(Struct, frozen=True, kw_only=True):
    """The differences between two histories, in their order.

    `only_notes` counts the steps of one instruction that differ in time, author, comment, notation,
    or in whether they made a layer.
    """

    changes: tuple[HistoryChange, ...] = ()
    only_notes: int = 0

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not (self.changes or self.only_notes)


class LayerOf(Struct, frozen=True, kw_only=True):
    """A layer of one of the images. `stored` is bytes as stored, numbers begin at 1."""

    number: int
    digest: Digest
    diff_id: Digest | None
    stored: int
    instruction: str


class SharedLayer(Struct, frozen=True, kw_only=True):
    """A layer that both images have; one that is stored in two ways is the same by its diff ID."""

    a: LayerOf
    b: LayerOf

    @property
    def is_stored_alike(self) -> bool:
        """Whether even the stored bytes are the same."""
        return self.a.digest == self.b.digest


class LayerChanges(Struct, frozen=True, kw_only=True):
    """Which layers the images share, wherever they stand."""

    shared: tuple[SharedLayer, ...]
    only_a: tuple[LayerOf, ...]
    only_b: tuple[LayerOf, ...]

    @property
    def same(self) -> bool:
        """Whether both images have the same layers, in whatever form they are stored."""
        in_order = all(one.a.number == one.b.number for one in self.shared)
        return in_order and not (self.only_a or self.only_b)


class Totals(Struct, frozen=True, kw_only=True):
    """How large an image is: the bytes of its layers as stored, and those of the files it shows.

    `live_bytes` is None where the layers were not read. `compression` says how those are compressed
    that were: none, gzip, zstd, bzip2 or xz.
    """

    stored: int
    live_bytes: int | None = None
    compression: tuple[str, ...] = ()


class Sizes(Struct, frozen=True, kw_only=True):
    """How large both images are."""

    a: Totals
    b: Totals


class Side(Struct, frozen=True, kw_only=True):
    """One of the two images."""

    called: str
    digest: Digest
    image_id: Digest
    platform: Platform


class Unread(Struct, frozen=True, kw_only=True):
    """A layer that could not be compared, of the image `a` or `b`.

    `kind` is a word such as damaged, missing, encrypted or foreign, `text` says why.
    """

    image: str
    layer: int
    kind: str
    text: str


class Comparison(Struct, frozen=True, kw_only=True):
    """Two images, and how they differ. A section that was not compared is None.

    `problems` are layers that could not be read, but for those that both images have.
    """

    a: Side
    b: Side
    same: bool
    size: Sizes
    files: FileChanges | None = None
    config: tuple[ConfigChange, ...] | None = None
    history: HistoryChanges | None = None
    layers: LayerChanges | None = None
    problems: tuple[Unread, ...] = ()
