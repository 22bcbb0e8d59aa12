"""What is mounted from the host: whether it is there, and whether it can be shared as asked."""

import os
import posixpath
from collections import Counter

from ocitool.containers.mountinfo import Mount, mounts_of
from ocitool.containers.options import Bind, MountOptions
from ocitool.errors import NotFound, Refused, UsageError
from ocitool.fsops import Directory
from ocitool.oci.quoting import quoted

_NEVER = ("/proc",)


def check_mounts(options: MountOptions) -> None:
    """Refuse what cannot be mounted: UsageError, or NotFound for a source that is not there."""
    targets = [*options.targets, *options.volumes]
    for target in targets:
        _check_target(target)
    for target, count in Counter(targets).items():
        if count > 1:
            raise UsageError(
                f"{quoted(target)} is mounted {count} times", hint="leave one of them out"
            )
    if options.shm_size <= 0:
        raise UsageError("--shm-size is 0", hint="give a size such as 64m")
    for bind in options.binds:
        _check_source(bind)


def _check_target(target: str) -> None:
    if not target.startswith("/") or "\0" in target:
        raise UsageError(
            f"{quoted(target)} is not an absolute path in the container",
            hint=f"write {quoted('/' + target.lstrip('/'))}",
        )
    path = posixpath.normpath(target)
    if path in ("/", "//"):
        raise UsageError("nothing can be mounted at '/'", hint="name a folder below it")
    if path != target:
        raise UsageError(f"{quoted(target)} is not a plain path", hint=f"write {quoted(path)}")
    if path in _NEVER or path.startswith(tuple(f"{one}/" for one in _NEVER)):
        raise UsageError(
            f"nothing can be mounted at {quoted(path)}: runtimes refuse it",
            hint="name a folder outside of /proc",
        )


def _check_source(bind: Bind) -> None:
    source = bind.source
    if not source.startswith("/") or "\0" in source:
        raise UsageError(
            f"{quoted(source)} is not an absolute path of the host",
            hint=f"write {quoted(os.path.abspath(source))}; volumes by name do not exist here",
        )
    if not os.path.lexists(source) and not bind.make:
        raise NotFound(
            f"{quoted(source)} does not exist, so it cannot be mounted",
            hint="make it first, or let --mkdir make a folder",
        )
    if os.path.lexists(source) and not os.path.exists(source):
        raise NotFound(f"{quoted(source)} is a link to nothing", hint="correct the link")
    _check_propagation(bind)


def _check_propagation(bind: Bind) -> None:
    """Refuse to share a mount with the host that the host does not share."""
    word = bind.propagation.removeprefix("r")
    if word not in ("shared", "slave"):
        return
    mount = _mount_of(bind.source)
    kinds = ("shared:",) if word == "shared" else ("shared:", "master:")
    if not any(one.startswith(kinds) for one in mount.shared):
        raise Refused(
            f"{quoted(bind.source)} cannot be mounted {bind.propagation}: it lies on the mount "
            f"{quoted(mount.point)}, which is not shared",
            hint=f"run `mount --make-rshared {mount.point}` as root, or "
            f"leave out {bind.propagation}",
        )


def _mount_of(path: str) -> Mount:
    """Return the mount that a path lies on: the last of those with the longest mount point."""
    real = os.path.realpath(path)
    over = [
        mount
        for mount in mounts_of()
        if real == mount.point or real.startswith(f"{mount.point.rstrip('/')}/")
    ]
    longest = max(len(mount.point) for mount in over)
    return [mount for mount in over if len(mount.point) == longest][-1]


def make_sources(options: MountOptions) -> None:
    """Make the folders of the host that are to be made."""
    for bind in options.binds:
        if bind.make and not os.path.lexists(bind.source):
            Directory.create(bind.source).close()
