"""The config.json of a bundle: what an image's config means to a runtime.

The rules are those of image-spec conversion.md. What they leave open is set as `runc spec` does
(runtime-spec config.md and config-linux.md). Root gets Docker's capabilities, because the entry
points of many images need them; other users get none.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ocitool.containers.users import RuntimeUser
from ocitool.errors import UsageError
from ocitool.oci import ImageConfig

RUNTIME_VERSION = "1.0.2"
ID_ANNOTATION = "io.ocitool.container.id"
IMAGE_ANNOTATION = "io.ocitool.container.image"
_PREFIX = "org.opencontainers.image."
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_HOSTNAME_LENGTH = 63

Json = dict[str, object]


class Layers(Struct, frozen=True, kw_only=True):
    """The folders of an overlay mount: lowerdir, upperdir and workdir (absolute paths)."""

    lower: str
    upper: str
    work: str


class Volume(Struct, frozen=True, kw_only=True):
    """A folder that starts as a copy of the image's; `path` is absolute in the container."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Purpose(Struct, frozen=True, kw_only=True):
    """What a bundle is made for. `rootless` is the (user, group) that becomes root inside."""

    container_id: str
    hostname: str
    image: str
    user: RuntimeUser
    command: Sequence[str] = ()
    volumes: Sequence[Volume] = ()
    layers: Layers | None = None
    rootless: tuple[int, int] | None = None


def runtime_config(config: ImageConfig, purpose: Purpose) -> Json:
    """Return the document; UsageError if neither the image nor `command` says what to run."""
    return {
        "ociVersion": RUNTIME_VERSION,
        "process": _process(config, purpose),
        "root": {"path": "rootfs", "readonly": False},
        "hostname": purpose.hostname[:_HOSTNAME_LENGTH],
        "mounts": [*_root(purpose), *_mounts(purpose), *_volumes(purpose)],
        "annotations": _annotations(config, purpose),
        "linux": _linux(purpose),
    }


def _process(config: ImageConfig, purpose: Purpose) -> Json:
    run, user = config.config, purpose.user
    # A command replaces the image's Cmd and leaves its Entrypoint, as with docker.
    arguments = [*run.entrypoint, *(purpose.command or run.cmd)]
    if not arguments:
        raise UsageError(
            f"the image {purpose.image} does not say what to run",
            hint="write the command after the name",
        )
    held = _CAPABILITIES if user.uid == 0 else []
    return {
        "terminal": False,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": arguments,
        "env": [*([] if _sets_path(run.env) else [_PATH]), *run.env],
        "cwd": _absolute(run.working_dir),
        "capabilities": {"bounding": _CAPABILITIES, "effective": held, "permitted": held},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _sets_path(env: Sequence[str]) -> bool:
    return any(line.startswith("PATH=") for line in env)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


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


def _mounts(purpose: Purpose) -> list[Json]:
    rootless = purpose.rootless is not None
    private = ("nosuid", "noexec", "nodev")
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if rootless:
        system = _mount("/sys", "none", "/sys", "rbind", *private, "ro")
    else:
        system = _mount("/sys", "sysfs", "sysfs", *private, "ro")
        # Group 5 is `tty`; in a namespace with only one user that group does not exist.
        terminals.append("gid=5")
    memory = ("nosuid", "strictatime", "mode=755", "size=65536k")
    return [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", *memory),
        _mount("/dev/pts", "devpts", "devpts", *terminals),
        _mount("/dev/shm", "tmpfs", "shm", *private, "mode=1777", "size=65536k"),  # noqa: S108
        _mount("/dev/mqueue", "mqueue", "mqueue", *private),
        system,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *private, "relatime", "ro"),
    ]


def _volumes(purpose: Purpose) -> list[Json]:
    """Return a tmpfs for each volume: a copy of the image's folder, as long as it runs."""
    return [
        _mount(
            volume.path,
            "tmpfs",
            "tmpfs",
            *("nosuid", "nodev", "tmpcopyup"),
            *(f"mode={volume.mode:o}", f"uid={volume.uid}", f"gid={volume.gid}"),
        )
        for volume in purpose.volumes
        # The kernel's file systems are not writable, and runtimes refuse to mount over them.
        if volume.path.split("/")[1] not in ("proc", "sys") and volume.path != "/dev"
    ]


def _mount(destination: str, kind: str, source: str, *options: str) -> Json:
    found: Json = {"destination": destination, "type": kind, "source": source}
    return {**found, "options": list(options)} if options else found


def _annotations(config: ImageConfig, purpose: Purpose) -> dict[str, str]:
    """Return what conversion.md calls implicit annotations; the image's labels take precedence."""
    run, platform = config.config, config.platform
    implicit = {
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": ",".join(platform.os_features),
        "architecture": platform.architecture,
        "variant": platform.variant,
        "author": config.author,
        "created": config.created,
        "stopSignal": run.stop_signal,
        "exposedPorts": ",".join(run.exposed_ports),
    }
    return {
        **{f"{_PREFIX}{key}": value for key, value in implicit.items() if value},
        **run.labels,
        ID_ANNOTATION: purpose.container_id,
        IMAGE_ANNOTATION: purpose.image,
    }


def _linux(purpose: Purpose) -> Json:
    kinds = ["pid", "ipc", "uts", "mount"]
    own: Mapping[str, object]
    if purpose.rootless is None:
        kinds.insert(1, "network")
        own = {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    else:
        kinds.append("user")
        user, group = purpose.rootless
        own = {
            "uidMappings": [{"containerID": 0, "hostID": user, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": group, "size": 1}],
        }
    return {
        **own,
        "namespaces": [{"type": kind} for kind in kinds],
        "maskedPaths": _MASKED,
        "readonlyPaths": _READ_ONLY,
    }
