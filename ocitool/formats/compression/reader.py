"""Decompressing, in bounded memory and bounded pieces, with every checksum verified."""

import bz2
import lzma
import re
import sys
from typing import Final, Protocol

from isal import igzip_lib
from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedArchive
from ocitool.formats.compression.codec import MAGIC_SIZE, Codec, sniff
from ocitool.formats.compression.gzip_header import LARGEST, check_header, header_size

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_SIZE: Final = 1 << 18
# isal's stubs declare the class as an instance of Exception.
_ISAL_ERROR: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]

_NOT_NUL: Final = re.compile(rb"[^\0]")
_FIRST_FEED: Final = 1 << 12


class CompressionLimits(Struct, frozen=True, kw_only=True):
    """Limits of decompression.

    Above `ratio_grace` bytes, the output may be at most `ratio` times the input: gzip cannot reach
    1,100, so a higher ratio marks a bomb. A zstd frame may ask for a window of
    2**`zstd_window_log` bytes, xz for `xz_memory` bytes of memory.
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

    If `codec` is None, it is told from the first bytes and stored in `.codec`. The end is reached
    only after the last member is complete, its checksum is verified and `raw` is read to its end,
    so a `raw` that verifies a digest has done so by then. Only NULs may follow gzip and xz data.

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
            self._fill(MAGIC_SIZE)
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
        """Read to the end, so that everything is verified; return the number of bytes read."""
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
        """Buffer at least `size` bytes of input, or all that is left."""
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
            raise MalformedArchive(f"damaged {self.codec} data: the decoder makes no progress")
        return data

    def _feed(self) -> bytes:
        """Return the next input of a member.

        At its end a decoder returns the unused input as a copy. Small pieces at the beginning keep
        that copy cheap when thousands of members share one chunk.
        """
        self._fill(1)
        data = self._take(self._feed_size)
        if not data:
            raise self._cut()
        self._feed_size = min(2 * self._feed_size, CHUNK_SIZE)
        return data

    # Members.

    def _next_member(self) -> _Decoder | None:
        """Start the next member; return None at the end."""
        self._fill(MAGIC_SIZE)
        if self._members and self.codec in (Codec.GZIP, Codec.XZ):
            self._pass_padding()
        if self._members and not self._available():
            return None
        head = self._pending[self._position : self._position + MAGIC_SIZE]
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
                self._fill(MAGIC_SIZE)
                return
            self._position = len(self._pending)
            self._fill(1)

    def _not_a_member(self) -> MalformedArchive:
        if self._raw_ended and self._available() < MAGIC_SIZE and not self._members:
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
        """Skip the header of a member: isal garbles a header that is split between two calls."""
        wanted = MAGIC_SIZE
        while (size := header_size(self._pending, self._position)) is None:
            if wanted > LARGEST:
                raise LimitExceeded(f"a gzip header exceeds {LARGEST} bytes")
            self._fill(wanted)
            if self._raw_ended and self._available() < wanted:
                raise self._cut()
            wanted = max(wanted, self._available()) + 1
        check_header(self._take(size))

    # Errors.

    def _cut(self) -> MalformedArchive:
        return MalformedArchive(f"the {self.codec} data ends in the middle")

    def _translated(self, error: Exception) -> MalformedArchive | LimitExceeded:
        text = str(error)
        if "Memory usage limit" in text or "too much memory" in text:
            return LimitExceeded(f"the {self.codec} data asks for too much memory")
        return MalformedArchive(f"damaged {self.codec} data: {text}")
