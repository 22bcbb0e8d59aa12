"""From a file, a folder or a pipe to a place to read images from."""

import contextlib
import os
import stat
from collections.abc import Callable

from ocitool.errors import LimitExceeded, MalformedArchive, NotFound, OcitoolError
from ocitool.events import SILENT, Observer
from ocitool.formats.compression import Codec, DecompressingReader, sniff
from ocitool.formats.tar import NotATar, SeekableInput, entries
from ocitool.fsops import CHUNK, Directory, scratch_file, spooling, translated, write_all
from ocitool.places.archive.chunks import Chunks, chunks_in, find_chunks
from ocitool.places.archive.diagnosis import STDIN, damage_hint, not_a_tar, not_an_image
from ocitool.places.archive.docker import MANIFEST_FILE
from ocitool.places.archive.folder import FolderSource
from ocitool.places.archive.folder_members import FolderMembers
from ocitool.places.archive.foreign_forms import holds_foreign
from ocitool.places.archive.members import INDEX_FILE, TarMembers, read_document_member
from ocitool.places.archive.source import ArchiveSource

Stdin = int | Callable[[int], bytes]
"""Standard input: its descriptor, or a function that reads up to so many bytes of it."""
MAX_MEMBERS = 200_000
_HEAD = 512


def open_archive(
    path: str,
    *,
    stdin: int | None = None,
    scratch: str | None = None,
    observer: Observer = SILENT,
) -> ArchiveSource | FolderSource:
    """Open an image archive: a tar (plain, gzip, bzip2, xz or zstd), a folder, or "-" for `stdin`.

    A plain tar in a file is read where it is. Anything else is first written once, uncompressed,
    to a nameless file in the folder `scratch`, and `observer` is told. Raises NotFound, and
    MalformedArchive with a hint for what is not an image archive.
    """
    if path != "-":
        if (chunks := find_chunks(path)) is not None:
            return _from_chunks(chunks, scratch, observer)
        with translated("open", path):
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        if is_folder:
            return _from_folder(path, scratch, observer)
    file, what = open_plain(path, stdin=stdin, scratch=scratch, observer=observer)
    return _from_tar(file, what)


def open_plain(
    path: str,
    *,
    stdin: Stdin | None = None,
    scratch: str | None = None,
    observer: Observer = SILENT,
) -> tuple[int, str]:
    """Open a file, or "-" for `stdin`, whose bytes can be read at any offset, uncompressed.

    Return its descriptor, which the caller closes, and what to call it. Anything but a plain file
    is first written to a nameless file in the folder `scratch`.
    """
    if path == "-":
        if stdin is None:
            raise NotFound("there is no standard input to read an archive from")
        return _spool(stdin, STDIN, scratch, observer), STDIN
    with translated("open", path):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        is_file = stat.S_ISREG(os.fstat(file).st_mode)
        if is_file and sniff(os.pread(file, _HEAD, 0)) is Codec.NONE:
            kept, file = file, -1
            return kept, path
        return _spool(file, path, scratch, observer), path
    finally:
        if file >= 0:
            os.close(file)


def receive_archive(
    send: Callable[[Callable[[bytes], None]], object],
    *,
    what: str,
    scratch: str | None = None,
    observer: Observer = SILENT,
) -> ArchiveSource:
    """Open an archive that `send` writes, piece by piece, into the function it is given."""
    file = scratch_file(scratch)

    def write(data: bytes) -> None:
        with spooling(scratch):
            write_all(file, data)
        observer.advance(len(data))

    try:
        with observer.work(f"reading from {what}", 0):
            send(write)
    except BaseException:
        os.close(file)
        raise
    return _from_tar(file, what)


def _spool(source: Stdin, what: str, scratch: str | None, observer: Observer) -> int:
    """Write a stream, decompressed, to a nameless file and return its descriptor."""

    def read(count: int) -> bytes:
        with translated("read", what):
            part = os.read(source, count) if isinstance(source, int) else source(count)
        observer.advance(len(part))
        return part

    size = os.fstat(source).st_size if isinstance(source, int) else 0
    with observer.work(f"reading {what}", size):
        return _write_spool(_Peekable(read), what, scratch)


