"""Which bundles have a running process, according to the mounts in /proc."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from ocitool.containers.mountinfo import Mount, mounts_of

_ROOT = "/"


def process_in(bundle: str) -> int | None:
    """Return the ID of a process whose root is the root file system of a bundle, if one runs."""
    return processes_in([bundle]).get(bundle)


def processes_in(bundles: Iterable[str]) -> dict[str, int]:
    """Return the bundles (absolute paths) that run, each with one of its processes.

    A bundle runs if its root file system is the root of a process. Misses processes that this user
    may not inspect.
    """
    wanted = {bundle: _Roots(bundle) for bundle in bundles}
    found: dict[str, int] = {}
    if not wanted:
        return found
    for process, mount in _roots_of_processes():
        for bundle, roots in wanted.items():
            if roots.match(mount):
                found.setdefault(bundle, process)
    return found


class _Roots:
    """What the mount of a bundle's root file system looks like in mountinfo."""

    def __init__(self, bundle: str) -> None:
        real = os.path.realpath(bundle)
        self._tree = os.path.join(real, "rootfs")
        # The kernel shows the path as it stands in config.json, links included.
        self._uppers = {f"upperdir={os.path.join(path, 'upper')}" for path in (real, bundle)}
        self._device: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            number = os.stat(self._tree).st_dev
            self._device = (os.major(number), os.minor(number))

    def match(self, mount: Mount) -> bool:
        """Tell whether a mount is the root file system of a container of the bundle."""
        if not self._uppers.isdisjoint(mount.options):
            return True
        # The path is relative to the top of its file system, which may be mounted anywhere.
        return (
            mount.device == self._device and mount.root != _ROOT and self._tree.endswith(mount.root)
        )


def _roots_of_processes() -> Iterator[tuple[int, Mount]]:
    """Yield a process of each mount namespace, and its root mounts."""
    seen: set[str] = set()
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            for mount in mounts_of(process):
                if mount.point == _ROOT:
                    yield int(process), mount
        except OSError:
            continue
