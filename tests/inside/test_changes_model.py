"""What each layer adds, changes and deletes, against a plain comparison of all paths."""

import io
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocitool.formats.compression import Codec
from ocitool.formats.tar import StreamInput, TarReader
from ocitool.inside.changes import LayerChanges, changes_of
from ocitool.inside.hashes import Hashes
from ocitool.inside.members import TableBuilder
from ocitool.inside.table import LayerTable
from ocitool.inside.tree import MergedTree, Node
from tests.support.examples import part_of
from tests.support.root_files import Node as Member
from tests.support.root_files import folder, hard_link, layer_of, link
from tests.support.small_images import file, gone, opaque

PATHS = ("a", "b", "a/x", "a/y", "a/x/z", "b/x", "l", "l/x")
paths = st.sampled_from(PATHS)
members = st.one_of(
    st.builds(file, paths, st.sampled_from([0, 3, 4]), st.sampled_from(["u", "v"])),
    st.builds(lambda path, mode: file(path, 3, "u", mode=mode), paths, st.just(0o600)),
    st.builds(folder, paths, st.sampled_from([0o755, 0o700])),
    st.builds(link, paths, st.sampled_from(["a", "b/x", "nowhere", "."])),
    st.builds(hard_link, paths, paths),
    st.builds(gone, paths),
    st.builds(opaque, st.sampled_from(["", *PATHS])),
    st.builds(lambda path: Member(path=path, type=b"3", device=(1, 3)), paths),
)
layers = st.lists(st.lists(members, max_size=6), min_size=1, max_size=4)


def table_of(nodes: list[Member]) -> LayerTable:
    reader = TarReader(StreamInput(io.BytesIO(layer_of(*nodes)).read))
    return TableBuilder(Codec.NONE).read(reader, Hashes.ALL)


def seen(tree: MergedTree) -> Mapping[str, object]:
    """Return what can be seen at every path: all that makes a path another one."""
    return {node.path: look(tree, node) for node in tree.walk()}


def look(tree: MergedTree, node: Node) -> tuple[Any, ...]:
    digest = None
    if node.row is not None:
        digest = tree.records[node.layer - 1].table.digest(node.row)
    mode = node.mode if node.link is None else None
    owner = (node.uid, node.gid)
    return (node.kind, node.size, digest, mode, owner, node.link, node.device)


def compared(before: Mapping[str, object], after: Mapping[str, object]) -> LayerChanges:
    deleted = before.keys() - after.keys()
    return LayerChanges(
        added=len(after.keys() - before.keys()),
        changed=sum(before[path] != after[path] for path in before.keys() & after.keys()),
        deleted=len(deleted),
        deleted_roots=sum(path.rpartition("/")[0] not in deleted for path in deleted),
    )


@given(layers)
@settings(max_examples=part_of(60), deadline=None)
@example([[file("a/x", 3)], [gone("a"), file("a/x", 3)]])
@example([[folder("a", 0o700)], [gone("a"), file("a/x", 3)]])
@example([[file("a", 3)], [file("a/x", 3)]])
def test_the_numbers_are_those_of_a_comparison_of_all_paths(stack: list[list[Member]]) -> None:
    tree = MergedTree()
    before = seen(tree)
    for number, nodes in enumerate(stack, 1):
        record = tree.apply(number, table_of(nodes))
        after = seen(tree)
        assert changes_of(tree, record) == compared(before, after)
        before = after
