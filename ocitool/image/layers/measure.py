"""What a layer holds, in numbers: from one pass over its stored bytes, or from headers alone."""

import hashlib
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ocitool.formats.compression import (
    DEFAULT_COMPRESSION_LIMITS,
    Codec,
    CompressionLimits,
    DecompressingReader,
    Readable,
)
from ocitool.formats.tar import (
    DEFAULT_TAR_LIMITS,
    Entry,
    EntryType,
    PositionedInput,
    StreamInput,
    TarLimits,
    TarReader,
)
from ocitool.image.layers.paths import is_whiteout, layer_path
from ocitool.oci import Descriptor

REMEMBERED_FILES: Final = 500_000
"""How many files of one layer are remembered, to find a later member of the same path."""


class LayerMeasure(Struct, frozen=True, kw_only=True):
    """A layer in numbers; sizes in bytes.

    `tar_size` is the uncompressed tar, `diff_id` its digest. `file_bytes` is the logical size of
    the regular files, hard links counted once and a path that occurs twice as its last occurrence.
    `entries` counts the members, whiteouts included; `sparse_files` those that no image tool loads.
    """

    codec: Codec
    stored_size: int
    tar_size: int
    diff_id: str
    file_bytes: int
    entries: int
    whiteouts: int
    sparse_files: int


def measure_layer(
    raw: Readable,
    *,
    tar_limits: TarLimits = DEFAULT_TAR_LIMITS,
    compression_limits: CompressionLimits = DEFAULT_COMPRESSION_LIMITS,
) -> LayerMeasure:
    """Measure a layer as it is stored, compressed or not, reading `raw` once and to its end.

    A layer of no bytes at all is an empty one. Raises MalformedArchive (`NotATar` where the content
    is something else), LimitExceeded, and whatever `raw` raises. Memory is bounded.
    """
    content = _HashedReader(DecompressingReader(raw, limits=compression_limits))
    tally = _Tally()
    for entry in TarReader(StreamInput(content.read), limits=tar_limits):
        tally.add(entry)
    # What follows the end of the tar is part of its digest, and so is a cut gzip trailer.
    content.drain()
    return LayerMeasure(
        codec=content.reader.codec,
        stored_size=content.reader.bytes_in,
        tar_size=content.reader.bytes_out,
        diff_id=f"sha256:{content.sha256.hexdigest()}",
        file_bytes=tally.file_bytes,
        entries=tally.entries,
        whiteouts=tally.whiteouts,
        sparse_files=tally.sparse_files,
    )


def measure_plain_layer(
    read_at: Callable[[int, int], bytes],
    layer: Descriptor,
    *,
    most: int | None = None,
    tar_limits: TarLimits = DEFAULT_TAR_LIMITS,
) -> LayerMeasure | None:
    """Measure a layer that is not compressed, reading only the headers of its members.

    `read_at(offset, n)` gives its bytes. Nothing is verified: `diff_id` is the layer's own digest.
    None for a layer of more than `most` members. Raises as `measure_layer` does.
    """
    tally = _Tally()
    for entry in TarReader(PositionedInput(read_at, layer.size), limits=tar_limits):
        if tally.entries == most:
            return None
        tally.add(entry)
    return LayerMeasure(
        codec=Codec.NONE,
        stored_size=layer.size,
        tar_size=layer.size,
        diff_id=str(layer.digest),
        file_bytes=tally.file_bytes,
        entries=tally.entries,
        whiteouts=tally.whiteouts,
        sparse_files=tally.sparse_files,
    )


class _HashedReader:
    """Hash what is read from a layer's uncompressed content."""

    __slots__ = ("reader", "sha256")

    def __init__(self, reader: DecompressingReader) -> None:
        self.reader = reader
        self.sha256 = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self.reader.read(size)
        self.sha256.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


class _Tally:
    """Counts of the members seen so far.

    A later member replaces an earlier file of its path, so each file that has content is remembered
    by the hash of its path, in about 100 bytes. After `REMEMBERED_FILES`, a path that occurs twice
    counts twice. Files below a directory that a later member replaces still count.
    """

    __slots__ = ("_sizes", "entries", "file_bytes", "sparse_files", "whiteouts")

    def __init__(self) -> None:
        self.entries = 0
        self.whiteouts = 0
        self.sparse_files = 0
        self.file_bytes = 0
        self._sizes: dict[int, int] = {}

    def add(self, entry: Entry) -> None:
        self.entries += 1
        path = layer_path(entry.name)
        if ".wh." in path and is_whiteout(path):
            self.whiteouts += 1
            return
        size = entry.size
        if entry.sparse_size is not None:
            self.sparse_files += 1
            size = entry.sparse_size
        if entry.type is not EntryType.FILE:
            size = 0
        key = hash(path)
        former = self._sizes.get(key)
        if former is not None:
            self.file_bytes -= former
            self._sizes[key] = size
        elif size and len(self._sizes) < REMEMBERED_FILES:
            self._sizes[key] = size
        self.file_bytes += size
