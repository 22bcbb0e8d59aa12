"""How much may be unpacked: the limits, and the space on the disk."""

from typing import Final

from ocitool.errors import LimitExceeded, StorageError
from ocitool.fsops import Directory
from ocitool.oci import Limits

LOOK_AT_THE_DISK: Final = 16 << 20
"""The free space is checked again after this many bytes."""
_ENTRY_COST = 4096


class Budget:
    """What may still be unpacked: members, bytes, and space on the disk."""

    def __init__(self, root: Directory, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._unlooked = LOOK_AT_THE_DISK
        self.entries = 0
        self.size = 0

    def count_entry(self) -> None:
        """Count a member; LimitExceeded or StorageError if there are too many."""
        self.entries += 1
        if self.entries > self._limits.extracted_entries:
            limit = self._limits.extracted_entries
            raise LimitExceeded(f"the layers have more than {limit} members to unpack")
        self._spend(_ENTRY_COST)

    def count_bytes(self, count: int, *, expected: int = 0) -> None:
        """Count bytes that were written; refuse `expected` bytes before they are written."""
        self.size += count
        if self.size + expected > self._limits.extracted_bytes:
            limit = self._limits.extracted_bytes
            raise LimitExceeded(f"the layers unpack to more than {limit} bytes")
        self._spend(count)

    def _spend(self, count: int) -> None:
        self._unlooked += count
        if self._unlooked < LOOK_AT_THE_DISK:
            return
        self._unlooked = 0
        free, total = self._root.free_space()
        if free * 100 < total * self._limits.free_disk_percent:
            raise StorageError(
                f"less than {self._limits.free_disk_percent} % of the disk would be left free",
                hint="free some space, or choose another disk",
            )
