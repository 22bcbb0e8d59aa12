"""What a disk may hold after the power failed, computed from the changes that were made.

The method is that of ALICE (Pillai et al., OSDI 2014), with the least friendly disk there could
be. Until a file is synced, its content may be old, empty, cut, or zeros. Until a directory is
synced, each of its names may mean what it meant at the last sync or anything it was made to mean
since, one name independently of the other.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.watched import Change

Tree = dict[str, bytes | None]
"""Paths relative to the root; the content of a file, None for a folder."""


@dataclass(slots=True, eq=False)
class _File:
    data: bytes = b""
    synced: bytes = b""

    def contents(self) -> list[bytes]:
        """Return what may be in it, what the running system sees first."""
        if self.data == self.synced:
            return [self.data]
        zeros = self.synced + bytes(max(0, len(self.data) - len(self.synced)))
        cut = self.data[: (len(self.synced) + len(self.data)) // 2]
        return list(dict.fromkeys([self.data, self.synced, b"", cut, zeros]))


@dataclass(slots=True, eq=False)
class _Folder:
    # Every name with all that it may mean; the running system sees the last one.
    names: dict[str, list["_File | _Folder | None"]] = field(default_factory=dict)

    def set(self, name: str, node: "_File | _Folder | None") -> None:
        meanings = self.names.setdefault(name, [None])
        if meanings[-1] is not node:
            meanings.append(node)

    def sync(self) -> None:
        self.names = {n: m[-1:] for n, m in self.names.items() if m[-1] is not None}


class Disk:
    """A folder of which every change is known since the moment it was safely on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._opened: dict[int, _File] = {}
        self._top = _Folder()
        for path in sorted(root.rglob("*")):
            node = _Folder() if path.is_dir() else _File(path.read_bytes(), path.read_bytes())
            folder, name = self._place(str(path))
            folder.set(name, node)
            folder.sync()

    def _node(self, path: str) -> "_File | _Folder | None":
        if path == self._root:
            return self._top
        folder, name = self._place(path)
        return folder.names.get(name, [None])[-1]

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._node(parent)
        assert isinstance(folder, _Folder), path
        return folder, name

    def apply(self, change: Change) -> None:
        """Make one change."""
        node: _File | _Folder | None
        match change.kind:
            case "create" | "tmpfile" | "open":
                node = _File() if change.kind != "open" else self._node(change.path)
                assert isinstance(node, _File)
                self._opened[change.file] = node
                if change.kind == "create":
                    self._set(change.path, node)
            case "write" | "fallocate":
                file = self._opened[change.file]
                start = len(file.data) if change.offset is None else change.offset
                end = start + len(change.data)
                file.data = file.data[:start].ljust(start, b"\0") + change.data + file.data[end:]
            case "fsync":
                node = self._opened.get(change.file) or self._node(change.path)
                if isinstance(node, _File):
                    node.synced = node.data
                elif node is not None:
                    node.sync()
            case "rename":
                self._set(change.target, self._node(change.path))
                self._set(change.path, None)
            case "link":
                self._set(change.target, self._opened[change.file])
            case "unlink" | "rmdir":
                self._set(change.path, None)
            case "mkdir":
                self._set(change.path, _Folder())
            case _:
                assert change.kind in ("utime", "fchmod"), f"the model does not know {change}"

    def _set(self, path: str, node: "_File | _Folder | None") -> None:
        folder, name = self._place(path)
        folder.set(name, node)

    def after_power_loss(self, chance: random.Random, sampled: int) -> Iterator[Tree]:
        """Yield trees that a disk may hold now, none twice.

        Everything that was done, nothing that was not synced, every single thing undone and done
        alone, every pair undone; and `sampled` random choices.
        """
        seen: set[frozenset[tuple[str, bytes | None]]] = set()
        for choice in self._choices(chance, sampled):
            tree = self._tree(choice)
            key = frozenset(tree.items())
            if key not in seen:
                seen.add(key)
                yield tree

    def now(self) -> Tree:
        """Return the tree that the running system sees."""
        return self._tree({})

    def _choices(
        self, chance: random.Random, sampled: int
    ) -> Iterator[Mapping[tuple[int, str], int]]:
        # The first alternative is what the running system sees, the others are numbered from 1.
        open_ = dict(self._alternatives(self._top, set()))
        oldest = {key: count - 1 for key, count in open_.items()}
        yield {}
        yield oldest
        single = [{key: n} for key, count in open_.items() for n in range(1, count)]
        yield from single
        for key, count in open_.items():
            for n in range(count):
                yield {**oldest, key: n}
        if len(single) <= 24:
            yield from ({**one, **two} for one, two in itertools.combinations(single, 2))
        for _ in range(sampled):
            yield {key: chance.randrange(count) for key, count in open_.items()}

    def _alternatives(
        self, folder: _Folder, seen: set[int]
    ) -> Iterator[tuple[tuple[int, str], int]]:
        for name, meanings in folder.names.items():
            if len(meanings) > 1:
                yield (id(folder), name), len(meanings)
            for node in meanings:
                if node is None or id(node) in seen:
                    continue
                seen.add(id(node))
                if isinstance(node, _Folder):
                    yield from self._alternatives(node, seen)
                elif len(node.contents()) > 1:
                    yield (id(node), ""), len(node.contents())

    def _tree(self, choice: Mapping[tuple[int, str], int]) -> Tree:
        tree: Tree = {}
        stack: list[tuple[str, _Folder]] = [("", self._top)]
        while stack:
            prefix, folder = stack.pop()
            for name, meanings in folder.names.items():
                node = meanings[-1 - choice.get((id(folder), name), 0)]
                if isinstance(node, _File):
                    tree[prefix + name] = node.contents()[choice.get((id(node), ""), 0)]
                elif node is not None:
                    tree[prefix + name] = None
                    stack.append((f"{prefix}{name}/", node))
        return tree


def write_tree(tree: Tree, folder: Path) -> None:
    """Put a tree on a real disk."""
    folder.mkdir(parents=True)
    for path in sorted(tree):
        data = tree[path]
        if data is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(data)


def moments(root: Path, changes: Sequence[Change]) -> Iterator[tuple[int, Disk]]:
    """Yield the disk before the first change and after each; `root` is as before all of them."""
    disk = Disk(root)
    yield 0, disk
    for number, change in enumerate(changes, 1):
        disk.apply(change)
        yield number, disk


def replayed(root: Path, changes: Iterable[Change]) -> Disk:
    """Return the disk after all the changes."""
    disk = Disk(root)
    for change in changes:
        disk.apply(change)
    return disk
