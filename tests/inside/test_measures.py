"""A layer in numbers, from one pass over its stored bytes."""

import gzip
import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.compression import Codec, Compressor
from ocitool.formats.tar import NotATar
from ocitool.image.content import Blob, ReadAt
from ocitool.inside.measures import LayerMeasure
from ocitool.inside.members import TooManyMembers
from ocitool.inside.scanning import Unreadable, scan_layers, table_of_headers
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Limits
from ocitool.oci.mediatype import OCI_LAYER


def member(name: str, size: int = 0, type_: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = type_
    return info


def tar(members: Iterable[tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    return buffer.getvalue()


def zstd(data: bytes) -> bytes:
    compressor = Compressor(Codec.ZSTD)
    return compressor.compress(data) + compressor.flush()


class Memory:
    """A layer in memory that can only be read from its beginning."""

    def __init__(self, stored: bytes) -> None:
        self.stored = stored
        self.layer = Descriptor(media_type=OCI_LAYER, digest=Digest.of(stored), size=len(stored))
        self.bytes_read = 0

    def open(self, descriptor: Descriptor) -> Blob:
        raw = io.BytesIO(self.stored)

        def read(size: int) -> bytes:
            data = raw.read(size)
            self.bytes_read += len(data)
            return data

        return Blob(descriptor, read, where="the layer")


class PositionedMemory(Memory):
    """A layer in memory that can be read at any offset."""

    def positioned(self, _: Descriptor) -> AbstractContextManager[ReadAt]:
        return nullcontext(lambda offset, size: self.stored[offset : offset + size])


def measure(stored: bytes, limits: Limits = DEFAULT_LIMITS) -> LayerMeasure:
    return measured(Memory(stored), limits)


def measured(source: Memory, limits: Limits = DEFAULT_LIMITS) -> LayerMeasure:
    """Return the numbers of the one layer of a source, or raise what is wrong with it."""
    (table,) = scan_layers(source, [source.layer], limits=limits, diff_ids=True).values()
    if isinstance(table, Unreadable):
        raise table.error or AssertionError(table.kind)
    assert table.verified
    return LayerMeasure.of(source.layer, table)


@pytest.mark.parametrize(
    ("codec", "pack"),
    [
        (Codec.NONE, bytes),
        (Codec.GZIP, gzip.compress),
        (Codec.XZ, lzma.compress),
        (Codec.ZSTD, zstd),
    ],
)
def test_a_layer_measures_the_same_in_every_codec(
    codec: Codec, pack: Callable[[bytes], bytes]
) -> None:
    content = tar([member("a", 3_000_000), member("d/", type_=tarfile.DIRTYPE), member("d/b", 5)])
    stored = pack(content)
    assert measure(stored) == LayerMeasure(
        codec=codec,
        stored_size=len(stored),
        tar_size=len(content),
        diff_id=f"sha256:{hashlib.sha256(content).hexdigest()}",
        file_bytes=3_000_005,
        entries=3,
        whiteouts=0,
        sparse_files=0,
    )


@pytest.mark.parametrize("size", [0, 512, 1024, 10240])
def test_an_empty_layer_of_any_length_has_no_members(size: int) -> None:
    result = measure(bytes(size))
    assert (result.entries, result.file_bytes, result.tar_size) == (0, 0, size)
    assert result.diff_id == f"sha256:{hashlib.sha256(bytes(size)).hexdigest()}"


def test_bytes_after_the_end_of_the_tar_belong_to_its_digest() -> None:
    content = tar([member("a", 5)]) + b"trailing" * 300_000
    assert measure(gzip.compress(content)).diff_id.endswith(hashlib.sha256(content).hexdigest())


def test_headers_alone_give_the_same_numbers_as_all_bytes() -> None:
    data = tar([member("a", 5), member("b/", 0, tarfile.DIRTYPE), member("a", 900)]) + b"\0" * 99
    source = PositionedMemory(data)
    table = table_of_headers(source, source.layer, most=3)
    assert table is not None
    assert not table.verified
    assert LayerMeasure.of(source.layer, table) == measure(data)
    assert source.bytes_read == 0
    with pytest.raises(TooManyMembers):
        table_of_headers(source, source.layer, most=2)


def test_a_compressed_layer_has_no_headers_to_look_at() -> None:
    source = PositionedMemory(gzip.compress(tar([member("a", 5)])))
    assert table_of_headers(source, source.layer) is None


def test_hard_links_count_once() -> None:
    link = member("b", type_=tarfile.LNKTYPE)
    link.linkname = "a"
    assert measure(tar([member("a", 100), link])).file_bytes == 100


@pytest.mark.parametrize("again", ["a/b", "./a/b", "/a/b"])
def test_a_path_that_occurs_twice_counts_as_its_last_occurrence(again: str) -> None:
    result = measure(tar([member("a/b", 100), member("c", 1), member(again, 30), member(again, 7)]))
    assert (result.file_bytes, result.entries) == (8, 4)


def test_a_file_that_a_directory_replaces_no_longer_counts() -> None:
    assert measure(tar([member("a", 9), member("a/", type_=tarfile.DIRTYPE)])).file_bytes == 0


def test_whiteouts_are_counted_and_are_no_files() -> None:
    names = ["d/.wh.gone", "d/.wh..wh..opq", ".wh..wh.plnk", "d/kept"]
    result = measure(tar(member(name, 10) for name in names))
    # What aufs kept for itself means nothing in an image.
    assert (result.whiteouts, result.entries, result.file_bytes) == (2, 4, 10)


def test_sparse_files_are_flagged_and_count_with_their_logical_size(tmp_path: Path) -> None:
    content = tar([member("s", 512)])
    block = bytearray(content[:512])
    block[156:157] = b"S"
    block[257:265] = b"ustar  \0"
    block[345:483] = bytes(138)
    block[483:495] = b"%011o\0" % 70_000
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    result = measure(bytes(block) + content[512:])
    assert (result.sparse_files, result.file_bytes) == (1, 70_000)


def test_a_cut_gzip_trailer_is_noticed() -> None:
    with pytest.raises(MalformedArchive, match="middle"):
        measure(gzip.compress(tar([member("a", 5)]))[:-2])


def test_a_wrong_gzip_checksum_after_the_end_of_the_tar_is_noticed() -> None:
    stored = bytearray(gzip.compress(tar([member("a", 5)])))
    stored[-6] ^= 1
    with pytest.raises(MalformedArchive, match="gzip"):
        measure(bytes(stored))


def test_a_layer_that_is_no_tar_is_told_apart() -> None:
    with pytest.raises(NotATar):
        measure(gzip.compress(b"{}" * 1000))


def test_a_bomb_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        measure(zstd(bytes(8 << 20)), Limits(ratio_floor=1 << 20))


def test_the_stored_bytes_are_read_once_and_to_the_end() -> None:
    source = Memory(gzip.compress(tar([member("a", 100_000)])))
    measured(source)
    assert source.bytes_read == len(source.stored)
