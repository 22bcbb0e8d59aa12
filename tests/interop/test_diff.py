"""diff beside the file systems that umoci unpacks: the same paths differ, and in the same way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.inside.comparing import DiffOptions, compare
from ocitool.inside.differences import Section, What
from ocitool.inside.image import Inside
from tests.interop.test_inside import insides, tars, unpacked_by_umoci
from tests.support.file_systems import Thing, Things, agree, things_inside
from tests.test_corpus import all_cases

pytestmark = pytest.mark.interop
FILES = DiffOptions(sections=[Section.FILES], ignored=[What.MTIME, What.XATTRS])


def first_common(thing: Thing, files: set[str]) -> str:
    return min((name for name in thing.names if name in files), key=lambda name: name.split("/"))


def differences(a: Things, b: Things) -> dict[str, set[str]]:
    """Return what differs at each path that both have, by what is on the disk."""
    files = {p for p in a.keys() & b.keys() if a[p].kind == b[p].kind == "file"}
    found = {}
    for path in a.keys() & b.keys():
        one, other = a[path], b[path]
        same_type = one.kind == other.kind
        names = path in files and first_common(one, files) != first_common(other, files)
        told = {
            "type": not same_type,
            "content": path in files and one.content != other.content,
            "mode": one.mode != other.mode and (not same_type or one.kind != "symlink"),
            "owner": one.owner != other.owner,
            "link": same_type and (one.target != other.target or names),
            "device": same_type and one.device != other.device,
        }
        found[path] = {word for word, differs in told.items() if differs}
    return {path: words for path, words in found.items() if words}


def test_neighbours_in_the_list_of_archives_differ_as_their_trees_do(
    tmp_path: Path, require: Callable[..., None]
) -> None:
    require("umoci")
    known: set[object] = set()
    before: tuple[Inside, Things] | None = None
    pairs = 0
    for case in all_cases():
        if case.owed != "load":
            continue
        for inside in insides(case, known):
            real = unpacked_by_umoci(tmp_path / f"{len(known)}", tars(inside), case.path.name)
            if real is None:
                continue
            mine = (inside, agree(things_inside(inside), real))
            if before is not None:
                check(before, mine)
                pairs += 1
            before = mine
    assert pairs > 5


def check(a: tuple[Inside, Things], b: tuple[Inside, Things]) -> None:
    found = compare(a[0], b[0], FILES).files
    assert found is not None
    one, other = a[1], b[1]
    assert {entry.path for entry in found.added} - {""} == other.keys() - one.keys()
    assert {entry.path for entry in found.removed} - {""} == one.keys() - other.keys()
    told = {change.path: {what.value for what in change.what} for change in found.changed}
    told.pop("", None)
    real = differences(one, other)
    # What no member tells has a mode and an owner on the disk, and none in the layers.
    common = one.keys() & other.keys()
    unknown = {path for path in common if None in (one[path].owner, other[path].owner)}
    for path in unknown:
        for words in (told, real):
            words[path] = words.get(path, set()) - {"mode", "owner"}
    assert {p: words for p, words in told.items() if words} == {
        p: words for p, words in real.items() if words
    }
