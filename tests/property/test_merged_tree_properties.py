"""Generated layers, merged and compared with the oracle that unpacking is compared with."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.image.layers import EntryKind
from ocitool.inside.content import read_member
from ocitool.inside.image import Inside
from ocitool.inside.table import FILE
from tests.property.test_extraction_properties import LAYERS, as_tar, meaning, sensible
from tests.support.examples import part_of
from tests.support.images import build_image
from tests.support.insides import looked_into
from tests.support.root_tree import Member, Seen

Layer = Sequence[Member]


def is_whiteout(member: Member) -> bool:
    return member.path.rpartition("/")[2].startswith(".wh.")


def whiteouts_first(layer: Layer) -> list[Member]:
    """Return a layer in the order that its members act in, as the specification has it."""
    return sorted(layer, key=lambda member: not is_whiteout(member))


def with_whiteouts(layer: Layer, places: Sequence[int]) -> list[Member]:
    """Return a layer with its whiteouts at these places among the others."""
    mixed = [member for member in layer if not is_whiteout(member)]
    hiding = list(filter(is_whiteout, layer))
    # Their own order stays: one may remove the link that another one's path leads through.
    wanted = sorted([*places, *[0] * len(hiding)][: len(hiding)])
    for count, (member, place) in enumerate(zip(hiding, wanted, strict=True)):
        mixed.insert(place + count, member)
    return mixed


def looked(layers: Sequence[Layer]) -> Inside:
    return looked_into(build_image([as_tar(layer) for layer in layers], compression="none"))


def seen(inside: Inside) -> Seen:
    """Return what is in the tree, as the oracle does."""
    names: dict[object, list[str]] = {}
    for node in inside.tree.walk():
        if node.kind is EntryKind.FILE:
            names.setdefault((node.layer, node.row), []).append(f"/{node.path}")
    found: Seen = {}
    for node in inside.tree.walk():
        if not node.path:
            continue
        if node.kind is EntryKind.DIRECTORY:
            time = None if node.row is None else int(node.mtime)
            found[f"/{node.path}"] = ("folder", node.mode, time)
        elif node.kind is EntryKind.SYMLINK:
            found[f"/{node.path}"] = ("link", node.link)
        else:
            assert node.row is not None
            text = b"".join(read_member(inside, node.layer, node.row)).decode()
            group = tuple(sorted(names[node.layer, node.row]))
            assert node.nlink == len(group)
            found[f"/{node.path}"] = ("file", text, node.mode, group)
    return found


def check_sums(inside: Inside) -> None:
    """All bytes are either in the tree, each file once, or hidden."""
    files = hidden = 0
    for record in inside.tree.records:
        for row, kind in enumerate(record.table.kinds):
            size = record.table.sizes[row] if kind == FILE else 0
            files += size
            hidden += size if record.fates[row] else 0
    live = {
        (node.layer, node.row): node.size
        for node in inside.tree.walk()
        if node.kind is EntryKind.FILE
    }
    assert files - hidden == sum(live.values())


def check(layers: Sequence[Layer], places: Sequence[int]) -> None:
    acting = sensible([whiteouts_first(layer) for layer in layers])
    inside = looked([with_whiteouts(layer, places) for layer in acting])
    assert seen(inside) == meaning(acting)
    check_sums(inside)


def check_nonsense(layers: Sequence[Layer]) -> None:
    inside = looked(layers)
    paths = [node.path for node in inside.tree.walk()]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert inside.tree.find(path, follow=False).path == path


PLACES = st.lists(st.integers(0, 9), max_size=10)


@settings(max_examples=part_of(75), deadline=None)
@given(LAYERS, PLACES)
def test_a_tree_is_what_a_process_in_it_would_have_made(
    layers: list[list[Member]], places: list[int]
) -> None:
    check(layers, places)


@settings(max_examples=part_of(50), deadline=None)
@given(LAYERS)
def test_nothing_that_layers_hold_stops_the_analysis(layers: list[list[Member]]) -> None:
    check_nonsense(layers)


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None)
@given(LAYERS, PLACES)
def test_twenty_thousand_trees_are(layers: list[list[Member]], places: list[int]) -> None:
    check(layers, places)
    check_nonsense(layers)
