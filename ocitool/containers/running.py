"""Which bundles have a running process, according to the mounts in /proc."""

import contextlib
import os
from collections.abc import Iterable, Iterator

_ROOT = "/"


def running_bundles(bundles: Iterable[str]) -> set[str]:
    """Return the bundles (absolute paths) whose root file system is the root of a process.

    Misses processes that this user may not inspect.
    """
    wanted = {bundle: _Roots(bundle) for bundle in bundles}
    if not wanted:
        return set()
    found = set()
    for device, root, options in _roots_of_processes():
        for bundle, roots in wanted.items():
            if roots.match(device, root, options):
                found.add(bundle)
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

    def match(self, device: tuple[int, int], root: str, options: list[str]) -> bool:
        if not self._uppers.isdisjoint(options):
            return True
        # The path is relative to the top of its file system, which may be mounted anywhere.
        return device == self._device and root != _ROOT and self._tree.endswith(root)


def _roots_of_processes() -> Iterator[tuple[tuple[int, int], str, list[str]]]:
    """Yield device, path and options of the root mount of each mount namespace."""
    seen: set[str] = set()
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{process}/ns/mnt")
            if namespace in seen:
                continue
            seen.add(namespace)
            with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="replace") as lines:
                yield from _roots(lines)
        except OSError:
            continue


def _roots(lines: Iterable[str]) -> Iterator[tuple[tuple[int, int], str, list[str]]]:
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[4] == _ROOT:
            major, _, minor = fields[2].partition(":")
            yield (int(major), int(minor)), _plain(fields[3]), _plain(fields[-1]).split(",")


def _plain(text: str) -> str:
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, character)
    return text
