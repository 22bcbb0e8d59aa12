"""Codecs: every form their tools write is read to the end; damage, cuts and bombs are refused."""

import bz2
import gzip
import io
import lzma
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import Final

import pytest

from ocitool.errors import LimitExceeded, MalformedArchive, UsageError
from ocitool.formats.compression import (
    COMPRESSION_BLOCK,
    Codec,
    CompressionLimits,
    Compressor,
    DecompressingReader,
    sniff,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT: Final = b"".join(b"line %d of a text\n" % number for number in range(5000))
SKIPPABLE: Final = struct.pack("<II", 0x184D2A53, 5) + b"index"

COMPRESS: Final[dict[Codec, Callable[[bytes], bytes]]] = {
    Codec.GZIP: lambda data: gzip.compress(data, mtime=0),
    Codec.BZIP2: bz2.compress,
    Codec.XZ: lzma.compress,
    Codec.ZSTD: lambda data: whole(Codec.ZSTD, data),
}


def whole(codec: Codec, data: bytes, level: int | None = None) -> bytes:
    compressor = Compressor(codec, level)
    return compressor.compress(data) + compressor.flush()


class Raw:
    """Stored bytes, in reads of at most `size`, that know when their end was seen."""

    def __init__(self, data: bytes, size: int = 1 << 30) -> None:
        self.stream = io.BytesIO(data)
        self.size = size
        self.ended = False

    def read(self, size: int, /) -> bytes:
        data = self.stream.read(min(size, self.size))
        self.ended = not data
        return data


def expand(data: bytes, codec: Codec | None = None, *, size: int = 1 << 20) -> bytes:
    reader = DecompressingReader(Raw(data), codec)
    pieces = []
    while piece := reader.read(size):
        assert len(piece) <= size
        pieces.append(piece)
    assert reader.read(size) == b""
    return b"".join(pieces)


def gzip_member(flags: int, data: bytes) -> bytes:
    """Build a gzip member with the optional header fields that `flags` asks for."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    head += b"\x04\0xtra" if flags & 4 else b""
    head += b"name\0" if flags & 8 else b""
    head += b"comment\0" if flags & 16 else b""
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF) if flags & 2 else b""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_codec_is_told_from_the_first_bytes(codec: Codec) -> None:
    assert sniff(COMPRESS[codec](TEXT)) is codec
    assert DecompressingReader(Raw(COMPRESS[codec](TEXT), 1)).codec is codec


@pytest.mark.parametrize("codec", COMPRESS)
def test_compressed_nothing_is_told_and_read(codec: Codec) -> None:
    assert sniff(COMPRESS[codec](b"")) is codec
    assert expand(COMPRESS[codec](b"")) == b""


@pytest.mark.parametrize("number", range(16))
def test_a_stream_may_begin_with_a_skippable_zstd_frame(number: int) -> None:
    frame = struct.pack("<II", 0x184D2A50 + number, 3) + b"abc"
    assert sniff(frame) is Codec.ZSTD
    assert expand(frame + COMPRESS[Codec.ZSTD](TEXT)) == TEXT


@pytest.mark.parametrize("head", [b"", b"B", b"BZh9 is a name", b"\x1f\x8b", b"{}", bytes(512)])
def test_other_bytes_are_not_compressed(head: bytes) -> None:
    assert sniff(head) is Codec.NONE
    assert expand(head) == head


@pytest.mark.parametrize("codec", COMPRESS)
def test_all_members_of_a_stream_are_read(codec: Codec) -> None:
    pack = COMPRESS[codec]
    assert expand(pack(TEXT) + pack(b"") + pack(b"more"), size=1000) == TEXT + b"more"


def test_skippable_frames_between_and_after_zstd_frames_are_passed_over() -> None:
    frame = COMPRESS[Codec.ZSTD](TEXT)
    assert expand(frame + SKIPPABLE + frame + SKIPPABLE * 2) == TEXT * 2


@pytest.mark.parametrize("flags", range(0, 32, 2))
@pytest.mark.parametrize("size", [1, 3, 11, 1000])
def test_gzip_header_fields_may_be_split_anywhere(flags: int, size: int) -> None:
    stored = gzip_member(flags, b"first") + gzip_member(flags, b"second")
    reader = DecompressingReader(Raw(stored, size), Codec.GZIP)
    assert b"".join(iter(lambda: reader.read(4), b"")) == b"firstsecond"


def test_a_gzip_header_with_a_wrong_checksum_is_refused() -> None:
    member = bytearray(gzip_member(2 | 8, b"data"))
    member[11] ^= 1
    with pytest.raises(MalformedArchive, match="header"):
        expand(bytes(member))


def test_a_gzip_header_with_reserved_flags_is_refused() -> None:
    member = bytearray(gzip_member(0, b"data"))
    member[3] |= 0x40
    with pytest.raises(MalformedArchive, match="reserved"):
        expand(bytes(member))


def test_an_endless_gzip_name_is_refused() -> None:
    with pytest.raises(LimitExceeded):
        expand(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (3 << 20))


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_stream_cut_anywhere_is_refused(codec: Codec) -> None:
    stored = COMPRESS[codec](b"some content to compress" * 4)
    for cut in range(len(stored)):
        with pytest.raises(MalformedArchive, match="ends in the middle"):
            expand(stored[:cut], codec)


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_second_member_cut_anywhere_is_refused(codec: Codec) -> None:
    stored = COMPRESS[codec](b"content")
    for cut in range(1, len(stored)):
        with pytest.raises(MalformedArchive):
            expand(stored + stored[:cut], codec)


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.BZIP2, Codec.ZSTD])
def test_a_changed_checksum_is_refused(codec: Codec) -> None:
    stored = bytearray(COMPRESS[codec](TEXT))
    stored[-3] ^= 0x10
    with pytest.raises(MalformedArchive, match=f"damaged {codec} data"):
        expand(bytes(stored))


def test_every_byte_of_a_gzip_trailer_is_verified() -> None:
    for at in range(-8, 0):
        stored = bytearray(COMPRESS[Codec.GZIP](TEXT))
        stored[at] ^= 1
        with pytest.raises(MalformedArchive):
            expand(bytes(stored))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.XZ])
@pytest.mark.parametrize("count", [4, 512, 3 << 20])
def test_nul_padding_is_passed_over(codec: Codec, count: int) -> None:
    stored = COMPRESS[codec](TEXT)
    assert expand(stored + bytes(count)) == TEXT
    assert expand(stored + bytes(count) + stored) == TEXT * 2


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("junk", [b"x", b"junk" * 10, b"\0\0\0\0junk"])
def test_other_data_after_the_end_is_refused(codec: Codec, junk: bytes) -> None:
    with pytest.raises(MalformedArchive, match="other data follows"):
        expand(COMPRESS[codec](TEXT) + junk)


@pytest.mark.parametrize("codec", COMPRESS)
def test_data_of_another_codec_is_refused(codec: Codec) -> None:
    with pytest.raises(MalformedArchive, match=f"not {codec} data"):
        expand(b"plain text, long enough", codec)


@pytest.mark.parametrize("codec", [*COMPRESS, Codec.NONE])
def test_the_raw_stream_is_read_to_its_end(codec: Codec) -> None:
    raw = Raw(COMPRESS[codec](TEXT) if codec in COMPRESS else TEXT)
    reader = DecompressingReader(raw)
    assert reader.drain() == len(TEXT)
    assert raw.ended
    assert (reader.bytes_in, reader.bytes_out) == (raw.stream.tell(), len(TEXT))


def test_an_error_of_the_raw_stream_comes_through() -> None:
    class Failing:
        def read(self, size: int, /) -> bytes:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        DecompressingReader(Failing(), Codec.BZIP2).read(1)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    limits = CompressionLimits(ratio=1100, ratio_grace=4 << 20)
    bomb = whole(Codec.ZSTD, bytes(64 << 20))
    reader = DecompressingReader(Raw(bomb), limits=limits)
    with pytest.raises(LimitExceeded, match="bomb"):
        reader.drain()
    assert reader.bytes_out < 8 << 20


def test_the_best_that_gzip_can_do_is_no_bomb() -> None:
    limits = CompressionLimits(ratio=1100, ratio_grace=1 << 20)
    stored = gzip.compress(bytes(32 << 20), 9)
    assert DecompressingReader(Raw(stored), limits=limits).drain() == 32 << 20


def test_a_zstd_window_above_the_limit_is_refused() -> None:
    window = {zstd.CompressionParameter.window_log: 28}
    compressor = zstd.ZstdCompressor(options={int(key): value for key, value in window.items()})
    stored = compressor.compress(TEXT) + compressor.flush()
    with pytest.raises(LimitExceeded, match="memory"):
        expand(stored)


def test_xz_memory_above_the_limit_is_refused() -> None:
    limits = CompressionLimits(xz_memory=1 << 20)
    with pytest.raises(LimitExceeded, match="memory"):
        DecompressingReader(Raw(lzma.compress(TEXT, preset=9)), limits=limits).read(1)


def test_tiny_members_in_one_chunk_cost_no_more_than_in_many() -> None:
    """A decoder returns a copy of what it leaves: given whole chunks, it would copy 17 GB here."""

    def seconds(raw_size: int) -> float:
        started = time.process_time()
        reader = DecompressingReader(Raw(gzip_member(0, b"x") * 40_000, raw_size))
        assert reader.drain() == 40_000
        return time.process_time() - started

    assert seconds(1 << 20) < 2 * seconds(1 << 12)


# Writing.


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
def test_the_output_does_not_depend_on_how_the_input_is_cut(codec: Codec) -> None:
    data = TEXT * 10
    assert len(data) > 3 * COMPRESSION_BLOCK
    outputs = set()
    for size in (1000, 65536, COMPRESSION_BLOCK, COMPRESSION_BLOCK + 1, len(data)):
        compressor = Compressor(codec)
        pieces = [compressor.compress(data[at : at + size]) for at in range(0, len(data), size)]
        outputs.add(b"".join(pieces) + compressor.flush())
    assert len(outputs) == 1


def test_gzip_output_is_understood_by_others_and_names_no_time() -> None:
    stored = whole(Codec.GZIP, TEXT)
    assert gzip.decompress(stored) == TEXT
    assert stored[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_zstd_output_is_understood_by_others_and_carries_a_checksum() -> None:
    stored = whole(Codec.ZSTD, TEXT)
    assert zstd.decompress(stored) == TEXT
    assert stored[4] & 0x04


@pytest.mark.parametrize(("codec", "levels"), [(Codec.GZIP, [0, 3]), (Codec.ZSTD, [1, 22])])
def test_all_levels_are_readable(codec: Codec, levels: list[int]) -> None:
    for level in levels:
        assert expand(whole(codec, TEXT, level)) == TEXT


@pytest.mark.parametrize(
    ("codec", "level"),
    [
        (Codec.GZIP, 4),
        (Codec.GZIP, -1),
        (Codec.ZSTD, 0),
        (Codec.ZSTD, 23),
        (Codec.XZ, None),
        (Codec.NONE, None),
    ],
)
def test_a_codec_or_level_that_does_not_exist_is_an_error_of_use(
    codec: Codec, level: int | None
) -> None:
    with pytest.raises(UsageError):
        Compressor(codec, level)


def test_compressors_in_two_threads_do_not_disturb_each_other() -> None:
    outputs: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: outputs.append(whole(Codec.GZIP, TEXT * 20)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == [whole(Codec.GZIP, TEXT * 20)] * 2