def _write_spool(
    stream: "_Peekable",
    what: str,
    scratch: str | None,
    hint: Callable[[], str] | None = None,
) -> int:
    codec = sniff(stream.peek(_HEAD))
    source = DecompressingReader(stream, codec)
    file = scratch_file(scratch)
    try:
        while part := source.read(CHUNK):
            with spooling(scratch):
                write_all(file, part)
    except OcitoolError as error:
        os.close(file)
        if isinstance(error, MalformedArchive):
            advice = damage_hint(what) if hint is None else hint()
            raise MalformedArchive(f"{what}: {error.message}", hint=error.hint or advice) from error
        raise
    except BaseException:
        os.close(file)
        raise
    return file


class _Peekable:
    """A stream whose first bytes can be looked at before it is read."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (part := self._read(size - len(self._head))):
            self._head += part
        return self._head

    def read(self, size: int) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._read(size)


def tar_members(file: int, what: str, chunks: Chunks | None = None) -> TarMembers:
    """Return the members of a plain tar; MalformedArchive, LimitExceeded. `file` stays open.

    `chunks` are those that it was joined from.
    """
    members = TarMembers(file, what, chunks)
    _index(members, file, what)
    return members


def _from_tar(file: int, what: str, chunks: Chunks | None = None) -> ArchiveSource:
    try:
        members = tar_members(file, what, chunks)
        if not _holds_image(members):
            raise not_an_image(what, members.first_paths)
        return ArchiveSource(members)
    except BaseException:
        os.close(file)
        raise


def _index(members: TarMembers, file: int, what: str) -> None:
    with open(file, "rb", buffering=0, closefd=False) as stream:
        source = SeekableInput(stream)
        try:
            for count, entry in enumerate(entries(source)):
                if count >= MAX_MEMBERS:
                    raise not_an_image(what, members.first_paths)
                members.add(entry)
        except NotATar as error:
            raise not_a_tar(what, os.pread(file, _HEAD, 0)) from error
        except (MalformedArchive, LimitExceeded) as error:
            if error.message.startswith(what):
                raise
            raise type(error)(
                f"{what}: {error.message}",
                hint=error.hint or members.damage_hint(source.offset) or damage_hint(what),
            ) from error
    if not members.first_paths and os.fstat(file).st_size == 0:
        raise not_a_tar(what, os.pread(file, _HEAD, 0))


def _holds_image(members: TarMembers | FolderMembers) -> bool:
    known = (MANIFEST_FILE, INDEX_FILE)
    return any(members.find(name) is not None for name in known) or holds_foreign(members)


def _from_chunks(chunks: Chunks, scratch: str | None, observer: Observer) -> ArchiveSource:
    """Open an archive that was cut, from its chunks in order; nothing else is joined on the disk.

    What is wrong with it is told with the name of the chunk.
    """

    def read(count: int) -> bytes:
        part = chunks.read(count)
        observer.advance(len(part))
        return part

    with observer.work(f"reading {chunks.what}", chunks.size), contextlib.closing(chunks):
        stream = _Peekable(read)
        is_plain = sniff(stream.peek(_HEAD)) is Codec.NONE
        file = _write_spool(stream, chunks.what, scratch, chunks.damage_hint)
    return _from_tar(file, chunks.what, chunks if is_plain else None)


def _from_folder(
    path: str, scratch: str | None, observer: Observer
) -> ArchiveSource | FolderSource:
    folder = Directory.open(path)
    members = FolderMembers(folder)
    try:
        manifest = read_document_member(members, MANIFEST_FILE)
        if members.find(INDEX_FILE) is None and manifest is not None:
            if manifest.lstrip().startswith(b"{"):
                return FolderSource(folder, manifest)
        elif not _holds_image(members):
            if (chunks := chunks_in(path)) is not None:
                members.close()
                return _from_chunks(chunks, scratch, observer)
            raise not_an_image(path, members.first_paths, "folder")
        return ArchiveSource(members)
    except BaseException:
        members.close()
        raise
