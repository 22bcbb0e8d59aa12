"""An archive that was cut into chunks: its files in their order, read as one stream.

hauler writes `haul.tar.zst.001`, `.002` and so on, older versions of it `haul_0.tar.zst` and so on
(pkg/archives of hauler); `split -d -a 3` makes the first form, from .000 on. Nothing in a chunk
says where it belongs or how many there are, so what can be told is told before anything is read:
all but the last are of one size, and no number is left out.
"""

import itertools
import os
import re
import shlex
import stat
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from ocitool.errors import MalformedArchive, NotFound
from ocitool.formats.compression import Codec, sniff
from ocitool.fsops import translated

_ARCHIVE = r"(?i:tar|tgz|tbz2|txz|tzst|(?:tar\.)?(?:gz|bz2|xz|zst))"
_NUMBERED = re.compile(rf"(?P<base>.+\.{_ARCHIVE})\.(?P<number>\d{{3,}})(?P<end>)", re.DOTALL)
_OLD = re.compile(rf"(?P<base>[^./]+)_(?P<number>0|[1-9]\d*)(?P<end>\.{_ARCHIVE})")
_HEAD = 512
_TAR_MAGIC = slice(257, 262)
_DIGITS = 10
_COPY_AGAIN = "Copy all chunks again from where they were made"


class Chunk(Struct, frozen=True, kw_only=True):
    """One file of the set: its path, its number and its size in bytes."""

    path: str
    number: int
    size: int

    @property
    def name(self) -> str:
        """The name of the file without its folder."""
        return os.path.basename(self.path)

    def sibling(self, number: int) -> str:
        """Return what the chunk with another number is called."""
        match = _match(self.name)
        if match is None:
            return self.name
        digits = str(number).zfill(len(match["number"])) if match.re is _NUMBERED else str(number)
        return match.string[: match.start("number")] + digits + match.string[match.end("number") :]


