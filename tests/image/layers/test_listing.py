"""A layer's entries can be listed, and are proved by the layer's digest."""

import pytest

from ocitool.errors import DigestMismatch
from ocitool.image.layers import EntryKind, list_layer
from tests.support.images import Compression, Content, HardLink, Symlink, build_image, whiteout
from tests.support.sources import MemorySource

MEMBERS: dict[str, Content] = {
    "bin/": b"",
    "bin/tool": b"12345",
    "bin/alias": Symlink("tool"),
    "bin/same": HardLink("bin/tool"),
    whiteout("etc/old"): b"",
    "var/.wh..wh..opq": b"",
}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_every_entry_is_listed_with_what_it_is(compression: Compression) -> None:
    image = build_image([MEMBERS], compression=compression)
    found = list(list_layer(MemorySource(image), image.layers[0]))
    assert [(entry.path, entry.kind, entry.size, entry.target) for entry in found] == [
        ("bin", EntryKind.DIRECTORY, 0, None),
        ("bin/tool", EntryKind.FILE, 5, None),
        ("bin/alias", EntryKind.SYMLINK, 0, "tool"),
        ("bin/same", EntryKind.HARD_LINK, 0, "bin/tool"),
        ("etc/old", EntryKind.WHITEOUT, 0, None),
        ("var", EntryKind.OPAQUE, 0, None),
    ]


def test_a_layer_with_other_content_is_not_listed_to_its_end() -> None:
    image = build_image([MEMBERS], compression="none")
    source = MemorySource(image)
    layer = image.layers[0]
    source.blobs[layer.digest] = source.blobs[layer.digest].replace(b"12345", b"54321")
    with pytest.raises(DigestMismatch):
        list(list_layer(source, layer))
