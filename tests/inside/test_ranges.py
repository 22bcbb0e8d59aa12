"""Layers that carry a table of contents: read by ranges, verified, and whole where that fails."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import DigestMismatch, MalformedDocument, OcitoolError
from ocitool.image.content import NoRanges, Root
from ocitool.images.opening import open_source
from ocitool.inside.content import read_member
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.ranges.tables import ChunkedTable
from ocitool.inside.ranges.toc import parse_toc
from ocitool.inside.taking import read_file, take_tar
from ocitool.oci import Descriptor
from tests.inside.test_tars_of_trees import members
from tests.support.chunked_layers import (
    FORMS,
    ChunkedLayer,
    Form,
    chunked_image,
    chunked_layer,
    estargz,
    zstd_chunked,
)
from tests.support.command import FIXTURES
from tests.support.images import BuiltImage
from tests.support.root_files import Node, folder, hard_link, layer_of, link
from tests.support.small_images import file, gone, opaque, small_image
from tests.support.sources import MemorySource

NODES = (
    folder("etc", 0o700, owner=(5, 6)),
    file("etc/small", 30),
    file("etc/big", 200_000),
    file("etc/empty", 0),
    link("etc/link", "small"),
    hard_link("etc/same", "etc/big"),
    Node(path="etc/null", type=b"3", device=(1, 3)),
    Node(path="etc/pipe", type=b"6"),
    file("etc/set", 3, mode=0o4755, attributes={"user.a": "b"}),
)


class RangedSource(MemorySource):
    """A source that sends parts of blobs, and counts them."""

    def __init__(self, *built: BuiltImage, sends_parts: bool = True) -> None:
        super().__init__(*built)
        self.sends_parts = sends_parts
        self.ranges_sent: list[tuple[int, int]] = []

    @property
    def bytes_sent(self) -> int:
        """The bytes of all ranges so far."""
        return sum(end - start for start, end in self.ranges_sent)

    def ranges(self, descriptor: Descriptor) -> Any:
        def open_range(start: int, end: int | None) -> "_Range":
            if not self.sends_parts:
                raise NoRanges
            assert end is not None
            self.ranges_sent.append((start, end))
            return _Range(self.blobs[descriptor.digest][start:end])

        return open_range


class _Range:
    supports_ranges = True

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def read(self, size: int) -> memoryview:
        part, self._data = self._data[:size], self._data[size:]
        return part

    def close(self) -> None:
        pass


def looked(source: MemorySource, image: BuiltImage, **options: Any) -> Inside:
    return look_inside(source, Root(descriptor=image.descriptor), ranges=True, **options)


def content(inside: Inside, path: str) -> bytes:
    return b"".join(read_file(inside, path))


@pytest.mark.parametrize("form", FORMS)
class TestBothForms:
    def test_the_tree_is_that_of_the_whole_layers(self, form: Form) -> None:
        layers = [
            chunked_layer(form, NODES),
            chunked_layer(form, [gone("etc/small"), file("b", 9)]),
        ]
        image = chunked_image(*layers)
        by_ranges = looked(RangedSource(image), image)
        whole = look_inside(MemorySource(image), Root(descriptor=image.descriptor))
        assert isinstance(by_ranges.table(1), ChunkedTable)
        assert not isinstance(whole.table(1), ChunkedTable)
        fields = "path kind size mode uid gid mtime link device xattrs layer nlink"
        trees = [
            [[getattr(node, name) for name in fields.split(" ")] for node in inside.tree.walk()]
            for inside in (by_ranges, whole)
        ]
        assert trees[0] == trees[1]

    def test_one_file_is_fetched_and_no_more(self, form: Form) -> None:
        layer = chunked_layer(form, NODES)
        image = chunked_image(layer)
        source = RangedSource(image)
        inside = looked(source, image)
        start, end = layer.table
        assert source.bytes_sent <= end - start + 51
        assert source.opened.count(image.layers[0].digest) == 0
        before = len(source.ranges_sent)
        assert content(inside, "/etc/link") == file("etc/small", 30).data
        assert len(source.ranges_sent) == before + 1
        assert content(inside, "etc/same") == file("etc/big", 200_000).data
        assert content(inside, "etc/empty") == b""
        assert source.opened.count(image.layers[0].digest) == 0

    def test_digests_are_known_without_reading(self, form: Form) -> None:
        image = chunked_image(chunked_layer(form, NODES))
        table = looked(RangedSource(image), image).table(1)
        assert isinstance(table, ChunkedTable)
        assert table.is_hashed
        for row, node in enumerate(NODES):
            if node.type == b"0":
                assert table.digest(row) == hashlib.sha256(node.data).digest()

    def test_a_folder_is_copied_from_its_chunks(self, form: Form) -> None:
        image = chunked_image(chunked_layer(form, NODES))
        found = members(b"".join(take_tar(looked(RangedSource(image), image), "/etc")))
        assert found == members(layer_of(*NODES))

    def test_a_changed_chunk_is_an_error(self, form: Form) -> None:
        layer = chunked_layer(form, NODES)
        image = chunked_image(layer)
        source = RangedSource(image)
        other = chunked_layer(form, [*NODES[:1], file("etc/small", 30, "other"), *NODES[2:]])
        inside = looked(source, image)
        digest = image.layers[0].digest
        size = len(layer.blob)
        source.blobs[digest] = (other.blob + bytes(size))[:size]
        with pytest.raises(OcitoolError) as caught:
            content(inside, "etc/small")
        assert caught.type.__name__ in ("DigestMismatch", "MalformedArchive")

    def test_a_table_that_the_manifest_does_not_promise_is_refused(self, form: Form) -> None:
        layer = chunked_layer(form, NODES)
        other = chunked_layer(form, [*NODES[:1], file("etc/small", 30, "other"), *NODES[2:]])
        layer.annotations.update(
            {key: value for key, value in other.annotations.items() if "position" not in key}
        )
        image = chunked_image(layer)
        with pytest.raises(DigestMismatch, match="the manifest promises"):
            looked(RangedSource(image), image)

    def test_without_a_promise_or_ranges_the_layer_is_read(self, form: Form) -> None:
        layer = chunked_layer(form, NODES)
        image = chunked_image(layer, annotated=False)
        source = RangedSource(image)
        assert content(looked(source, image), "etc/small") == file("etc/small", 30).data
        assert source.ranges_sent == []
        image = chunked_image(layer)
        source = RangedSource(image, sends_parts=False)
        assert content(looked(source, image), "etc/small") == file("etc/small", 30).data
        assert source.opened.count(image.layers[0].digest) == 2

    def test_a_place_that_has_no_ranges_is_read_whole(self, form: Form) -> None:
        image = chunked_image(chunked_layer(form, NODES))
        inside = looked(MemorySource(image), image)
        assert content(inside, "etc/small") == file("etc/small", 30).data

    def test_opaque_folders_and_whiteouts_count(self, form: Form) -> None:
        layers = [chunked_layer(form, NODES), chunked_layer(form, [opaque("etc"), file("c", 1)])]
        image = chunked_image(*layers)
        inside = looked(RangedSource(image), image)
        assert next(node.path for node in inside.tree.walk() if node.kind != "directory") == "c"
        assert list(inside.tree.children("etc")) == []


class TestMadeByOthers:
    """Layers of the real tools: every file by ranges is what it is in the whole layer."""

    @pytest.mark.parametrize("name", ["estargz015.tar", "podman43-zstd-chunked.tar"])
    def test_every_file_by_ranges(self, name: str) -> None:
        with open_source(str(FIXTURES / name)) as opened:
            whole = look_inside(opened.source, opened.root)
            source = RangedSource()
            for descriptor in (
                opened.root.descriptor,
                *whole.manifest.layers,
                whole.manifest.config,
            ):
                with opened.source.open(descriptor) as blob:
                    source.blobs[descriptor.digest] = blob.read_all(1 << 20)
            by_ranges = look_inside(source, opened.root, ranges=True)
            table = by_ranges.table(1)
            assert isinstance(table, ChunkedTable)
            assert source.opened.count(whole.manifest.layers[0].digest) == 0
            files = [node.path for node in whole.tree.walk() if node.kind == "file"]
            assert {"big", "etc/small", "etc/same", "etc/set", "etc/é"} <= set(files)
            for path in files:
                assert content(by_ranges, path) == content(whole, path)
                found, expected = by_ranges.tree.find(path), whole.tree.find(path)
                assert (found.mode, found.mtime) == (expected.mode, expected.mtime)
                assert found.xattrs == expected.xattrs
            assert len(list(by_ranges.tree.walk())) == len(list(whole.tree.walk()))
            # Fetched in several chunks, or with what is one chunk of many.
            big = by_ranges.tree.find("big").row
            assert big is not None
            assert len(table.chunks[big]) > 1


Change = Callable[[list[dict[str, Any]]], None]
WRONG: dict[str, Change] = {
    "a chunk stands alone": lambda entries: entries[1].update(type="chunk"),
    "a size below zero": lambda entries: entries[1].update(size=-1),
    "chunks that lack bytes": lambda entries: entries[2].update(size=300_000),
    "chunks in another order": lambda entries: entries.insert(3, entries.pop(4)),
    "chunks of another file": lambda entries: entries[3].update(name="etc/other"),
    "a chunk without a digest": lambda entries: entries[3].pop("chunkDigest"),
    "a digest that is none": lambda entries: entries[3].update(chunkDigest="sha256:x"),
    "a chunk outside of the layer": lambda entries: entries[1].update(offset=1 << 40),
    "a chunk before the layer": lambda entries: entries[1].update(offset=-1),
    "bytes passed over below zero": lambda entries: entries[1].update(innerOffset=-1),
}


class TestWrongTables:
    @pytest.mark.parametrize("make", [estargz, zstd_chunked])
    @pytest.mark.parametrize("wrong", WRONG)
    def test_they_are_refused(self, make: Callable[..., ChunkedLayer], wrong: str) -> None:
        image = chunked_image(make(NODES, change=WRONG[wrong]))
        with pytest.raises(MalformedDocument):
            looked(RangedSource(image), image)

    def test_names_that_json_lost_make_the_layer_be_read(self) -> None:
        image = chunked_image(
            estargz(NODES, change=lambda entries: entries[1].update(name="etc/\ufffd"))
        )
        inside = looked(RangedSource(image), image)
        assert not isinstance(inside.table(1), ChunkedTable)
        assert content(inside, "etc/small") == file("etc/small", 30).data

    @pytest.mark.parametrize("position", ["", "1:2:3:2", "a:b:c:1", "1:2:3"])
    def test_a_position_of_another_form_makes_it_be_read(self, position: str) -> None:
        layer = zstd_chunked(NODES)
        layer.annotations["io.github.containers.zstd-chunked.manifest-position"] = position
        image = chunked_image(layer)
        assert content(looked(RangedSource(image), image), "etc/small")

    @pytest.mark.parametrize("position", ["0:5:5:1", "5:99999999:5:1", "5:0:5:1"])
    def test_a_position_outside_of_the_layer(self, position: str) -> None:
        layer = zstd_chunked(NODES)
        layer.annotations["io.github.containers.zstd-chunked.manifest-position"] = position
        image = chunked_image(layer)
        with pytest.raises(MalformedDocument, match="outside"):
            looked(RangedSource(image), image)

    def test_a_footer_that_is_not_there_makes_it_be_read(self) -> None:
        layer = estargz(NODES)
        plain = small_image(NODES, codec="gzip")
        image = chunked_image(
            ChunkedLayer(
                blob=plain.blobs[plain.layers[0].digest],
                tar=layer.tar,
                annotations=layer.annotations,
                table=(0, 0),
                media_type=layer.media_type,
            )
        )
        inside = looked(RangedSource(image), image)
        assert not isinstance(inside.table(1), ChunkedTable)

    @pytest.mark.parametrize("value", [1 << 70, "a", [[]], None, -1])
    def test_values_of_another_kind(self, value: object) -> None:
        image = chunked_image(estargz(NODES, change=lambda entries: entries[1].update(size=value)))
        with pytest.raises(MalformedDocument):
            looked(RangedSource(image), image)

    def test_json_that_is_too_deep(self) -> None:
        deep = b"[" * 200_000 + b"]" * 200_000
        raw = b'{"entries":[{"name":"a","type":"reg","x":' + deep + b"}]}"
        with pytest.raises(MalformedDocument, match="cannot be read"):
            parse_toc(raw, "the table", end=1)

    def test_a_hole_is_zeros(self) -> None:
        def hole(entries: list[dict[str, Any]]) -> None:
            entries[2].update(chunkType="zeros")
            # The digest of the whole is checked as well, where files are read to their end.
            entries[2].pop("digest")

        image = chunked_image(zstd_chunked(NODES, change=hole))
        inside = looked(RangedSource(image), image)
        node = inside.tree.find("etc/big")
        assert node.row is not None
        found = b"".join(read_member(inside, 1, node.row))
        assert found == bytes(1 << 16) + file("etc/big", 200_000).data[1 << 16 :]

    @given(st.data())
    def test_any_change_of_a_table_is_an_error_or_harmless(self, data: st.DataObject) -> None:
        key = data.draw(
            st.sampled_from(["offset", "endOffset", "size", "chunkSize", "name", "type"])
        )
        value = data.draw(st.one_of(st.integers(-2, 1 << 70), st.text(max_size=3), st.none()))
        number = data.draw(st.integers(0, len(NODES)))

        def change(entries: list[dict[str, Any]]) -> None:
            entries[number][key] = value

        image = chunked_image(zstd_chunked(NODES, change=change))
        try:
            inside = looked(RangedSource(image), image)
            for node in inside.tree.walk():
                if node.kind == "file" and node.row is not None and node.size < 1 << 20:
                    b"".join(read_member(inside, 1, node.row))
        except OcitoolError:
            pass
