"""Compression against arbitrary content, arbitrary cuts and arbitrary bytes."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import MalformedArchive, OcitoolError
from ocitool.formats.compression import Codec, Compressor, DecompressingReader

CONTENT: Final = st.binary(max_size=3000) | st.tuples(
    st.binary(min_size=1, max_size=20), st.integers(0, 200_000)
).map(lambda pair: pair[0] * (pair[1] // len(pair[0])))


def ours(codec: Codec) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        compressor = Compressor(codec)
        return compressor.compress(data) + compressor.flush()

    return pack


COMPRESS: Final[dict[Codec, Callable[[bytes], bytes]]] = {
    Codec.GZIP: ours(Codec.GZIP),
    Codec.ZSTD: ours(Codec.ZSTD),
    Codec.BZIP2: bz2.compress,
    Codec.XZ: lzma.compress,
}
CODECS: Final = st.sampled_from(sorted(COMPRESS))


class Raw:
    """Stored bytes in reads of at most `size`."""

    def __init__(self, data: bytes, size: int) -> None:
        self.stream = io.BytesIO(data)
        self.size = size

    def read(self, size: int, /) -> bytes:
        return self.stream.read(min(size, self.size))


def expand(data: bytes, codec: Codec | None, raw_size: int, size: int) -> bytes:
    reader = DecompressingReader(Raw(data, raw_size), codec)
    return b"".join(iter(lambda: reader.read(size), b""))


@given(
    st.lists(CONTENT, min_size=1, max_size=4), CODECS, st.integers(1, 9000), st.integers(50, 9000)
)
def test_what_was_compressed_comes_back_in_reads_of_any_size(
    contents: list[bytes], codec: Codec, raw_size: int, size: int
) -> None:
    stored = b"".join(map(COMPRESS[codec], contents))
    assert expand(stored, None, raw_size, size) == b"".join(contents)


@given(st.lists(CONTENT, max_size=5), st.sampled_from([Codec.GZIP, Codec.ZSTD]))
def test_compression_depends_on_the_content_alone(pieces: list[bytes], codec: Codec) -> None:
    compressor = Compressor(codec)
    cut = b"".join(map(compressor.compress, pieces)) + compressor.flush()
    assert cut == COMPRESS[codec](b"".join(pieces))


@given(CONTENT, CODECS, st.data(), st.integers(1, 9000))
def test_a_stream_cut_anywhere_is_refused(
    content: bytes, codec: Codec, data: st.DataObject, raw_size: int
) -> None:
    stored = COMPRESS[codec](content)
    cut = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(MalformedArchive):
        expand(stored[:cut], codec, raw_size, 5000)


@given(CONTENT, CODECS, st.data())
def test_a_changed_byte_gives_the_same_content_or_one_of_our_errors(
    content: bytes, codec: Codec, data: st.DataObject
) -> None:
    stored = bytearray(COMPRESS[codec](content))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert expand(bytes(stored), codec, 1 << 20, 1 << 20) == content
    except OcitoolError:
        return


@given(st.binary(max_size=500), st.sampled_from([None, *sorted(COMPRESS)]), st.integers(1, 100))
def test_arbitrary_bytes_give_content_or_one_of_our_errors(
    stored: bytes, codec: Codec | None, size: int
) -> None:
    for data in (stored, gzip.compress(b"x") + stored, b"\x28\xb5\x2f\xfd" + stored):
        try:
            expand(data, codec, size, size)
        except OcitoolError:
            continue
