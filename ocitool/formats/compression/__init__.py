"""The codecs of layers and of whole archives: telling them apart, reading and writing. No disk.

Reading takes gzip (RFC 1952, any number of members), zstd (RFC 8878, any number of frames, also
skippable ones), bzip2 and xz. Writing makes gzip and zstd. All heavy work happens outside the
interpreter lock.
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.formats.compression.codec import Codec as Codec
    from ocitool.formats.compression.codec import sniff as sniff
    from ocitool.formats.compression.reader import CHUNK_SIZE as CHUNK_SIZE
    from ocitool.formats.compression.reader import (
        DEFAULT_COMPRESSION_LIMITS as DEFAULT_COMPRESSION_LIMITS,
    )
    from ocitool.formats.compression.reader import CompressionLimits as CompressionLimits
    from ocitool.formats.compression.reader import DecompressingReader as DecompressingReader
    from ocitool.formats.compression.reader import Readable as Readable
    from ocitool.formats.compression.writer import COMPRESSION_BLOCK as COMPRESSION_BLOCK
    from ocitool.formats.compression.writer import GZIP_LEVEL as GZIP_LEVEL
    from ocitool.formats.compression.writer import ZSTD_LEVEL as ZSTD_LEVEL
    from ocitool.formats.compression.writer import Compressor as Compressor

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "codec": "Codec sniff",
        "reader": (
            "CHUNK_SIZE DEFAULT_COMPRESSION_LIMITS CompressionLimits DecompressingReader Readable"
        ),
        "writer": "COMPRESSION_BLOCK GZIP_LEVEL ZSTD_LEVEL Compressor",
    },
)
