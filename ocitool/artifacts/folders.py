"""Packing folders as tars: the same content gives the same bytes on every machine.

Members are sorted, times and owners are zero. Permissions are kept, so that a private file stays
private where it is unpacked. As with the `oras` tools, every name begins with that of the folder.
"""

import os
import tarfile
from collections.abc import Callable, Iterator

from ocitool.artifacts.paths import DEEPEST, Parts, stays_inside
from ocitool.errors import Refused, StorageError, UsageError
from ocitool.formats.compression import Codec, Compressor
from ocitool.fsops import CHUNK, Directory, translated
from ocitool.oci import Digest
from ocitool.oci.digest import new_hasher
from ocitool.oci.quoting import quoted

_BLOCK = 512
_END = bytes(2 * _BLOCK)


def pack(path: str, name: str, write: Callable[[bytes], None]) -> Digest:
    """Write a folder as a gzipped tar whose members are below `name`; return the tar's digest.

    UsageError for what cannot be packed: devices, sockets, and links that lead out of the folder.
    """
    hasher = new_hasher("sha256")
    compressor = Compressor(Codec.GZIP)
    with Directory.open(path) as folder:
        for piece in _members(folder, (name,)):
            hasher.update(piece)
            write(compressor.compress(piece))
    # Not padded to a full record: oras-go hashes only up to here when it unpacks.
    hasher.update(_END)
    write(compressor.compress(_END))
    write(compressor.flush())
    return Digest.from_hasher("sha256", hasher)


def _members(folder: Directory, path: Parts) -> Iterator[bytes]:
    """Yield the tar blocks of a folder and its content, sorted."""
    if len(path) > DEEPEST:
        raise UsageError(f"{quoted(folder.path)} is more than {DEEPEST} folders deep")
    yield _header(path, tarfile.DIRTYPE, mode=folder.permissions("."))
    for name in folder.names():
        below = (*path, name)
        kind = folder.kind(name)
        if kind == "folder":
            with folder.subdirectory(name) as inner:
                yield from _members(inner, below)
        elif kind == "file":
            yield from _file(folder, below)
        elif kind == "link":
            yield _link(folder, below)
        else:
            raise UsageError(
                f"{quoted(folder.child(name))} is not a file, folder or link",
                hint="sockets, pipes and devices cannot be pushed; leave it out",
            )


def _file(folder: Directory, path: Parts) -> Iterator[bytes]:
    name = path[-1]
    descriptor, size = folder.open_file(name)
    try:
        yield _header(path, tarfile.REGTYPE, mode=folder.permissions(name), size=size)
        left = size
        with translated("read", folder.child(name)):
            while left and (part := os.read(descriptor, min(left, CHUNK))):
                left -= len(part)
                yield part
            if left or os.read(descriptor, 1):
                raise Refused(f"{quoted(folder.child(name))} changed while it was being read")
        yield bytes(-size % _BLOCK)
    finally:
        os.close(descriptor)


def _link(folder: Directory, path: Parts) -> bytes:
    target = folder.link_target(path[-1])
    if target is None:
        raise StorageError(f"cannot read the link {quoted(folder.child(path[-1]))}")
    if not stays_inside(path[1:], target):
        raise UsageError(
            f"the link {quoted(folder.child(path[-1]))} leads out of the folder",
            hint="replace it by what it points to; a pull would refuse it",
        )
    return _header(path, tarfile.SYMTYPE, mode=0o777, target=target)


def _header(path: Parts, kind: bytes, *, mode: int, size: int = 0, target: str = "") -> bytes:
    member = tarfile.TarInfo("/".join(path))
    member.type, member.mode, member.size, member.linkname = kind, mode, size, target
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
