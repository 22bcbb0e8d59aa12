"""One walk over the merged tree and the members of all layers: what is there, what to read."""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

from ocitool.errors import NotFound
from ocitool.image.layers import EntryKind
from ocitool.inside.facts import system
from ocitool.inside.facts.candidates import LIMITS, Purpose, purpose_of
from ocitool.inside.facts.leaks.places import LARGEST, may_hold_secrets
from ocitool.inside.facts.report import Loose, LooseFile, Unread
from ocitool.inside.image import Inside
from ocitool.inside.table import FILE
from ocitool.inside.tree import MergedTree, Node

_CAPABILITY: Final = "security.capability"
_SETUID, _SETGID, _STICKY, _WRITABLE, _RUNNABLE = 0o4000, 0o2000, 0o1000, 0o002, 0o111
_DPKG = "var/lib/dpkg"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed", "var/lib/apk/db/installed")
_RPM_FOLDERS = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
_RPM_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
"""The forms of rpm's database, the newest first: an older one beside it is a leftover."""


class Survey(Struct, kw_only=True):
    """What the tree tells by itself. `wanted` are the files to read, by layer and row."""

    loose: list[LooseFile] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    zoneinfo: tuple[str, ...] = ()
    unread: list[Unread] = field(default_factory=list)
    wanted: dict[int, dict[int, list[tuple[Purpose, str]]]] = field(default_factory=dict)

    def want(self, purpose: Purpose, node: Node) -> None:
        """Note a file to read, or that it is too large."""
        if node.kind is not EntryKind.FILE or node.row is None or not node.size:
            return
        if node.size > LIMITS[purpose]:
            reason = f"it has {node.size} bytes, more than {LIMITS[purpose]}"
            self.unread.append(
                Unread(kind="too_large", path=node.path, reason=reason, layer=node.layer)
            )
            return
        self.want_row(purpose, node.layer, node.row, node.path)

    def want_row(self, purpose: Purpose, layer: int, row: int, path: str) -> None:
        """Note a member to read; the same purpose once."""
        purposes = self.wanted.setdefault(layer, {}).setdefault(row, [])
        if all(purpose is not one for one, _ in purposes):
            purposes.append((purpose, path))


def survey(inside: Inside) -> Survey:
    """Return what the tree and the layers of an image tell without reading a file."""
    found = Survey()
    lookup = Lookup(inside.tree)
    _databases(lookup, found)
    _system_files(lookup, found, inside.config.config.env)
    for node in inside.tree.walk():
        _look_at(node, found)
    _secrets(inside, found)
    return found


class Lookup:
    """Asks the tree for paths that may not exist."""

    def __init__(self, tree: MergedTree) -> None:
        self._tree = tree

    def node(self, path: str) -> Node | None:
        """Return what a path leads to, None where nothing is."""
        try:
            return self._tree.find(path)
        except NotFound:
            return None

    def children(self, path: str) -> Iterator[Node]:
        """Yield what a folder holds; nothing where no folder is."""
        node = self.node(path)
        if node is not None and node.is_folder:
            yield from self._tree.children(path)

    def program(self, path: str) -> system.Located | None:
        """Return the file behind a path if it can be run."""
        node = self.node(path)
        if node is None or node.kind is not EntryKind.FILE or node.row is None:
            return None
        if not node.mode & _RUNNABLE:
            return None
        return system.Located(node.path, (node.layer, node.row))


def _databases(lookup: Lookup, found: Survey) -> None:
    status = lookup.node(f"{_DPKG}/status")
    if status is not None:
        found.want(Purpose.DPKG, status)
    for node in lookup.children(f"{_DPKG}/status.d"):
        if not node.name.endswith(".md5sums"):
            found.want(Purpose.DPKG, node)
    for path in _APK:
        database = lookup.node(path)
        if database is not None:
            found.want(Purpose.APK, database)
    for folder in _RPM_FOLDERS:
        _rpm_database(lookup, found, folder)


def _rpm_database(lookup: Lookup, found: Survey, folder: str) -> None:
    for name in _RPM_FILES:
        node = lookup.node(f"{folder}/{name}")
        if node is None:
            continue
        log = lookup.node(f"{folder}/{name}-wal")
        if log is not None and log.size:
            # What the log holds is not in the database yet, or is another version there.
            reason = "its write-ahead log was not merged into it, so that it would be read half"
            one = Unread(kind="unmerged", path=node.path, reason=reason, layer=node.layer)
            if one not in found.unread:
                found.unread.append(one)
        else:
            found.want(Purpose.RPM, node)
        return


def _system_files(lookup: Lookup, found: Survey, environment: tuple[str, ...]) -> None:
    release = next((node for path in system.RELEASES if (node := lookup.node(path))), None)
    if release is not None:
        found.want(Purpose.RELEASE, release)
    named = [one.partition("=")[2] for one in environment if one.startswith("SSL_CERT_FILE=")]
    for path in (*system.CERTIFICATES, *named):
        node = lookup.node(path)
        if node is not None:
            found.want(Purpose.CERTIFICATES, node)
    folders = (lookup.node(path) for path in system.ZONES if next(lookup.children(path), None))
    found.zoneinfo = tuple(dict.fromkeys(node.path for node in folders if node is not None))


def _look_at(node: Node, found: Survey) -> None:
    is_file = node.kind is EntryKind.FILE
    if node.xattrs or node.mode & (_SETUID | _SETGID | _WRITABLE):
        found.loose.extend(_loose(node))
    if not is_file:
        return
    if (name := system.c_library_name(node.path)) is not None:
        found.libraries.append(node.path)
        if name == "glibc":
            found.want(Purpose.GLIBC, node)
    purpose = purpose_of(node.path, node.size, node.mode)
    if purpose is not None:
        found.want(purpose, node)


def _loose(node: Node) -> Iterator[LooseFile]:
    """Yield what is dangerous about a node; of folders only that all may write without sticky."""
    is_file = node.kind is EntryKind.FILE
    checks: tuple[tuple[Loose, bool], ...] = (
        (Loose.SETUID, is_file and bool(node.mode & _SETUID)),
        (Loose.SETGID, is_file and bool(node.mode & _SETGID)),
        (
            Loose.WRITABLE,
            bool(node.mode & _WRITABLE)
            and (is_file or (node.is_folder and not node.mode & _STICKY)),
        ),
        (Loose.CAPABILITIES, is_file and _CAPABILITY in node.xattrs),
    )
    for rule, is_so in checks:
        if is_so:
            yield LooseFile(
                rule=rule,
                path=node.path,
                mode=node.mode,
                uid=node.uid,
                gid=node.gid,
                layer=node.layer,
            )


def _secrets(inside: Inside, found: Survey) -> None:
    """Note every file of every layer that may hold secrets, hidden ones too.

    A layer that is there twice counts where it is last, which is where its files are seen.
    """
    seen: set[object] = set()
    for layer in reversed(inside.layers):
        table = layer.table
        if table is None or layer.descriptor.digest in seen:
            continue
        seen.add(layer.descriptor.digest)
        path_of: Callable[[int], str] = table.path
        for row, (kind, size) in enumerate(zip(table.kinds, table.sizes, strict=True)):
            if kind == FILE and 0 < size <= LARGEST and row not in table.sparse:
                path = path_of(row)
                if may_hold_secrets(path, size):
                    found.want_row(Purpose.SECRETS, layer.number, row, path)
