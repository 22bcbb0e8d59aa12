"""Which codec a stream is compressed with, told from its first bytes."""

from enum import StrEnum
from typing import Final

MAGIC_SIZE: Final = 10
"""How many bytes `sniff` needs to tell every codec."""
_BZIP2_BLOCKS: Final = (b"1AY&SY", b"\x17rE8P\x90")


class Codec(StrEnum):
    """How a stream of bytes is compressed."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


def sniff(head: bytes) -> Codec:
    """Return the codec of a stream by its first `MAGIC_SIZE` bytes; NONE if it is not compressed.

    The magic numbers: RFC 1952 section 2.3.1 (gzip), RFC 8878 section 3.1.1 (zstd, skippable frames
    included), the .xz file format section 2.1.1.1, and bzip2's header with its first block.
    """
    if head[:3] == b"\x1f\x8b\x08":
        return Codec.GZIP
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return Codec.ZSTD
    if head[:6] == b"\xfd7zXZ\0":
        return Codec.XZ
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS:
        return Codec.BZIP2
    return Codec.NONE
