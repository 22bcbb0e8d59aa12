"""The codecs of layers and of whole archives: telling them apart, reading and writing. No disk.

Reading takes gzip (RFC 1952, any number of members), zstd (RFC 8878, any number of frames, also
skippable ones), bzip2 and xz. Writing makes gzip and zstd. All heavy work happens outside the
interpreter lock.
"""

from ocitool.formats.compression.codec import Codec, sniff
from ocitool.formats.compression.reader import (
    CHUNK_SIZE,
    DEFAULT_COMPRESSION_LIMITS,
    CompressionLimits,
    DecompressingReader,
    Readable,
)
from ocitool.formats.compression.writer import (
    COMPRESSION_BLOCK,
    GZIP_LEVEL,
    ZSTD_LEVEL,
    Compressor,
)

__all__ = [
    "CHUNK_SIZE",
    "COMPRESSION_BLOCK",
    "DEFAULT_COMPRESSION_LIMITS",
    "GZIP_LEVEL",
    "ZSTD_LEVEL",
    "Codec",
    "CompressionLimits",
    "Compressor",
    "DecompressingReader",
    "Readable",
    "sniff",
]
