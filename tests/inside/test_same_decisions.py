"""Unpacking and looking decide the same: one table of cases, and both are held to it."""

import io
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocitool.errors import MalformedArchive
from ocitool.fsops import Directory
from ocitool.image.layers import EntryKind, Extraction, Keep
from ocitool.inside.content import read_member
from ocitool.inside.image import Inside
from ocitool.oci import Digest
from tests.support.insides import looked_into
from tests.support.layer_cases import CASES, DIFFERENCES, REFUSALS, Difference, LayerCase, Refusal
from tests.support.root_files import Node, layer_of
from tests.support.small_images import small_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A tree as a case describes it, with the modes of all that is no link."""

    tree: dict[str, str]
    linked: tuple[tuple[str, ...], ...]
    modes: dict[str, int]


def unpacked(root: Path, layers: Iterable[Iterable[Node]]) -> Seen:
    """Unpack the layers and read what is on the disk."""
    root.mkdir(mode=0o700)
    keep = Keep(special=True)
    with Directory.open(str(root)) as opened, Extraction(opened, keep=keep) as extraction:
        for nodes in layers:
            data = layer_of(*nodes)
            digest = Digest.of(data)
            extraction.layer(io.BytesIO(data), digest, stored=digest)
        extraction.finish()
    return on_disk(root)


def on_disk(root: Path) -> Seen:
    tree: dict[str, str] = {}
    modes: dict[str, int] = {}
    names: dict[int, list[str]] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            full = os.path.join(folder, name)
            path = os.fsdecode(os.path.relpath(full, os.fsencode(root)))
            status = os.lstat(full)
            tree[path] = shown(full, status.st_mode)
            if not stat.S_ISLNK(status.st_mode):
                modes[path] = stat.S_IMODE(status.st_mode)
            if not stat.S_ISDIR(status.st_mode):
                names.setdefault(status.st_ino, []).append(path)
    linked = sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1)
    return Seen(tree=tree, linked=tuple(linked), modes=modes)


def shown(full: bytes, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return f"-> {os.fsdecode(os.readlink(full))}"
    if stat.S_ISDIR(mode):
        return "/"
    return "|" if stat.S_ISFIFO(mode) else Path(os.fsdecode(full)).read_text()


def in_tree(inside: Inside) -> Seen:
    """Walk the merged tree; the content of files is read from their layers."""
    tree: dict[str, str] = {}
    modes: dict[str, int] = {}
    names: dict[tuple[int, int | None], list[str]] = {}
    for node in inside.tree.walk():
        if not node.path:
            continue
        if node.kind is EntryKind.FILE:
            assert node.row is not None
            content = b"".join(read_member(inside, node.layer, node.row))
            assert len(content) == node.size
            tree[node.path] = content.decode()
        else:
            shown = {EntryKind.DIRECTORY: "/", EntryKind.FIFO: "|"}
            tree[node.path] = shown.get(node.kind, f"-> {node.link}")
        if node.kind is not EntryKind.SYMLINK:
            modes[node.path] = node.mode
        if node.kind is not EntryKind.DIRECTORY:
            names.setdefault((node.layer, node.row), []).append(node.path)
    linked = sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1)
    return Seen(tree=tree, linked=tuple(linked), modes=modes)


def check(case: LayerCase, seen: Seen) -> None:
    assert seen.tree == case.tree
    assert seen.linked == case.linked
    assert {path: seen.modes[path] for path in case.modes or ()} == (case.modes or {})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unpacking_decides_as_the_table_says(case: LayerCase, tmp_path: Path) -> None:
    check(case, unpacked(tmp_path / "root", case.layers))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_looking_decides_as_the_table_says(case: LayerCase) -> None:
    inside = looked_into(small_image(*case.layers))
    check(case, in_tree(inside))
    for group in case.linked:
        assert {inside.tree.find(path, follow=False).nlink for path in group} == {len(group)}


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_what_is_not_unpacked_is_a_problem_to_who_looks(case: Refusal, tmp_path: Path) -> None:
    with pytest.raises(MalformedArchive):
        unpacked(tmp_path / "root", case.layers)
    inside = looked_into(small_image(*case.layers))
    found = tuple((problem.layer, problem.path, problem.kind) for problem in inside.problems)
    assert found == case.problems
    assert in_tree(inside).tree == case.tree


@pytest.mark.parametrize("case", DIFFERENCES, ids=str)
def test_where_unpacking_and_looking_differ(case: Difference, tmp_path: Path) -> None:
    assert unpacked(tmp_path / "root", case.layers).tree == case.unpacked
    assert in_tree(looked_into(small_image(*case.layers))).tree == case.looked
