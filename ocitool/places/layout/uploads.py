"""Uploads of a registry's clients: `.ocitool/uploads/NAME`, until their blob is whole.

The journal beside the file has the repository, and the boot of the machine. A process that is
killed loses no byte that it wrote, so the length of the file is how far the upload is. A machine
that crashes does lose some: after its next start the upload is gone, and its client begins anew.
"""

import contextlib
import json
import os
import time
from typing import Self

from ocitool.errors import NotFound
from ocitool.fsops import CHUNK, Directory, PartFile
from ocitool.oci import Digest
from ocitool.oci.digest import Hasher, new_hasher

UPLOADS = "uploads"
UPLOAD_SECONDS = 86400.0
_BOOT = "/proc/sys/kernel/random/boot_id"
_JOURNAL_BYTES = 1 << 12
_SYNCED_AT_ONCE = 8 << 20


class UploadBusy(Exception):
    """Another request or process is writing to the upload."""


class StoredUpload:
    """An upload that this thread has open. A context manager; what was written stays."""

    def __init__(self, part: PartFile, repository: str, size: int) -> None:
        self._part = part
        self.repository = repository
        self.size = size
        self._started = size

    @staticmethod
    def create(control: Directory, name: str, repository: str) -> None:
        """Start an upload of no bytes."""
        folder = control.subdirectory(UPLOADS, create=True, lasting=False)
        part = PartFile.open(folder, name)
        if part is None:
            raise UploadBusy(name)
        header = {"repository": repository, "boot": _boot()}
        part.note(json.dumps(header).encode("ascii") + b"\n")
        part.close()

    @classmethod
    def open(cls, control: Directory, name: str) -> Self:
        """Go on with an upload; NotFound if there is none, UploadBusy while another has it open."""
        folder = control.subdirectory(UPLOADS)
        if folder.size_of(name) is None:
            folder.close()
            raise NotFound(f"there is no upload {name}")
        part = PartFile.open(folder, name)
        if part is None:
            raise UploadBusy(name)
        try:
            return cls._opened(part, name)
        except BaseException:
            part.close()
            raise

    @classmethod
    def _opened(cls, part: PartFile, name: str) -> Self:
        try:
            header = json.loads(part.notes(_JOURNAL_BYTES))
            repository, boot = str(header["repository"]), str(header["boot"])
        except (ValueError, KeyError, TypeError):
            boot = ""
        if boot != _boot():
            part.discard()
            raise NotFound(f"upload {name} was never begun, or the machine was restarted since")
        return cls(part, repository, part.size())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._part.close()

    def append(self, data: bytes | bytearray) -> None:
        """Write bytes at the end."""
        self._part.write_at(self.size, memoryview(data))
        self.size += len(data)
        if self.size - self._started >= _SYNCED_AT_ONCE:
            self._part.begin_to_sync(self._started, self.size)
            self._started = self.size

    def hashed(self, algorithm: str, hasher: Hasher | None = None, start: int = 0) -> Hasher:
        """Return the hash of everything; `hasher` has seen the first `start` bytes."""
        hasher = hasher or new_hasher(algorithm)
        while start < self.size and (data := self._part.read_at(start, CHUNK)):
            hasher.update(data)
            start += len(data)
        return hasher

    def publish(self, folder: Directory, digest: Digest) -> None:
        """Make the upload the blob of that digest, durably."""
        publish_part(self._part, folder, digest)

    def discard(self) -> None:
        """Delete what was uploaded."""
        self._part.discard()


def publish_part(part: PartFile, folder: Directory, digest: Digest) -> None:
    """Make a file that is whole the blob of that digest, durably."""
    part.publish(folder, digest.hex)
    folder.sync()


def clear_old_uploads(control: Directory, now: float) -> int:
    """Delete uploads to which no request came for a day; return how many.

    `now` is in seconds since the epoch.
    """
    removed = 0
    with contextlib.suppress(NotFound), control.subdirectory(UPLOADS) as folder:
        for name in folder.names():
            if name.endswith(".ranges") or now - (folder.modified(name) or now) < UPLOAD_SECONDS:
                continue
            part = PartFile.open(control.subdirectory(UPLOADS), name)
            if part is not None:
                part.discard()
                removed += 1
    return removed


def touch_upload(control: Directory, name: str) -> None:
    """Note that somebody asked for an upload."""
    with contextlib.suppress(NotFound), control.subdirectory(UPLOADS) as folder:
        folder.touch(name)


def _boot() -> str:
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        # Where nothing tells one boot from another, each process is one.
        return f"{os.getpid()}-{time.time_ns()}"
