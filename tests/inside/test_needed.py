"""Finding one file without reading all layers: what is read, and what makes that impossible."""

from collections.abc import Sequence

import pytest

from ocitool.image.content import Root
from ocitool.inside.needed import look_for
from ocitool.inside.taking import read_file
from tests.support.images import BuiltImage
from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import file, gone, opaque, small_image
from tests.support.sources import MemorySource

BASE = (folder("etc"), file("etc/hosts", 5), folder("usr"), folder("usr/lib"), file("usr/lib/x", 6))


def found_in(*layers: Sequence[Node], path: str = "/etc/hosts") -> tuple[bytes, set[int]]:
    """Return the content of a file, and the numbers of the layers that were read."""
    image = small_image(*layers, codec="gzip")
    source = MemorySource(image)
    inside, real = look_for(source, Root(descriptor=image.descriptor), path)
    read = _numbers(image, source)
    return b"".join(read_file(inside, real)), read


def _numbers(image: BuiltImage, source: MemorySource) -> set[int]:
    return {n for n, layer in enumerate(image.layers, 1) if layer.digest in source.opened}


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocitool.inside.needed.processors", lambda: 1)


UPPER = [folder("etc"), file("etc/hosts", 7)]


def test_only_the_layer_that_has_the_file_is_read() -> None:
    assert found_in(BASE, UPPER) == (file("etc/hosts", 7).data, {2})
    assert found_in(BASE, [file("a", 1)], UPPER, [file("b", 1)]) == (UPPER[1].data, {3, 4})


def test_a_link_is_followed_where_its_folder_is_a_real_one() -> None:
    layer = [folder("etc"), link("etc/hosts", "../usr/lib/x"), folder("usr"), folder("usr/lib")]
    layer.append(file("usr/lib/x", 9))
    assert found_in(BASE, layer) == (layer[-1].data, {2})


def test_a_link_in_a_lower_layer_is_found_there() -> None:
    layers = [[*BASE, link("bin", "usr/lib")], [file("new", 1)]]
    assert found_in(*layers, path="bin/x") == (BASE[-1].data, {1, 2})


@pytest.mark.parametrize(
    "upper",
    [
        [file("etc/hosts", 7)],
        [file("etc/hosts", 7), folder("etc")],
        [gone("etc/hosts"), *UPPER],
        [opaque("etc"), *UPPER],
        [*UPPER, gone("other/etc")],
        [*UPPER, file("alias/hosts", 8)],
        [*UPPER, hard_link("etc/hosts", "usr/lib/x")],
        [*UPPER, file("x/hosts/y", 8)],
        [folder("etc"), link("etc", "usr"), file("etc/hosts", 7)],
    ],
    ids=lambda upper: " ".join(node.path for node in upper),
)
def test_where_it_is_not_certain_all_layers_are_read(upper: Sequence[Node]) -> None:
    content, read = found_in(BASE, upper)
    assert read == {1, 2}
    assert content


def test_the_image_as_a_layer_left_it() -> None:
    image = small_image(BASE, UPPER, [folder("etc"), file("etc/hosts", 8)], codec="gzip")
    source = MemorySource(image)
    inside, real = look_for(source, Root(descriptor=image.descriptor), "etc/hosts", up_to=2)
    assert b"".join(read_file(inside, real)) == UPPER[1].data
    assert _numbers(image, source) == {2}
