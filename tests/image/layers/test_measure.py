"""A layer in numbers, from one pass over its stored bytes."""

import gzip
import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.compression import Codec, CompressionLimits, Compressor
from ocitool.formats.tar import NotATar
from ocitool.image.layers import LayerMeasure, measure_layer, measure_plain_layer
from ocitool.oci import Descriptor, Digest
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


def measure(stored: bytes) -> LayerMeasure:
    return measure_layer(io.BytesIO(stored))


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
    layer = Descriptor(media_type=OCI_LAYER, digest=Digest.of(data), size=len(data))

    def read_at(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    assert measure_plain_layer(read_at, layer) == measure(data)
    assert measure_plain_layer(read_at, layer, most=3) == measure(data)
    assert measure_plain_layer(read_at, layer, most=2) is None


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
    assert (result.whiteouts, result.entries, result.file_bytes) == (2, 4, 20)


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
    limits = CompressionLimits(ratio_grace=1 << 20)
    with pytest.raises(LimitExceeded):
        measure_layer(io.BytesIO(zstd(bytes(8 << 20))), compression_limits=limits)


def test_the_stored_bytes_are_read_once_and_to_the_end() -> None:
    class Stored(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.reads += len(data)
            return data

    stored = gzip.compress(tar([member("a", 100_000)]))
    raw = Stored(stored)
    measure_layer(raw)
    assert raw.reads == len(stored)
    assert raw.read(1) == b""
