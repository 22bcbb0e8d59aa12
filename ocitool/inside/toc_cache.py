"""Tables of layers that were made before, one file a layer, found again by the layer's digest.

A layer that was read by its headers alone was not verified: its table is found again by the place
of its bytes, as long as the file there has not changed.

A file of the cache is believed only if its checksum is right, it names the layer, and this user
wrote it; what is not as expected counts as not there. Deleting the folder, or anything in it, does
no harm.
"""

import contextlib
import hashlib
import os
import stat
import threading
import time
from typing import Final

from ocitool.errors import OcitoolError
from ocitool.fsops import Directory, TemporaryFile
from ocitool.image.content import Source, Stamped
from ocitool.inside.hashes import Hashes
from ocitool.inside.table import LayerTable
from ocitool.inside.toc_format import VERSION, pack, unpack
from ocitool.oci import Descriptor, Digest

MOST_BYTES: Final = 512 << 20
_LEAST: Final = 1 << 14
"""Every file counts as this many bytes at least, so that there are never too many to look at."""
_MOST_OF_ONE: Final = 256 << 20
_NEW: Final = "new-"
_CONTROL: Final = ".ocitool"
_ABANDONED: Final = 3600
"""Seconds after which a file that is still being written was left by a process that died."""


class TocCache:
    """The tables of layers in a folder of at most `most` bytes; the oldest make room. Thread-safe.

    The folder is made when something is kept in it. Nothing here fails: what cannot be read is not
    there, what cannot be written is not kept.
    """

    def __init__(self, folder: str, *, most: int = MOST_BYTES) -> None:
        self._folder = os.path.abspath(folder)
        self._most = most
        self._used: int | None = None
        # Of layers that were asked for: what their file was before they were read.
        self._stamps: dict[tuple[int, Digest], str] = {}
        self._lock = threading.Lock()

    def get(self, source: Source, layer: Descriptor, hashes: Hashes) -> LayerTable | None:
        """Return the table of a layer if it has the hashes; None if there is none.

        One that was not verified is found only for the very file that it was made from.
        """
        stamp = _stamp(source, layer)
        if stamp is not None:
            self._stamps[id(source), layer.digest] = stamp
        table = self._read(str(layer.digest), hashes)
        if table is None and stamp is not None:
            table = self._read(_unverified(layer, stamp), hashes)
        return table

    def put(self, source: Source, layer: Descriptor, table: LayerTable) -> None:
        """Keep the table of a layer: for its digest if it was verified, else for its file.

        The latter only if the layer was asked for before it was read, and has not changed since.
        """
        key = str(layer.digest)
        if not table.verified:
            stamp = self._stamps.get((id(source), layer.digest))
            if stamp is None or stamp != _stamp(source, layer):
                return
            key = _unverified(layer, stamp)
        data = pack(table, key)
        if data is None or len(data) > min(self._most, _MOST_OF_ONE):
            return
        if _leads_elsewhere(self._folder):
            return
        with contextlib.suppress(OcitoolError), _made(self._folder) as folder:
            _write(folder, _file_name(key), data)
            self._make_room(folder, max(len(data), _LEAST))

    def _read(self, key: str, hashes: Hashes) -> LayerTable | None:
        data = None
        if _leads_elsewhere(self._folder):
            return None
        with contextlib.suppress(OcitoolError), Directory.open(self._folder) as folder:
            name = _file_name(key)
            status = folder.status(name)
            if status is not None and (status.st_uid == os.geteuid() or _is_trusted(folder)):
                data = folder.read_file(name, _MOST_OF_ONE)
        return unpack(data, key, hashes) if data is not None else None

    def _make_room(self, folder: Directory, written: int) -> None:
        with self._lock:
            if self._used is not None and self._used + written <= self._most:
                self._used += written
                return
            self._used = _trim(folder, self._most)


def _leads_elsewhere(path: str) -> bool:
    """Tell whether a folder that ocitool makes by itself is a link, as in a store from elsewhere.

    These are the last two, `ocitool/toc` in a user's folder, and in a store `.ocitool/cache/toc`.
    """
    names = [path, os.path.dirname(path)]
    control = os.path.dirname(names[1])
    if os.path.basename(control) == _CONTROL:
        names.append(control)
    return any(map(os.path.islink, names))


def _unverified(layer: Descriptor, stamp: str) -> str:
    """Return the key of a layer that was not verified, in a file with this stamp."""
    return f"file-{hashlib.sha256(f'{layer.digest} {stamp}'.encode()).hexdigest()}"


def _stamp(source: Source, layer: Descriptor) -> str | None:
    with contextlib.suppress(OcitoolError):
        return source.stamp(layer) if isinstance(source, Stamped) else None
    return None


def _file_name(key: str) -> str:
    return f"{key.replace(':', '-')}.v{VERSION}"


def _is_trusted(folder: Directory) -> bool:
    """Tell whether what others write to the folder is believed: it is shared with a group alone."""
    status = folder.status(".")
    writers = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) if status is not None else 0
    return writers == stat.S_IWGRP


def _made(path: str) -> Directory:
    """Open the folder, made with those around it: private, or shared with a group as they are."""
    around, name = os.path.split(path)
    with Directory.open(around) if os.path.isdir(around) else _made(around) as folder:
        folder.share_as_it_is()
        if folder.shared:
            return folder.subdirectory(name, create=True, lasting=False)
    return Directory.create(path, 0o700)


def _write(folder: Directory, name: str, data: bytes) -> None:
    temporary = TemporaryFile.create(folder, _NEW)
    try:
        temporary.write(data)
        # Not synced: after a power loss its checksum tells whether it is whole.
        temporary.publish(folder, name, 0o600, durable=False)
    finally:
        temporary.discard()


def _trim(folder: Directory, most: int) -> int:
    """Remove the oldest files if there are more than `most` bytes, and what dead processes left.

    Returns the bytes that are left: rather fewer, so that not every file makes room anew.
    """
    files = []
    for name in folder.unordered_names():
        status = folder.status(name)
        if status is None:
            continue
        if name.startswith(_NEW) and status.st_mtime < time.time() - _ABANDONED:
            folder.remove(name)
        else:
            files.append((status.st_mtime_ns, name, max(status.st_size, _LEAST)))
    used = sum(size for _, _, size in files)
    if used <= most:
        return used
    for _, name, size in sorted(files):
        folder.remove(name)
        used -= size
        if used <= most - most // 8:
            break
    return used
