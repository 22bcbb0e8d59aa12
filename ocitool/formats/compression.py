"""The codecs of layers and of whole archives: telling them apart, reading and writing. No disk.

Reading takes gzip (RFC 1952, any number of members), zstd (RFC 8878, any number of frames, also
skippable ones), bzip2 and xz, in bounded memory and bounded pieces. Writing makes gzip and zstd,
the same bytes every time. All heavy work happens outside the interpreter lock.
"""

import bz2
import lzma
import re
import struct
import sys
import zlib
from enum import StrEnum
from typing import Final, Protocol

from isal import igzip_lib, isal_zlib
from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedArchive, UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_SIZE: Final = 1 << 18
COMPRESSION_BLOCK: Final = 1 << 18
"""Compressors are fed blocks of this many bytes: isal's output depends on how its input is cut."""

GZIP_LEVEL: Final = 2
"""isal's levels are 0 to 3; 2 compresses like zlib's 5 at ten times its speed."""
ZSTD_LEVEL: Final = 3
"""zstd's levels are 1 to 22; 3 is its own default and that of other image tools."""

# isal's stubs declare the class as an instance of Exception.
_ISAL_ERROR: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]

# 2**15 bytes of history in a gzip frame. Of isal's sizes of tables this one gives the smallest
# output that costs no time.
_GZIP_WINDOW: Final = 31
_GZIP_MEMORY: Final = 6

_MAGIC_SIZE: Final = 10
_NOT_NUL: Final = re.compile(rb"[^\0]")
_FIRST_FEED: Final = 1 << 12
_LARGEST_GZIP_HEADER: Final = 1 << 18
_BZIP2_BLOCKS: Final = (b"1AY&SY", b"\x17rE8P\x90")

_GZIP_HEADER_CRC: Final = 0x02
_GZIP_EXTRA: Final = 0x04
_GZIP_NAME: Final = 0x08
_GZIP_COMMENT: Final = 0x10
_GZIP_RESERVED: Final = 0xE0


class Codec(StrEnum):
    """How a stream of bytes is compressed."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


def sniff(head: bytes) -> Codec:
    """Tell the codec from the first bytes of a stream, best ten or more; NONE if it is no other."""
    if head[:3] == b"\x1f\x8b\x08":
        return Codec.GZIP
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return Codec.ZSTD
    if head[:6] == b"\xfd7zXZ\0":
        return Codec.XZ
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS:
        return Codec.BZIP2
    return Codec.NONE


class CompressionLimits(Struct, frozen=True, kw_only=True):
    """What decompression may cost.

    Output may be `ratio` times the input once it is above `ratio_grace` bytes: gzip cannot reach
    1,100, so more marks a bomb. A zstd frame may ask for a window of 2**`zstd_window_log` bytes, xz
    for `xz_memory` bytes.
    """

    ratio: int = 1100
    ratio_grace: int = 256 << 20
    zstd_window_log: int = 27
    xz_memory: int = 256 << 20


DEFAULT_COMPRESSION_LIMITS: Final = CompressionLimits()


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; `b""` only at the end."""


