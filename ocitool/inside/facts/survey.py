"""One look at the members of all layers: what is there, and what is worth reading."""

from array import array
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from ocitool.image.layers import EntryKind
from ocitool.inside.facts import system
from ocitool.inside.facts.candidates import (
    LIMITS,
    Purpose,
    may_be_of_interest,
    purpose_of,
)
from ocitool.inside.facts.leaks.paths import Named, secrets_in_paths
from ocitool.inside.facts.leaks.places import LARGEST, is_worth_reading
from ocitool.inside.facts.report import Loose, LooseFile, Unread
from ocitool.inside.image import Inside
from ocitool.inside.state import LayerRecord, Missing
from ocitool.inside.table import DIRECTORY, FILE, HARD_LINK
from ocitool.inside.tree import MergedTree, Node

_CAPABILITY: Final = "security.capability"
_SETUID, _SETGID, _STICKY, _WRITABLE, _RUNNABLE = 0o4000, 0o2000, 0o1000, 0o002, 0o111
_UNUSUAL = _SETUID | _SETGID | _WRITABLE
_DPKG = "var/lib/dpkg"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed", "var/lib/apk/db/installed")
_RPM_FOLDERS = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
_RPM_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
"""The forms of rpm's database, the newest first: an older one beside it is a leftover."""


class Survey(Struct, kw_only=True):
    """What the tree tells by itself. `wanted` are the files to read, by layer and row.

    `candidates` are the rows of each layer that may hold secrets; there may be a million. `named`
    are the secrets in paths, with the number of the layer.
    """

    loose: dict[LooseFile, None] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)
    zoneinfo: tuple[str, ...] = ()
    unread: list[Unread] = field(default_factory=list)
    wanted: dict[int, dict[int, list[tuple[Purpose, str]]]] = field(default_factory=dict)
    candidates: dict[int, "array[int]"] = field(default_factory=dict)
    named: list[tuple[int, Named]] = field(default_factory=list)

    def want(self, purpose: Purpose, node: Node) -> None:
        """Note a file to read, or that it is too large; the same purpose once."""
        if node.kind is not EntryKind.FILE or node.row is None or not node.size:
            return
        if node.size > LIMITS[purpose]:
            reason = f"it has {node.size} bytes, more than {LIMITS[purpose]}"
            self.unread.append(
                Unread(kind="too_large", path=node.path, reason=reason, layer=node.layer)
            )
            return
        purposes = self.wanted.setdefault(node.layer, {}).setdefault(node.row, [])
        if all(purpose is not one for one, _ in purposes):
            purposes.append((purpose, node.path))


def survey(inside: Inside) -> Survey:
    """Return what the tree and the layers of an image tell without reading a file."""
    found = Survey()
    lookup = Lookup(inside.tree)
    _databases(lookup, found)
    _system_files(lookup, found, inside.config.config.env)
    # A layer that is there twice is read once: where its files are seen, which is the last time.
    last = {layer.descriptor.digest: layer.number for layer in inside.layers}
    numbers = set(last.values())
    for record in inside.tree.records:
        rows = _Rows(record, lookup, found)
        rows.look()
        if record.number in numbers:
            rows.note_candidates()
            found.named += [(record.number, one) for one in secrets_in_paths(record.table)]
    return found


class Lookup:
    """Asks the tree for paths that may not exist."""

    def __init__(self, tree: MergedTree) -> None:
        self._tree = tree

    def node(self, path: str, *, follow: bool = True) -> Node | None:
        """Return what a path leads to, None where nothing is."""
        # Not `find`: the hint of its error is looked for in every layer.
        try:
            names, value, _ = self._tree.trace(path, follow=follow)
        except Missing:
            return None
        return self._tree.node("/".join(names), value)

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


class _Rows:
    """The members of one layer. Columns are looked at first: most members are ordinary files."""

    def __init__(self, record: LayerRecord, lookup: Lookup, found: Survey) -> None:
        self._record = record
        self._table = record.table
        self._lookup = lookup
        self._found = found

    def look(self) -> None:
        """Note unusual rights, libraries, and what tells of packages among the files seen."""
        table = self._table
        names = table.names
        columns = zip(table.kinds, table.sizes, table.modes, self._record.fates, strict=True)
        for row, (kind, size, mode, fate) in enumerate(columns):
            if fate:
                continue
            if kind == FILE:
                if mode & _UNUSUAL or may_be_of_interest(names[row], size, mode):
                    self._look_at(row)
            elif kind == HARD_LINK or (kind == DIRECTORY and mode & _WRITABLE):
                self._look_at(row)
        for row in table.xattrs:
            self._look_at(row)

    def _look_at(self, row: int) -> None:
        path = self._record.path(row)
        node = self._lookup.node(path, follow=False)
        # A folder may have got other attributes in a later layer, a file another one's place.
        if node is None or node.named_by != self._record.number:
            return
        self._found.loose |= dict.fromkeys(_loose(node))
        if node.kind is not EntryKind.FILE:
            return
        if (name := system.c_library_name(node.name)) is not None:
            self._found.libraries.append(node.path)
            if name == "glibc":
                self._found.want(Purpose.GLIBC, node)
        purpose = purpose_of(node.path, node.size, node.mode)
        if purpose is not None:
            self._found.want(purpose, node)

    def note_candidates(self) -> None:
        """Note every file that may hold secrets, hidden ones too."""
        table = self._table
        folders, names = table.folders, table.names
        rows = array("I")
        columns = zip(table.kinds, table.sizes, table.parents, strict=True)
        for row, (kind, size, parent) in enumerate(columns):
            if (
                kind == FILE
                and 0 < size <= LARGEST
                and is_worth_reading(folders[parent], names[row])
            ):
                rows.append(row)
        if table.sparse:
            rows = array("I", (row for row in rows if row not in table.sparse))
        self._found.candidates[self._record.number] = rows


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
