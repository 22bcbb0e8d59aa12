"""What layers mean, in memory: the oracle that unpacking is measured against.

A path is walked as by a process whose root is the image. It shares no code with ocitool and knows
no disk, so it cannot make the same mistakes.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["folder", "file", "link", "hard link"]
BASE = 1 << 30
"""Not the layer that is being applied."""


class Nonsense(Exception):
    """A member that no image may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a layer. `text` is a file's content or where a link leads."""

    path: str
    kind: Kind
    text: str = ""
    mode: int = 0o755
    time: int = 1_000_000


@dataclass(slots=True, eq=False)
class _Folder:
    mode: int = 0o755
    time: int | None = None
    names: dict[str, "_Name"] = field(default_factory=dict)
    outer: "_Folder | None" = None


@dataclass(slots=True, eq=False)
class _File:
    text: str
    mode: int


@dataclass(slots=True, eq=False)
class _Link:
    target: str


@dataclass(slots=True)
class _Name:
    node: _Folder | _File | _Link
    layer: int


Seen = dict[str, tuple[object, ...]]
"""What is at each path; files with several names list all of them."""


class RootTree:
    """A root file system that layers are applied to."""

    def __init__(self) -> None:
        self._root = _Folder()

    def apply(self, layer: int, members: Iterable[Member]) -> None:
        """Apply a layer; Nonsense for what has to be refused."""
        for member in members:
            parts = _cleaned(member.path)
            if parts and parts[-1].startswith(".wh."):
                self._hide(layer, parts)
            elif not parts:
                if member.kind != "folder":
                    raise Nonsense
                self._root.mode, self._root.time = member.mode, member.time
            else:
                self._put(layer, parts, member)

    def _hide(self, layer: int, parts: list[str]) -> None:
        hidden = parts[-1].removeprefix(".wh.")
        if hidden in ("", ".", ".."):
            raise Nonsense
        opaque = parts[-1] == ".wh..wh..opq"
        if hidden.startswith(".wh.") and not opaque:
            return  # What aufs kept for itself.
        folder = self._walk(parts[:-1], make=False)
        if folder is None:
            return
        if opaque:
            for name in list(folder.names):
                _drop_lower(layer, folder, name)
        elif hidden in folder.names:
            _drop_lower(layer, folder, hidden)

    def _put(self, layer: int, parts: list[str], member: Member) -> None:
        if member.kind == "hard link" and self._is_itself(parts, _cleaned(member.text)):
            return
        folder = self._walk(parts[:-1], make=True)
        assert folder is not None
        name = parts[-1]
        old = folder.names.get(name)
        if member.kind == "folder" and old is not None and isinstance(old.node, _Folder):
            old.node.mode, old.node.time, old.layer = member.mode, member.time, layer
            return
        folder.names.pop(name, None)
        folder.names[name] = _Name(self._node(member, folder, name), layer)

    def _node(self, member: Member, folder: _Folder, name: str) -> _Folder | _File | _Link:
        if member.kind == "folder":
            return _Folder(member.mode, member.time, outer=folder)
        if member.kind == "file":
            return _File(member.text, member.mode)
        if member.kind == "link":
            return _Link(member.text)
        found = self._named(_cleaned(member.text))
        if found is None or isinstance(found, _Folder):
            raise Nonsense
        return found

    def _named(self, parts: list[str]) -> _Folder | _File | _Link | None:
        folder = self._walk(parts[:-1], make=False) if parts else None
        found = folder.names.get(parts[-1]) if folder is not None else None
        return found.node if found is not None else None

    def _is_itself(self, parts: list[str], target: list[str]) -> bool:
        if not target or not isinstance(self._named(target), _File):
            return False
        folder = self._walk(parts[:-1], make=True)
        return parts[-1] == target[-1] and folder is self._walk(target[:-1], make=False)

    def _walk(self, parts: list[str], *, make: bool) -> _Folder | None:
        here, left, links = self._root, deque(parts), 0
        while left:
            part = left.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                here = here.outer or here
                continue
            if part not in here.names and make:
                here.names[part] = _Name(_Folder(outer=here), BASE)
            found = here.names.get(part)
            node = found.node if found is not None else None
            if isinstance(node, _Link):
                links += 1
                if links > 40:
                    raise Nonsense
                here = self._root if node.target.startswith("/") else here
                left.extendleft(reversed(node.target.split("/")))
            elif isinstance(node, _Folder):
                here = node
            elif make:
                raise Nonsense
            else:
                return None
        return here

    def seen(self) -> Seen:
        """Return what is in the tree, as `seen_on_disk` does."""
        return _with_links(dict(_listed(self._root, "")))


def _drop_lower(layer: int, folder: _Folder, name: str) -> None:
    entry = folder.names[name]
    if isinstance(entry.node, _Folder):
        for inner in list(entry.node.names):
            _drop_lower(layer, entry.node, inner)
        if entry.node.names:
            return
    if entry.layer != layer:
        del folder.names[name]


def _cleaned(path: str) -> list[str]:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _listed(folder: _Folder, path: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    for name, entry in folder.names.items():
        inner, node = f"{path}/{name}", entry.node
        if isinstance(node, _Folder):
            yield inner, ("folder", node.mode, node.time)
            yield from _listed(node, inner)
        elif isinstance(node, _File):
            yield inner, ("file", node.text, node.mode, id(node))
        else:
            yield inner, ("link", node.target)


def seen_on_disk(root: Path) -> Seen:
    """Return what is in a folder: kinds, content, modes, and the times of folders."""
    return _with_links(dict(_on_disk(root, root)))


def _on_disk(root: Path, folder: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    for path in folder.iterdir():
        status = path.lstat()
        name, mode = f"/{path.relative_to(root)}", stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            yield name, ("link", os.readlink(path))
        elif stat.S_ISDIR(status.st_mode):
            yield name, ("folder", mode, int(status.st_mtime))
            yield from _on_disk(root, path)
        else:
            yield name, ("file", path.read_text(), mode, status.st_ino)


def _with_links(seen: Seen) -> Seen:
    """Replace what identifies a file by the names that it has."""
    names: dict[object, list[str]] = {}
    for path, what in seen.items():
        if what[0] == "file":
            names.setdefault(what[-1], []).append(path)
    return {
        path: (*what[:-1], tuple(sorted(names[what[-1]]))) if what[0] == "file" else what
        for path, what in seen.items()
    }
