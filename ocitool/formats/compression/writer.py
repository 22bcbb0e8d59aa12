"""Compressing: the same content gives the same bytes every time."""

import sys
from typing import Final, Protocol

from isal import isal_zlib

from ocitool.errors import UsageError
from ocitool.formats.compression.codec import Codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSION_BLOCK: Final = 1 << 18
"""Compressors are fed blocks of this many bytes: isal's output depends on how its input is cut."""

GZIP_LEVEL: Final = 2
"""isal's levels are 0 to 3; 2 compresses like zlib's 5 at ten times its speed."""
ZSTD_LEVEL: Final = 3
"""zstd's levels are 1 to 22; 3 is its own default and that of other image tools."""

# 2**15 bytes of history in a gzip frame. Of isal's sizes of tables this one gives the smallest
# output that costs no time.
_GZIP_WINDOW: Final = 31
_GZIP_MEMORY: Final = 6


class _Encoder(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Compressor:
    """Compresses a stream to gzip or zstd: the same content gives the same bytes.

    The sizes of the pieces passed to `compress` do not matter. gzip headers have neither name nor
    time; zstd frames have a checksum. `level` defaults to `GZIP_LEVEL` or `ZSTD_LEVEL`. UsageError
    for other codecs and levels. Not thread-safe, but compressors in different threads run in
    parallel.
    """

    __slots__ = ("_encoder", "_pending")

    def __init__(self, codec: Codec, level: int | None = None) -> None:
        self._encoder = _new_encoder(codec, level)
        self._pending = bytearray()

    def compress(self, data: bytes, /) -> bytes:
        """Add content; return the compressed bytes that are ready, often none."""
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
        """End the stream; return its remaining bytes. Call once, last."""
        rest = self._encoder.compress(bytes(self._pending))
        self._pending.clear()
        return rest + self._encoder.flush()


def _new_encoder(codec: Codec, level: int | None) -> _Encoder:
    if codec is Codec.GZIP:
        level = GZIP_LEVEL if level is None else level
        if not 0 <= level <= 3:
            raise UsageError(f"gzip level {level} does not exist: use 0 to 3")
        return isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW, _GZIP_MEMORY)
    if codec is Codec.ZSTD:
        level = ZSTD_LEVEL if level is None else level
        if not 1 <= level <= 22:
            raise UsageError(f"zstd level {level} does not exist: use 1 to 22")
        return zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: level,
                zstd.CompressionParameter.checksum_flag: 1,
            }
        )
    raise UsageError(f"cannot compress with {codec}: use gzip or zstd")
