"""Which bundles have a running process, according to the mounts in /proc."""

import contextlib
import os
from collections.abc import Iterable, Iterator

_ROOT = "/"


def running_bundles(bundles: Iterable[str]) -> set[str]:
    """Return the bundles (absolute paths) whose root file system is the root of a process.

    Misses processes that this user may not inspect.
    """
    return set(_processes_in(bundles))


def process_in(bundle: str) -> int | None:
    """Return the ID of a process whose root is the root file system of a bundle, if one runs."""
    return _processes_in([bundle]).get(bundle)


def _processes_in(bundles: Iterable[str]) -> dict[str, int]:
    """Return the bundles that run, each with one of its processes."""
    wanted = {bundle: _Roots(bundle) for bundle in bundles}
    found: dict[str, int] = {}
    if not wanted:
        return found
    for process, device, root, options in _roots_of_processes():
        for bundle, roots in wanted.items():
            if roots.match(device, root, options):
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

    def match(self, device: tuple[int, int], root: str, options: list[str]) -> bool:
        if not self._uppers.isdisjoint(options):
            return True
        # The path is relative to the top of its file system, which may be mounted anywhere.
        return device == self._device and root != _ROOT and self._tree.endswith(root)


def _roots_of_processes() -> Iterator[tuple[int, tuple[int, int], str, list[str]]]:
    """Yield a process of each mount namespace: device, path and options of its root mount."""
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
                for found in _roots(lines):
                    yield int(process), *found
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