class _Decoder(Protocol):
    """Decompresses one member; bz2, lzma, zstd and isal share this shape."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class DecompressingReader:
    """The decompressed content of `raw`, as a stream.

    `codec` is found from the first bytes if it is None, and then in `.codec`. The end is reached
    only when the last member is complete, its checksum right and `raw` read to its end, so that a
    `raw` that verifies a digest has done so. NULs may follow gzip and xz; nothing else may.

    Not thread-safe. Raises MalformedArchive for damaged, cut or trailing data, LimitExceeded for a
    bomb, and whatever `raw` raises.
    """

    __slots__ = (
        "_decoder",
        "_feed_size",
        "_limits",
        "_members",
        "_pending",
        "_position",
        "_raw",
        "_raw_ended",
        "bytes_in",
        "bytes_out",
        "codec",
    )

    def __init__(
        self,
        raw: Readable,
        codec: Codec | None = None,
        *,
        limits: CompressionLimits = DEFAULT_COMPRESSION_LIMITS,
    ) -> None:
        self._raw = raw
        self._limits = limits
        self._decoder: _Decoder | None = None
        self._feed_size = 0
        self._members = 0
        # Input that no decoder has seen yet begins at `_position` of `_pending`.
        self._pending = b""
        self._position = 0
        self._raw_ended = False
        self.bytes_in = 0
        self.bytes_out = 0
        if codec is None:
            self._fill(_MAGIC_SIZE)
            codec = sniff(self._pending)
        self.codec = codec

    def read(self, size: int, /) -> bytes:
        """Return the next content, at most `size` bytes; `b""` only at the end."""
        if size <= 0:
            return b""
        data = self._read_plain(size) if self.codec is Codec.NONE else self._read_decoded(size)
        self.bytes_out += len(data)
        limits = self._limits
        if self.bytes_out > max(limits.ratio_grace, limits.ratio * self.bytes_in):
            raise LimitExceeded(
                f"a decompression bomb: {self.bytes_in} bytes of {self.codec} "
                f"became more than {self.bytes_out}"
            )
        return data

    def drain(self) -> int:
        """Read to the end, so that everything is verified; return how many bytes that was."""
        before = self.bytes_out
        while self.read(CHUNK_SIZE):
            pass
        return self.bytes_out - before

    # Input.

    def _available(self) -> int:
        return len(self._pending) - self._position

    def _read_raw(self, size: int) -> bytes:
        if self._raw_ended:
            return b""
        data = self._raw.read(size)
        self.bytes_in += len(data)
        self._raw_ended = not data
        return data

    def _fill(self, size: int) -> None:
        """Have at least `size` bytes of input at hand, unless the end comes first."""
        while self._available() < size:
            data = self._read_raw(CHUNK_SIZE)
            if not data:
                return
            self._pending = self._pending[self._position :] + data
            self._position = 0

    def _take(self, size: int) -> bytes:
        data = self._pending[self._position : self._position + size]
        self._position += len(data)
        return data

    # Output.

    def _read_plain(self, size: int) -> bytes:
        return self._take(size) or self._read_raw(size)

    def _read_decoded(self, size: int) -> bytes:
        while True:
            decoder = self._decoder or self._next_member()
            if decoder is None:
                return b""
            data = self._decode(decoder, size)
            if data:
                return data

    def _decode(self, decoder: _Decoder, size: int) -> bytes:
        fed = self._feed() if decoder.needs_input else b""
        try:
            data = decoder.decompress(fed, size)
        except (_ISAL_ERROR, zstd.ZstdError, lzma.LZMAError, OSError, ValueError) as error:
            raise self._translated(error) from error
        if decoder.eof:
            self._position -= len(decoder.unused_data)
            self._decoder = None
            self._members += 1
        elif not (fed or data or decoder.needs_input):
            raise MalformedArchive(f"damaged {self.codec} data: it leads nowhere")
        return data

    def _feed(self) -> bytes:
        """Return the next input of a member.

        A decoder hands back what it does not need as a copy. Pieces that begin small keep that
        cheap where thousands of members share one chunk.
        """
        self._fill(1)
        data = self._take(self._feed_size)
        if not data:
            raise self._cut()
        self._feed_size = min(2 * self._feed_size, CHUNK_SIZE)
        return data

    # Members.

    def _next_member(self) -> _Decoder | None:
        """Begin the next member; return None at the end."""
        self._fill(_MAGIC_SIZE)
        if self._members and self.codec in (Codec.GZIP, Codec.XZ):
            self._pass_padding()
        if self._members and not self._available():
            return None
        head = self._pending[self._position : self._position + _MAGIC_SIZE]
        if sniff(head) is not self.codec:
            raise self._not_a_member()
        self._feed_size = _FIRST_FEED
        self._decoder = self._new_decoder()
        return self._decoder

    def _pass_padding(self) -> None:
        while self._available():
            found = _NOT_NUL.search(self._pending, self._position)
            if found is not None:
                self._position = found.start()
                self._fill(_MAGIC_SIZE)
                return
            self._position = len(self._pending)
            self._fill(1)

    def _not_a_member(self) -> MalformedArchive:
        if self._raw_ended and self._available() < _MAGIC_SIZE and not self._members:
            return self._cut()
        what = "other data follows the" if self._members else "the data is not"
        return MalformedArchive(f"damaged {self.codec} data: {what} {self.codec} data")

    def _new_decoder(self) -> _Decoder:
        if self.codec is Codec.GZIP:
            self._pass_gzip_header()
            return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP_NO_HDR_VER)
        if self.codec is Codec.ZSTD:
            options: dict[int, int] = {
                zstd.DecompressionParameter.window_log_max: self._limits.zstd_window_log
            }
            return zstd.ZstdDecompressor(options=options)
        if self.codec is Codec.XZ:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=self._limits.xz_memory)
        return bz2.BZ2Decompressor()

    def _pass_gzip_header(self) -> None:
        """Read a member's header ourselves: isal garbles one that is split between two calls."""
        wanted = _MAGIC_SIZE
        while (size := _gzip_header_size(self._pending, self._position)) is None:
            if wanted > _LARGEST_GZIP_HEADER:
                raise LimitExceeded(f"a gzip header exceeds {_LARGEST_GZIP_HEADER} bytes")
            self._fill(wanted)
            if self._raw_ended and self._available() < wanted:
                raise self._cut()
            wanted = max(wanted, self._available()) + 1
        header = self._take(size)
        flags = header[3]
        if flags & _GZIP_RESERVED:
            raise MalformedArchive("damaged gzip data: a header with reserved flags")
        if flags & _GZIP_HEADER_CRC:
            (stated,) = struct.unpack("<H", header[-2:])
            if zlib.crc32(header[:-2]) & 0xFFFF != stated:
                raise MalformedArchive("damaged gzip data: a header's checksum is wrong")

    # Errors.

    def _cut(self) -> MalformedArchive:
        return MalformedArchive(f"the {self.codec} data ends in the middle")

    def _translated(self, error: Exception) -> MalformedArchive | LimitExceeded:
        text = str(error)
        if "Memory usage limit" in text or "too much memory" in text:
            return LimitExceeded(f"the {self.codec} data asks for too much memory")
        return MalformedArchive(f"damaged {self.codec} data: {text}")


