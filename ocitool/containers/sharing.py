"""Whether containers can share one unpacked tree, that is, whether an overlay can be mounted.

The bundle describes the overlay, and the runtime mounts it in the container's own mount namespace.
So nothing is mounted on the host, a reboot loses nothing, and it also works without root privileges
(since Linux 5.11).
"""

import contextlib
import os
import re

from ocitool.containers.mountinfo import mounts_of

_KINDS_BELOW = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs"})
_ROOTLESS_SINCE = (5, 11)
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./@+=-]+")
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def can_share(*folders: str, rootless: bool) -> bool:
    """Tell whether the kernel can mount an overlay of these folders, which need not exist yet."""
    if rootless and _kernel() < _ROOTLESS_SINCE:
        return False
    if not all(_PLAIN_PATH.fullmatch(folder) for folder in folders):
        # Commas and colons separate mount options, and runtimes do not escape them.
        return False
    return _knows_overlays() and all(_kind_of(folder) in _KINDS_BELOW for folder in folders)


def _knows_overlays() -> bool:
    return any(line.split()[-1:] == ["overlay"] for line in _lines("/proc/filesystems"))


def _kind_of(folder: str) -> str | None:
    """Return the type of the file system that holds a folder, by its device number."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        device = os.stat(folder).st_dev
    except OSError:
        return None
    number = (os.major(device), os.minor(device))
    with contextlib.suppress(OSError):
        return next((mount.kind for mount in mounts_of() if mount.device == number), None)
    return None


def _kernel() -> tuple[int, int]:
    match = _RELEASE.match(os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []
