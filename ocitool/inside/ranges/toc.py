"""The table of contents that eStargz and zstd:chunked share, and the chunks of its files.

github.com/containerd/stargz-snapshotter, docs/estargz.md; zstd:chunked of containers/storage uses
the same JSON with `endOffset` and `chunkType` added.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ocitool.errors import DigestMismatch, LimitExceeded, MalformedDocument
from ocitool.oci import Digest

MOST_BYTES: Final = 256 << 20
"""The largest table, in bytes of JSON."""
_MOST_ENTRIES: Final = 2_000_000
_CHUNK: Final = "chunk"
_ZEROS: Final = "zeros"
_LOST: Final = "\ufffd"
"""What Go's JSON writes for bytes that are not UTF-8."""


class NoTable(Exception):
    """A layer has to be read whole; the text says why."""


class TocEntry(Struct, frozen=True, gc=False, rename="camel"):
    """One entry as the JSON has it: a member of the layer, or a further chunk of one."""

    name: str
    type: str
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    modtime: str = ""
    link_name: str = ""
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: dict[str, bytes] | None = None
    digest: str = ""
    offset: int = 0
    end_offset: int = 0
    inner_offset: int = 0
    chunk_offset: int = 0
    chunk_size: int = 0
    chunk_digest: str = ""
    chunk_type: str = ""


class Chunk(Struct, frozen=True, gc=False):
    """A part of a file: the stored bytes from `start` to `end`, of which `inner` are passed over.

    It unpacks to `size` bytes. `digest` is None for a hole, whose bytes are zeros and not stored.
    """

    start: int
    end: int
    inner: int
    size: int
    digest: Digest | None


class TocFile(Struct, frozen=True, gc=False):
    """A member of the layer, with the chunks of its content in order."""

    entry: TocEntry
    chunks: tuple[Chunk, ...] = ()


class _Document(Struct, frozen=True):
    entries: list[TocEntry]


def check_digest(data: bytes, promised: str, what: str) -> None:
    """Raise DigestMismatch unless a table is the one that the manifest promises."""
    digest = Digest.parse(promised)
    actual = Digest.of(data, digest.algorithm)
    if actual != digest:
        raise DigestMismatch(f"{what} hashes to {actual}; the manifest promises {digest}")


def parse_toc(raw: bytes, what: str, *, end: int) -> list[TocFile]:
    """Return the members of a layer in the order of its tar.

    `end` is where the stored content ends. MalformedDocument for a table that contradicts itself,
    NoTable if names were lost in the JSON.
    """
    try:
        entries = msgspec.json.decode(raw, type=_Document).entries
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedDocument(f"{what} cannot be read: {error}") from error
    if len(entries) > _MOST_ENTRIES:
        raise LimitExceeded(f"{what} has {len(entries)} entries, more than {_MOST_ENTRIES}")
    if any(_LOST in entry.name or _LOST in entry.link_name for entry in entries):
        raise NoTable("names in its table of contents are not UTF-8")
    try:
        return list(_files(entries, _ends(entries, end)))
    except ValueError as error:
        raise MalformedDocument(f"{what} contradicts itself: {error}") from None


def _ends(entries: Sequence[TocEntry], end: int) -> Callable[[TocEntry], int]:
    """Return what tells where the stored bytes of an entry end: where others begin, in eStargz."""
    starts = sorted({entry.offset for entry in entries if entry.offset > 0})

    def end_of(entry: TocEntry) -> int:
        after = bisect.bisect_right(starts, entry.offset)
        found = entry.end_offset or (starts[after] if after < len(starts) else end)
        if not 0 <= entry.offset < found <= end or entry.inner_offset < 0:
            raise ValueError(f"{entry.name!r} lies at {entry.offset}, of {end} bytes")
        return found

    return end_of


def _files(entries: Sequence[TocEntry], end_of: Callable[[TocEntry], int]) -> Iterator[TocFile]:
    position = 0
    while position < len(entries):
        entry = entries[position]
        position += 1
        if entry.size < 0:
            raise ValueError(f"{entry.name!r} has {entry.size} bytes")
        first = position
        while position < len(entries) and entries[position].type == _CHUNK:
            position += 1
        parts = [entry, *entries[first:position]]
        is_file = entry.type == "reg" and entry.size > 0
        if not is_file and (entry.type == _CHUNK or len(parts) > 1):
            raise ValueError(f"a chunk of {parts[-1].name!r} is of no file")
        yield TocFile(entry, tuple(_chunks(parts, end_of)) if is_file else ())


def _chunks(parts: Sequence[TocEntry], end_of: Callable[[TocEntry], int]) -> Iterator[Chunk]:
    """Yield the chunks of a file; ValueError unless they make up all of it."""
    whole, done = parts[0], 0
    for number, part in enumerate(parts):
        # Of the last chunk, and of the only one, the size may be left out.
        size = part.chunk_size or whole.size - part.chunk_offset
        if part.name != whole.name or part.chunk_offset != done or size <= 0:
            raise ValueError(f"the chunks of {whole.name!r} do not follow each other")
        done += size
        if part.chunk_type == _ZEROS:
            yield Chunk(0, 0, 0, size, None)
            continue
        # Old tables name the digest of the file only.
        digest = part.chunk_digest or (whole.digest if len(parts) == 1 else "")
        if not digest:
            raise ValueError(f"chunk {number} of {whole.name!r} has no digest")
        yield Chunk(part.offset, end_of(part), part.inner_offset, size, Digest.parse(digest))
    if done != whole.size:
        raise ValueError(f"the chunks of {whole.name!r} have {done} bytes, it has {whole.size}")
