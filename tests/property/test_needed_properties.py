"""One file, found by reading only the layers that are needed, is what all of them make of it."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.errors import NotFound, OcitoolError, UsageError
from ocitool.image.content import Root
from ocitool.image.layers import layer_path
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.needed import look_for
from ocitool.inside.taking import read_file
from tests.property.test_extraction_properties import LAYERS, as_tar
from tests.support.examples import part_of
from tests.support.images import build_image
from tests.support.root_tree import Member
from tests.support.sources import MemorySource

Layer = Sequence[Member]
NAMES = ("a", "b", "c")
PATHS = ["/".join(parts) for count in (1, 2, 3) for parts in itertools.product(NAMES, repeat=count)]


def with_folders(layer: Layer, chance: random.Random) -> list[Member]:
    """Return a layer with a member for most folders that it needs, as builders write them."""
    found: list[Member] = []
    seen: set[str] = set()
    for member in layer:
        parts = layer_path(member.path).split("/")[:-1]
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            if path not in seen and chance.random() < 0.9:
                found.append(Member(path=path, kind="folder"))
                seen.add(path)
        found.append(member)
    return found


def answer(inside: Inside, path: str) -> object:
    try:
        return b"".join(read_file(inside, path))
    except (NotFound, UsageError) as error:
        return type(error)
    except OcitoolError:
        return "unreadable"


def check(layers: Sequence[Layer]) -> int:
    """Compare all paths; return how often one layer was enough."""
    image = build_image([as_tar(layer) for layer in layers], compression="gzip")
    source, root = MemorySource(image), Root(descriptor=image.descriptor)
    whole = look_inside(source, root)
    certain = 0
    for path in PATHS:
        inside, real = look_for(source, root, path)
        assert answer(inside, real) == answer(whole, path), path
        certain += sum(layer.table is not None for layer in inside.layers) == 1 < len(layers)
    return certain


@settings(max_examples=part_of(25), deadline=None)
@given(LAYERS, st.randoms(use_true_random=False))
def test_any_layers_give_the_same_answers(
    layers: list[list[Member]], chance: random.Random
) -> None:
    check([with_folders(layer, chance) for layer in layers])


def test_layers_are_spared_where_that_is_certain() -> None:
    layers = [
        [folder("a"), file("a/b", "1"), file("c", "2")],
        [folder("a"), file("a/c", "3")],
        [file("b", "4")],
    ]
    # Of four files each is certain by its own layer; what is not there needs all of them.
    assert check(layers) == 4


def folder(path: str) -> Member:
    return Member(path=path, kind="folder")


def file(path: str, text: str) -> Member:
    return Member(path=path, kind="file", text=text)


@pytest.mark.soak
@settings(max_examples=2_000, deadline=None)
@given(LAYERS, st.randoms(use_true_random=False))
def test_two_thousand_images(layers: list[list[Member]], chance: random.Random) -> None:
    check([with_folders(layer, chance) for layer in layers])
