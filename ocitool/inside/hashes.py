"""What is hashed while layers are read."""

from enum import StrEnum


class Hashes(StrEnum):
    """Of which files the content is hashed while their layer is read.

    CHECKS: the CRC-32 of all files of compressed layers, which have to be read anyway. DOUBTFUL:
    the SHA-256 of these. ALL: the SHA-256 of all files of all layers.
    """

    NONE = "none"
    CHECKS = "checks"
    DOUBTFUL = "doubtful"
    ALL = "all"
