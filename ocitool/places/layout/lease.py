"""Leases: which blobs a running command is about to store or to reuse.

A lease is a file that its owner keeps locked, so the lock alone tells whether the owner lives.
A command that deletes blobs reads the leases under the store's lock. A command that adds to a lease
holds the same lock, and looks for the blobs only afterwards. So no blob vanishes in between.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable

from ocitool.errors import IntegrityError, NotFound
from ocitool.events import SILENT, Observer
from ocitool.fsops import Directory, read_up_to, translated, write_all
from ocitool.oci import Digest
from ocitool.places.layout.lock import LOCK_TIMEOUT, locked

LEASES = "leases"
TEMPORARY = "tmp"
_LEASE_BYTES = 64 << 20


class Lease:
    """A running command's claim on blobs. Safe to use from several threads."""

    def __init__(
        self,
        control: Directory,
        folder: Directory,
        name: str,
        descriptor: int,
        observer: Observer,
        patience: float = LOCK_TIMEOUT,
    ) -> None:
        self._control = control
        self._observer = observer
        self._patience = patience
        self._folder = folder
        self._descriptor = descriptor
        self.name = name

    @classmethod
    def take(
        cls, control: Directory, observer: Observer = SILENT, *, patience: float = LOCK_TIMEOUT
    ) -> "Lease":
        """Start a lease; first clear what dead owners left behind.

        `observer` is told if this, or `add`, waits for another process; after `patience` seconds
        of that either raises LockBusy.
        """
        folder = control.subdirectory(LEASES, create=True, lasting=False)
        name = os.urandom(8).hex()
        flags = os.O_RDWR | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with locked(control, patience, observer=observer):
                clear_dead(control)
                with translated("create a lease in", folder.path):
                    descriptor = folder.open_to_write(name, flags)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            folder.close()
            raise
        lease = cls(control, folder, name, descriptor, observer, patience)
        try:
            lease._append(json.dumps({"pid": os.getpid(), "started": int(time.time())}))
        except BaseException:
            lease.release()
            raise
        return lease

    def add(self, digests: Iterable[Digest]) -> None:
        """Claim blobs: from now until `release` no process deletes them."""
        lines = "\n".join(str(digest) for digest in digests)
        if lines:
            with locked(self._control, self._patience, observer=self._observer):
                self._append(lines)

    def _append(self, lines: str) -> None:
        with translated("write the lease", self._folder.child(self.name)):
            write_all(self._descriptor, f"{lines}\n".encode())

    def release(self) -> None:
        """End the lease; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self._folder.descriptor)
            os.close(descriptor)
            self._folder.close()


def claimed_digests(control: Directory, *, but: str | None = None) -> set[Digest]:
    """Return the digests that live leases claim, except the lease `but`. Call under the lock."""
    claimed: set[Digest] = set()
    try:
        folder = control.subdirectory(LEASES)
    except NotFound:
        return claimed
    with folder:
        for name in folder.names():
            if name != but:
                claimed |= _claims_if_alive(folder, name)
    return claimed


def live_leases(control: Directory) -> set[str]:
    """Return the names of the leases whose owners live. Needs no lock."""
    alive = set()
    with contextlib.suppress(NotFound), control.subdirectory(LEASES) as folder:
        for name in folder.names():
            try:
                descriptor, _ = folder.open_file(name)
            except (NotFound, IntegrityError):
                continue
            try:
                if not _is_dead(descriptor):
                    alive.add(name)
            finally:
                os.close(descriptor)
    return alive


def _claims_if_alive(folder: Directory, name: str) -> set[Digest]:
    try:
        descriptor, _ = folder.open_file(name)
    except (NotFound, IntegrityError):
        return set()
    try:
        if _is_dead(descriptor):
            return set()
        lines = read_up_to(descriptor, _LEASE_BYTES).decode("ascii", "replace").splitlines()
        return {Digest.parse(line) for line in lines[1:]}
    finally:
        os.close(descriptor)


def _is_dead(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clear_dead(control: Directory) -> None:
    """Remove the leases and temporary files of dead commands. Call under the lock."""
    alive = live_leases(control)
    with control.subdirectory(LEASES, create=True, lasting=False) as folder:
        for name in folder.names():
            if name not in alive and folder.size_of(name) is not None:
                folder.remove(name)
    with control.subdirectory(TEMPORARY, create=True, lasting=False) as temporary:
        for name in temporary.names():
            # Anything but a regular file was not put there by ocitool.
            if name.partition(".")[0] not in alive and temporary.size_of(name) is not None:
                temporary.remove(name)
