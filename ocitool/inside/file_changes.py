"""How two merged trees differ, path by path, however their files are split into layers (I17).

Both trees are walked at once. Attributes come from the columns of the layer tables. Content is
compared by its SHA-256, and read only where the sizes are equal and the two files are not the same
member of a layer that both images have (I16).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from ocitool.inside.differences import Entry, FileChange, FileChanges, What
from ocitool.inside.lazy_changes import Made, Paths
from ocitool.inside.state import IMPLIED, IMPLIED_MODE, Folder, attributes
from ocitool.inside.table import DIRECTORY, FILE, KINDS, SYMLINK, LayerTable
from ocitool.inside.tree import MergedTree

_EMPTY: Final[Folder] = {}

_Rows = defaultdict[int, set[int]]


class _Member(Struct, frozen=True):
    """An inode as its member describes it; a folder without a member has no time."""

    layer: int
    row: int
    table: LayerTable | None
    kind: int
    mode: int
    owner: tuple[int, int]
    mtime: float | None
    size: int = 0
    link: str | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[str, bytes] | None = None

    @property
    def digest(self) -> bytes | None:
        return self.table.digest(self.row) if self.table is not None else None

    def entry(self, path: str, first: str | None) -> Entry:
        """Return what the comparison tells of it; `first` is the first path of several."""
        known = self.digest if self.kind == FILE else None
        return Entry(
            path=path,
            kind=KINDS[self.kind],
            size=self.size,
            mode=self.mode,
            uid=self.owner[0],
            gid=self.owner[1],
            mtime=self.mtime,
            layer=self.layer,
            row=self.row,
            link=self.link,
            hard_link=None if first == path else first,
            device=self.device,
            xattrs=self.xattrs,
            sha256=known.hex() if known is not None else None,
        )


class _Pair(Struct, frozen=True):
    """A path that both images have, and what differs; the content, if it is in doubt, is not in."""

    path: str
    a: int
    b: int
    what: tuple[What, ...]
    doubtful: bool


class Doubts(Struct, frozen=True):
    """The members whose content must be hashed before it is known what differs."""

    a: _Rows = field(default_factory=lambda: defaultdict(set))
    b: _Rows = field(default_factory=lambda: defaultdict(set))


class TreeComparison:
    """Compares two trees in two steps: `doubts` says what must be hashed before `result` is asked.

    `shared` has the layers that both images have, by number: their members are the same. `wanted`
    says which paths are compared, `ignored` what is not.
    """

    def __init__(
        self,
        a: MergedTree,
        b: MergedTree,
        *,
        shared: Mapping[int, int],
        ignored: Collection[What] = (),
        wanted: Callable[[str], bool] | None = None,
    ) -> None:
        self._a = a
        self._b = b
        self._shared = shared
        self._ignored = frozenset(ignored)
        self._wanted = wanted
        self._added = Paths(self._entry_b)
        self._removed = Paths(self._entry_a)
        self._pairs: list[_Pair] = []
        self._compared = self._mtime_only = 0
        # Of each file with several paths the first one, and the first one that both images have.
        self._paths_a: dict[int, str] = {}
        self._paths_b: dict[int, str] = {}
        self._common_a: dict[int, str] = {}
        self._common_b: dict[int, str] = {}
        self.doubts = Doubts()
        self._walk()

    def result(self) -> FileChanges:
        """Return what differs, once the tables have the digests of the members in doubt.

        What has no digest, such as a sparse file, cannot be told to be the same, and counts as
        changed.
        """
        changed: list[_Pair] = []
        mtime_only = self._mtime_only
        for pair in self._pairs:
            what = self._what(pair)
            if what == (What.MTIME,):
                mtime_only += 1
            elif what:
                changed.append(pair)
        return FileChanges(
            added=self._added.entries(),
            removed=self._removed.entries(),
            changed=Made(len(changed), lambda number: self._change(changed[number])),
            mtime_only=mtime_only,
            compared=self._compared,
        )

    def _what(self, pair: _Pair) -> tuple[What, ...]:
        if not pair.doubtful:
            return pair.what
        a, b = _member(self._a, pair.a).digest, _member(self._b, pair.b).digest
        return (What.CONTENT, *pair.what) if a is None or a != b else pair.what

    def _change(self, pair: _Pair) -> FileChange:
        a, b = self._entry_a(pair.path, pair.a), self._entry_b(pair.path, pair.b)
        return FileChange(path=pair.path, what=self._what(pair), a=a, b=b)

    def _entry_a(self, path: str, inode: int) -> Entry:
        return _member(self._a, inode).entry(path, self._paths_a.get(inode))

    def _entry_b(self, path: str, inode: int) -> Entry:
        return _member(self._b, inode).entry(path, self._paths_b.get(inode))

    def _walk(self) -> None:
        if self._wanted is None:
            self._meet("", self._a.root, self._b.root)
        stack = [("", self._a.root, self._b.root, _names(self._a.root, self._b.root))]
        while stack:
            prefix, folder_a, folder_b, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            a, b = folder_a.get(name), folder_b.get(name)
            path = prefix + name
            if self._wanted is None or self._wanted(path):
                self._meet(path, a, b)
            if isinstance(a, dict) or isinstance(b, dict):
                below_a = a if isinstance(a, dict) else _EMPTY
                below_b = b if isinstance(b, dict) else _EMPTY
                stack.append((f"{path}/", below_a, below_b, _names(below_a, below_b)))

    def _meet(self, path: str, a: "int | Folder | None", b: "int | Folder | None") -> None:
        inode_a = self._inode(self._a, self._paths_a, path, a)
        inode_b = self._inode(self._b, self._paths_b, path, b)
        if inode_a is None or inode_b is None:
            if inode_b is not None:
                self._added.add(path, inode_b)
            elif inode_a is not None:
                self._removed.add(path, inode_a)
            return
        self._compared += 1
        names_differ = self._names_differ(path, inode_a, inode_b)
        if self._is_shared(inode_a, inode_b) and not names_differ:
            return
        one, other = _member(self._a, inode_a), _member(self._b, inode_b)
        what = self._differences(one, other, names_differ=names_differ)
        doubtful = self._doubt(one, other)
        if doubtful or what not in ((), (What.MTIME,)):
            self._pairs.append(_Pair(path, inode_a, inode_b, what, doubtful))
        elif what:
            self._mtime_only += 1

    def _inode(
        self, tree: MergedTree, paths: dict[int, str], path: str, value: "int | Folder | None"
    ) -> int | None:
        """Return the inode at a path; note the path if it is the first of several."""
        if value is None:
            return None
        inode = tree.inode(attributes(value) if isinstance(value, dict) else value)
        if tree.names.get(inode, 1) > 1:
            paths.setdefault(inode, path)
        return inode

    def _is_shared(self, a: int, b: int) -> bool:
        if a < 0 or b < 0:
            return a < 0 and b < 0
        one, other = self._a.record_of(a), self._b.record_of(b)
        return self._shared.get(one.number) == other.number and a - one.base == b - other.base

    def _names_differ(self, path: str, a: int, b: int) -> bool:
        """Tell whether a file has other names here and there, among those that both have."""
        if self._a.names.get(a, 1) == 1 and self._b.names.get(b, 1) == 1:
            return False
        if not (_is_file(self._a, a) and _is_file(self._b, b)):
            return False
        return self._common_a.setdefault(a, path) != self._common_b.setdefault(b, path)

    def _differences(self, a: _Member, b: _Member, *, names_differ: bool) -> tuple[What, ...]:
        """Return what differs, but for content that has to be read."""
        same_type = a.kind == b.kind
        one, other = a.digest, b.digest
        read = same_type and one is not None and other is not None and one != other
        is_timed = a.mtime is not None and b.mtime is not None
        found = {
            What.TYPE: not same_type,
            What.CONTENT: read or (same_type and a.size != b.size),
            # The mode of a symbolic link means nothing, and tools write several.
            What.MODE: a.mode != b.mode and not (same_type and a.kind == SYMLINK),
            What.OWNER: a.owner != b.owner,
            What.LINK: same_type and (names_differ or a.link != b.link),
            What.DEVICE: same_type and a.device != b.device,
            What.XATTRS: (a.xattrs or {}) != (b.xattrs or {}),
            What.MTIME: is_timed and a.mtime != b.mtime,
        }
        return tuple(what for what, yes in found.items() if yes and what not in self._ignored)

    def _doubt(self, a: _Member, b: _Member) -> bool:
        """Tell whether two contents have to be read, and note which."""
        if a.kind != FILE or b.kind != FILE or a.size != b.size or a.size == 0:
            return False
        for member, rows in ((a, self.doubts.a), (b, self.doubts.b)):
            if member.digest is None:
                rows[member.layer].add(member.row)
        return a.digest is None or b.digest is None


def _names(a: Folder, b: Folder) -> Iterator[str]:
    """Return the names in either of two folders, sorted."""
    names = sorted(a.keys() | b.keys())
    return iter(names[1:] if names and not names[0] else names)


def _is_file(tree: MergedTree, inode: int) -> bool:
    if inode < 0:
        return False
    table, row = tree.member(inode)
    return table.kinds[row] == FILE


def _member(tree: MergedTree, inode: int) -> _Member:
    if inode < 0:
        return _Member(IMPLIED - inode, -1, None, DIRECTORY, IMPLIED_MODE, (0, 0), None)
    record = tree.record_of(inode)
    table, row = record.table, inode - record.base
    return _Member(
        record.number,
        row,
        table,
        table.kinds[row],
        table.modes[row],
        (table.uids[row], table.gids[row]),
        table.mtimes[row],
        table.sizes[row],
        table.links.get(row),
        table.devices.get(row),
        table.xattrs.get(row),
    )