class _Encoder(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Compressor:
    """Compress a stream to gzip or zstd: the same content gives the same bytes, however it is cut.

    gzip headers carry neither name nor time; zstd frames carry a checksum. `level` defaults to
    `GZIP_LEVEL` or `ZSTD_LEVEL`. Other codecs and levels raise UsageError. Not thread-safe, but
    compressors in different threads run in parallel.
    """

    __slots__ = ("_encoder", "_pending")

    def __init__(self, codec: Codec, level: int | None = None) -> None:
        self._encoder = _new_encoder(codec, level)
        self._pending = bytearray()

    def compress(self, data: bytes, /) -> bytes:
        """Take the next content; return what compressed bytes there are by now, often none."""
        view = memoryview(data)
        pieces = []
        if self._pending:
            missing = COMPRESSION_BLOCK - len(self._pending)
            self._pending += view[:missing]
            view = view[missing:]
            if len(self._pending) < COMPRESSION_BLOCK:
                return b""
            pieces.append(self._encoder.compress(bytes(self._pending)))
            self._pending.clear()
        whole = len(view) - len(view) % COMPRESSION_BLOCK
        pieces += [
            self._encoder.compress(view[at : at + COMPRESSION_BLOCK])
            for at in range(0, whole, COMPRESSION_BLOCK)
        ]
        self._pending += view[whole:]
        return b"".join(pieces)

    def flush(self) -> bytes:
        """End the stream; return the rest of it. Call once, last."""
        rest = self._encoder.compress(bytes(self._pending))
        self._pending.clear()
        return rest + self._encoder.flush()


def _new_encoder(codec: Codec, level: int | None) -> _Encoder:
    if codec is Codec.GZIP:
        level = GZIP_LEVEL if level is None else level
        if not 0 <= level <= 3:
            raise UsageError(f"no gzip level {level}: there are 0 to 3")
        return isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW, _GZIP_MEMORY)
    if codec is Codec.ZSTD:
        level = ZSTD_LEVEL if level is None else level
        if not 1 <= level <= 22:
            raise UsageError(f"no zstd level {level}: there are 1 to 22")
        return zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: level,
                zstd.CompressionParameter.checksum_flag: 1,
            }
        )
    raise UsageError(f"cannot compress with {codec}: use gzip or zstd")


def _gzip_header_size(data: bytes, start: int) -> int | None:
    """Return how long the gzip header at `start` is; None if it is not all there."""
    if len(data) - start < 10:
        return None
    flags = data[start + 3]
    end = start + 10
    if flags & _GZIP_EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for text in _GZIP_NAME, _GZIP_COMMENT:
        if flags & text:
            end = data.find(0, end) + 1
            if not end:
                return None
    if flags & _GZIP_HEADER_CRC:
        end += 2
    return end - start if end <= len(data) else None