class Chunks:
    """All chunks of one archive, in order, and a place in them. Not thread-safe."""

    def __init__(self, what: str, chunks: Sequence[Chunk]) -> None:
        self.what = what
        self._chunks = chunks
        self._position = 0
        self._file = -1

    @property
    def size(self) -> int:
        """The bytes of all chunks together."""
        return sum(chunk.size for chunk in self._chunks)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`, of one chunk; b"" only at the end."""
        while self._position < len(self._chunks):
            path = self._chunks[self._position].path
            with translated("read", path):
                if self._file < 0:
                    self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if part := os.read(self._file, size):
                    return part
            self.close()
            self._position += 1
        return b""

    def span(self, offset: int, size: int) -> str:
        """Return which chunks have these bytes of the joined archive, by their names."""
        names = [chunk.name for chunk in (self.at(offset), self.at(offset + size - 1)) if chunk]
        return " to ".join(dict.fromkeys(names))

    def at(self, offset: int) -> Chunk | None:
        """Return the chunk that has a byte of the joined archive, or None beyond its end."""
        for chunk in self._chunks:
            offset -= chunk.size
            if offset < 0:
                return chunk
        return None

    def damage_hint(self, offset: int | None = None) -> str:
        """Return what to do about data that is damaged or breaks off.

        That is found at an offset of the joined archive, or at the place that was read last.
        """
        position = min(self._position, len(self._chunks))
        found = self._chunks[position : position + 1] if offset is None else [self.at(offset)]
        if found and found[0] is not None:
            return (
                f"it breaks in {found[0].name}: that chunk, or one before it, is damaged or is of "
                f"another set. {_COPY_AGAIN}"
            )
        last = self._chunks[-1]
        following = last.sibling(last.number + 1)
        return f"{last.name} was cut short, or {following} is missing. {_COPY_AGAIN}"

    def close(self) -> None:
        """Close the file that is open; harmless when repeated."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def find_chunks(path: str) -> Chunks | None:
    """Return the set that a file belongs to, by its name; None for an archive by itself.

    NotFound names a chunk that is missing, MalformedArchive one that cannot belong to the set.
    """
    folder, name = os.path.split(path)
    match = _match(name)
    if match is None or os.path.isdir(path):
        return None
    with translated("list", folder or "."):
        names = os.listdir(folder or ".")
    chunks = _set_of(match, folder, names)
    if not chunks or not _is_cut(chunks, match):
        return None
    _check_numbers(chunks)
    _check_sizes(chunks)
    return Chunks(path, chunks)


def chunks_in(folder: str) -> Chunks | None:
    """Return the only set of chunks that lies in a folder, or None if there is none.

    MalformedArchive when there are several; else as `find_chunks`.
    """
    with translated("list", folder):
        names = sorted(os.listdir(folder))
    sets: dict[tuple[str, str], str] = {}
    for name in names:
        if (match := _match(name)) is not None:
            sets.setdefault((match["base"], match["end"]), name)
    found = [one for name in sets.values() if (one := find_chunks(os.path.join(folder, name)))]
    if len(found) > 1:
        first = shlex.quote(found[0].what)
        raise MalformedArchive(
            f"{folder} holds the chunks of {len(found)} archives",
            hint=f"name the first chunk of one, for example {first}",
        )
    return found[0] if found else None


def _match(name: str) -> re.Match[str] | None:
    return _NUMBERED.fullmatch(name) or _OLD.fullmatch(name)


def _set_of(wanted: re.Match[str], folder: str, names: Sequence[str]) -> list[Chunk]:
    """Return the files of a folder that are called like one, by their numbers."""
    found = []
    for name in names:
        match = wanted.re.fullmatch(name)
        if match is None or (match["base"], match["end"]) != (wanted["base"], wanted["end"]):
            continue
        path = os.path.join(folder, name)
        with translated("look at", path):
            status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and len(match["number"]) < _DIGITS:
            found.append(Chunk(path=path, number=int(match["number"]), size=status.st_size))
    return sorted(found, key=lambda chunk: (chunk.number, chunk.path))


def _is_cut(chunks: Sequence[Chunk], match: re.Match[str]) -> bool:
    """Tell whether files are parts of one archive; several may each be a whole one."""
    begin = [_begins_archive(chunk.path) for chunk in chunks]
    if match.re is _OLD:
        return len(chunks) > 1 and not any(begin[1:])
    return not all(begin) or (len(chunks) == 1 and chunks[0].number <= 1)


def _begins_archive(path: str) -> bool:
    with translated("read", path), open(path, "rb", buffering=0) as file:
        head = file.read(_HEAD)
    return sniff(head) is not Codec.NONE or head[_TAR_MAGIC] == b"ustar"


def _check_numbers(chunks: Sequence[Chunk]) -> None:
    first = chunks[0]
    if first.number > 1:
        missing = first.sibling(0 if _OLD.fullmatch(first.name) else 1)
        raise _missing(missing, chunks)
    for before, chunk in itertools.pairwise(chunks):
        if chunk.number == before.number:
            raise MalformedArchive(f"{before.name} and {chunk.name} have the same number")
        if chunk.number > before.number + 1:
            raise _missing(before.sibling(before.number + 1), chunks)


def _missing(name: str, chunks: Sequence[Chunk]) -> NotFound:
    return NotFound(
        f"the chunk {name} is missing: {chunks[0].name} to {chunks[-1].name} are one archive",
        hint="copy it from where the archive was cut; all chunks have to lie in one folder",
    )


def _check_sizes(chunks: Sequence[Chunk]) -> None:
    """Refuse a chunk of another size than the rest; only the last may be smaller."""
    *others, last = chunks
    if not others:
        return
    counts = Counter(chunk.size for chunk in others)
    usual = max(counts, key=lambda size: (counts[size], size))
    wrong = [chunk for chunk in others if chunk.size != usual]
    wrong += [last] if last.size > usual else []
    if wrong:
        raise MalformedArchive(
            f"the chunk {wrong[0].name} is {wrong[0].size} bytes, and others are {usual}",
            hint="it was cut short, or is of another set, or chunks of an older set lie beside "
            "these: copy all chunks of one archive into a folder of their own",
        )
