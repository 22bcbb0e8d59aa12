"""Control groups: which limits this machine can keep, and where a container's group goes.

Version 1 has a tree for each controller, version 2 one tree for all (cgroups(7)). Root may use all
of it. Another user needs a part that was delegated, which only version 2 allows safely.
"""

import os

from msgspec import Struct
from msgspec.structs import replace

from ocitool.containers.options import ResourceLimits
from ocitool.errors import Refused

_ROOT = "/sys/fs/cgroup"
_OWN = "/proc/self/cgroup"
_PARENT = "ocitool"
_NO_LIMITS = ResourceLimits()


class Cgroups(Struct, frozen=True, kw_only=True):
    """What the control groups of this machine offer to this user.

    `parent` is where groups of containers go, from the top of the tree; None if this user may make
    none. `swap` tells whether swap is counted, `unified` whether this is version 2.
    """

    controllers: frozenset[str] = frozenset()
    parent: str | None = None
    swap: bool = False
    unified: bool = False


class Kept(Struct, frozen=True, kw_only=True):
    """The limits that can be kept, and a remark for each that was left out."""

    limits: ResourceLimits
    remarks: tuple[str, ...] = ()


def find_cgroups(*, rootless: bool, root: str = _ROOT, own: str = _OWN) -> Cgroups:
    """Return what there is; `root` and `own` are the folder and the file of the kernel."""
    if not os.path.exists(f"{root}/cgroup.controllers"):
        return _version_1(root, rootless=rootless)
    if not rootless:
        return Cgroups(
            controllers=_words(f"{root}/cgroup.controllers"),
            parent=f"/{_PARENT}",
            swap=_counts_swap(root),
            unified=True,
        )
    return _delegated(root, own)


def _version_1(root: str, *, rootless: bool) -> Cgroups:
    if rootless or not os.path.isdir(root):
        return Cgroups()
    found = {name for folder in os.listdir(root) for name in folder.split(",")}
    return Cgroups(
        controllers=frozenset(found),
        parent=f"/{_PARENT}",
        swap=os.path.exists(f"{root}/memory/memory.memsw.limit_in_bytes"),
    )


def _delegated(root: str, own: str) -> Cgroups:
    """Return the highest group above this process that this user may change."""
    best = Cgroups(unified=True)
    path = _own_path(own)
    while path != "/":
        if os.access(f"{root}{path}/cgroup.procs", os.W_OK) and os.access(
            f"{root}{path}/cgroup.subtree_control", os.W_OK
        ):
            controllers = _words(f"{root}{path}/cgroup.controllers")
            parent = f"{path}/{_PARENT}"
            best = Cgroups(controllers=controllers, parent=parent, swap=True, unified=True)
        path = os.path.dirname(path)
    return best


def _own_path(own: str) -> str:
    for line in _text(own).splitlines():
        number, _, path = line.split(":", 2)
        if number == "0" and path.startswith("/"):
            return path
    return "/"


def _counts_swap(root: str) -> bool:
    """Tell whether a group counts swap; the top of the tree itself has no such file."""
    groups = (entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    found = [os.path.exists(f"{group.path}/memory.swap.max") for group in groups]
    return any(found) or not found


def keep_limits(limits: ResourceLimits, cgroups: Cgroups, *, rootless: bool) -> Kept:
    """Return the limits that can be kept here; Refused for others, unless best effort will do."""
    missing = [
        (option, names)
        for option, controller, names in _needed(limits)
        if controller not in cgroups.controllers
    ]
    if missing and not limits.best_effort:
        raise _refused([option for option, _ in missing], rootless=rootless)
    remarks = [f"{option} is left out: there is no control group for it" for option, _ in missing]
    for _, names in missing:
        limits = replace(limits, **{name: getattr(_NO_LIMITS, name) for name in names})
    if limits.memory and limits.memory_swap != -1 and not cgroups.swap:
        limits = replace(limits, memory_swap=-1)
        remarks.append("swap is not limited: the kernel does not count it")
    return Kept(limits=limits, remarks=tuple(remarks))


def has_limits(limits: ResourceLimits) -> bool:
    """Tell whether a limit needs a control group."""
    return bool(_needed(limits))


def _needed(limits: ResourceLimits) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return each limit that was asked for, its controller, and the fields that it stands in."""
    known = (
        ("--memory", "memory", ("memory", "memory_swap")),
        ("--memory-reservation", "memory", ("memory_reservation",)),
        ("--cpus", "cpu", ("cpus",)),
        ("--cpu-shares", "cpu", ("cpu_shares",)),
        ("--cpuset-cpus", "cpuset", ("cpuset_cpus",)),
        ("--pids-limit", "pids", ("pids",)),
    )
    return [one for one in known if _is_set(getattr(limits, one[2][0]))]


def _is_set(value: int | str) -> bool:
    return bool(value) and value != -1


def _refused(options: list[str], *, rootless: bool) -> Refused:
    text = " and ".join(options)
    way = "make the container as root" if rootless else "mount the control groups"
    if rootless:
        way += ", or in a part that systemd gave you: `systemd-run --user --scope -p Delegate=yes`"
    return Refused(
        f"{text} cannot be kept: this user has no control group for it"
        if rootless
        else f"{text} cannot be kept: this machine has no control group for it",
        hint=f"{way}; --best-effort-limits leaves out what cannot be kept",
    )


def _words(path: str) -> frozenset[str]:
    return frozenset(_text(path).split())


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
