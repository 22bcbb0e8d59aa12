"""Telling one state of a file from another without reading it."""

import os
import stat
import time

from msgspec import Struct

from ocitool.fsops.directory import Directory

_CLOCK_GRAIN = 50_000_000
"""Nanoseconds: coarser than the clock of any file system that is likely to be used."""


class Stamp(Struct, frozen=True, kw_only=True, eq=False):
    """Identifies one state of a file. Times are nanoseconds since the epoch.

    Equal stamps mean an equal file only if `is_stable`, which does not count in a comparison. A
    file that changed a moment ago may change again within the same tick of the file system's clock,
    and its stamp would not tell.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int
    is_stable: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and self._state == other._state

    def __hash__(self) -> int:
        return hash(self._state)

    @property
    def _state(self) -> tuple[int, ...]:
        return self.device, self.inode, self.size, self.modified, self.changed

    @classmethod
    def of(cls, directory: Directory, name: str) -> "Stamp | None":
        """Return the stamp of a regular file, links not followed; None if there is none."""
        try:
            status = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
        except OSError:
            return None
        return cls._of(status)

    @classmethod
    def of_file(cls, descriptor: int) -> "Stamp | None":
        """Return the stamp of an open regular file; None for one that has no name any more."""
        status = os.fstat(descriptor)
        return cls._of(status) if status.st_nlink else None

    @classmethod
    def _of(cls, status: os.stat_result) -> "Stamp | None":
        if not stat.S_ISREG(status.st_mode):
            return None
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
            is_stable=time.time_ns() - status.st_ctime_ns > _CLOCK_GRAIN,
        )

    @property
    def text(self) -> str | None:
        """The stamp as a text that can be kept; None if it is not stable."""
        if not self.is_stable:
            return None
        return f"{self.device}:{self.inode}:{self.size}:{self.modified}:{self.changed}"
