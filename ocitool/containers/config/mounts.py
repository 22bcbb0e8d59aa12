"""What is mounted in a container (runtime-spec config.md, "Mounts"), in docker's order."""

import os
import posixpath
from collections.abc import Iterable

from ocitool.containers.config.files import FILES
from ocitool.containers.config.purpose import Json, Purpose
from ocitool.containers.options import Bind, Tmpfs

_PRIVATE = ("nosuid", "noexec", "nodev")
# Pairs of which a mount has one, from mount(8).
_OPPOSITES = {
    word: pair
    for pair in (("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("rw", "ro"))
    for word in pair
}
# The flags of a mount that a user namespace may not drop, by their bits in statvfs(3).
_LOCKED = {
    os.ST_RDONLY: "ro",
    os.ST_NODEV: "nodev",
    os.ST_NOEXEC: "noexec",
    os.ST_NOSUID: "nosuid",
    os.ST_NOATIME: "noatime",
    os.ST_NODIRATIME: "nodiratime",
    os.ST_RELATIME: "relatime",
}


def mounts(purpose: Purpose) -> list[Json]:
    """Return all mounts: the root, the kernel's file systems, and what was asked for.

    What was asked for takes the place of a usual mount at the same path.
    """
    asked = _sorted([*_binds(purpose), *_tmpfs(purpose), *_volumes(purpose), *_files(purpose)])
    taken = {str(mount["destination"]) for mount in asked}
    usual = [mount for mount in _usual(purpose) if not _is_taken(mount, taken)]
    return [*_root(purpose), *usual, *asked]


def _is_taken(mount: Json, taken: set[str]) -> bool:
    path = str(mount["destination"])
    return path in taken or (path.startswith("/dev/") and "/dev" in taken)


def _sorted(found: Iterable[Json]) -> list[Json]:
    """Return mounts in an order in which none hides one that was mounted before."""
    return sorted(found, key=lambda mount: str(mount["destination"]).rstrip("/").count("/"))


def _root(purpose: Purpose) -> list[Json]:
    """Return the overlay mount of a shared tree and the folder for this container's changes."""
    layers = purpose.layers
    if layers is None:
        return []
    options = [
        f"lowerdir={layers.lower}",
        f"upperdir={layers.upper}",
        f"workdir={layers.work}",
        # Without root privileges an overlay must keep its marks in user.* attributes.
        *(["userxattr"] if purpose.rootless is not None else []),
    ]
    return [_mount("/", "overlay", "overlay", *options)]


def _usual(purpose: Purpose) -> list[Json]:
    rootless = purpose.rootless is not None
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if rootless:
        system = _mount("/sys", "none", "/sys", "rbind", *_PRIVATE, "ro")
    else:
        system = _mount("/sys", "sysfs", "sysfs", *_PRIVATE, "ro")
        # Group 5 is `tty`; in a namespace with only one user that group does not exist.
        terminals.append("gid=5")
    shared = ("mode=1777", f"size={purpose.options.mounts.shm_size}")
    return [
        _mount("/proc", "proc", "proc", *_PRIVATE),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", *terminals),
        system,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", *_PRIVATE),
        _mount("/dev/mqueue", "mqueue", "mqueue", *_PRIVATE),
        _mount("/dev/shm", "tmpfs", "shm", *_PRIVATE, *shared),  # noqa: S108
    ]


def _binds(purpose: Purpose) -> list[Json]:
    return [_bind(bind, purpose) for bind in purpose.options.mounts.binds]


def _bind(bind: Bind, purpose: Purpose) -> Json:
    options = [
        "rbind" if bind.recursive else "bind",
        *(["ro"] if bind.read_only else []),
        bind.propagation,
    ]
    if purpose.rootless is not None:
        options += [flag for flag in _locked_flags(bind.source) if flag not in options]
    return _mount(bind.target, "bind", bind.source, *options)


def _locked_flags(source: str) -> list[str]:
    """Return the flags that a mount keeps in a user namespace: the kernel refuses to drop them."""
    try:
        flags = os.statvfs(source).f_flag
    except OSError:
        return []
    return [word for bit, word in _LOCKED.items() if flags & bit]


def _tmpfs(purpose: Purpose) -> list[Json]:
    return [
        _mount(one.target, "tmpfs", "tmpfs", *_merged(one)) for one in purpose.options.mounts.tmpfs
    ]


def _merged(one: Tmpfs) -> list[str]:
    """Return docker's options for a tmpfs with those asked for; the last of a pair counts."""
    found: dict[object, str] = {}
    for option in ("noexec", "nosuid", "nodev", "rprivate", *one.options):
        key: object = _OPPOSITES.get(option, option.partition("=")[0])
        found.pop(key, None)
        found[key] = option
    return list(found.values())


def _volumes(purpose: Purpose) -> list[Json]:
    """Return a tmpfs for each volume: a copy of the image's folder, as long as it runs."""
    asked = purpose.options.mounts
    taken = asked.targets
    return [
        _mount(
            volume.path,
            "tmpfs",
            "tmpfs",
            *("nosuid", "nodev", "tmpcopyup"),
            *(f"mode={volume.mode:o}", f"uid={volume.uid}", f"gid={volume.gid}"),
        )
        for volume in purpose.volumes
        if volume.path not in taken
        # The kernel's file systems are not writable, and runtimes refuse to mount over them.
        and volume.path.split("/")[1] not in ("proc", "sys")
        and volume.path != "/dev"
    ]


def _files(purpose: Purpose) -> list[Json]:
    """Return the mounts of the files of the bundle that say what the host is called."""
    asked = purpose.options.mounts
    taken = asked.targets
    options = ("rbind", "ro", "rprivate") if asked.read_only else ("rbind", "rprivate")
    return [
        _mount(path, "bind", posixpath.join(purpose.place, name), *options)
        for path, name in FILES.items()
        if path not in taken
    ]


def _mount(destination: str, kind: str, source: str, *options: str) -> Json:
    found: Json = {"destination": destination, "type": kind, "source": source}
    return {**found, "options": list(options)} if options else found
