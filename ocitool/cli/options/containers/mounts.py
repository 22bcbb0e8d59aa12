"""-v, --mount and --tmpfs: what a container sees besides its image."""

import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.expand import Group
from ocitool.cli.options.quantities import parse_size
from ocitool.cli.options.shared import settings
from ocitool.errors import UsageError
from ocitool.oci.quoting import quoted

if TYPE_CHECKING:
    from ocitool.containers.options import Bind, MountOptions, Tmpfs

PANEL = "Files of the container"
_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
# They say how a virtual machine caches files; on Linux they mean nothing.
_MEANINGLESS = ("cached", "delegated", "consistent", "default")
_LABELS = ("z", "Z")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_KEYS = {
    "source": "source",
    "src": "source",
    "target": "target",
    "destination": "target",
    "dst": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "bind-propagation": "propagation",
    "bind-nonrecursive": "nonrecursive",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
    "type": "type",
    "consistency": "consistency",
}
_OF_KIND = {
    "bind": ("source", "target", "readonly", "propagation", "nonrecursive", "consistency"),
    "tmpfs": ("target", "size", "mode", "readonly"),
    "volume": ("target",),
}
_NO_NAMES = "volumes by name do not exist here: mount a folder, as -v /PATH:/IN"
Remark = Callable[[str], object]

_Volume = Annotated[
    list[str] | None,
    typer.Option(
        "--volume",
        "-v",
        metavar="SRC:DST[:ro]",
        rich_help_panel=PANEL,
        help="Mount a file or folder of this machine; DST alone is a volume in memory. Repeatable.",
    ),
]
_Mount = Annotated[
    list[str] | None,
    typer.Option(
        "--mount",
        metavar="K=V,…",
        rich_help_panel=PANEL,
        help="The same by keys: type=bind,source=SRC,target=DST[,readonly] or "
        "type=tmpfs,target=DST[,tmpfs-size=S]. Repeatable.",
    ),
]
_Tmpfs = Annotated[
    list[str] | None,
    typer.Option(
        "--tmpfs",
        metavar="DST[:OPTIONS]",
        rich_help_panel=PANEL,
        help="An empty folder in memory, for example /run:size=64m,exec. Repeatable.",
    ),
]
_ReadOnly = Annotated[
    bool,
    typer.Option(
        "--read-only", rich_help_panel=PANEL, help="Let the container write to its mounts only."
    ),
]
_ShmSize = Annotated[
    str | None,
    typer.Option(
        "--shm-size", metavar="SIZE", rich_help_panel=PANEL, help="Size of /dev/shm. Default: 64m."
    ),
]
_Mkdir = Annotated[
    bool,
    typer.Option("--mkdir", rich_help_panel=PANEL, help="Make folders of -v that do not exist."),
]


def _build(
    context: typer.Context,
    *,
    volume: list[str] | None,
    mount: list[str] | None,
    tmpfs: list[str] | None,
    read_only: bool,
    shm_size: str | None,
    mkdir: bool,
) -> "MountOptions":
    from msgspec.structs import replace

    from ocitool.containers.options import MountOptions

    remark = settings(context).observer().remark
    found: list[Bind | Tmpfs | str] = [parse_volume(text, remark) for text in volume or ()]
    found += [parse_mount(text) for text in mount or ()]
    found += [parse_tmpfs(text) for text in tmpfs or ()]
    kinds = sorted_by_kind(found)
    binds = tuple(replace(bind, make=True) for bind in kinds.binds) if mkdir else kinds.binds
    size = MountOptions().shm_size if shm_size is None else parse_size(shm_size)
    return replace(kinds, binds=binds, read_only=read_only, shm_size=size)


def sorted_by_kind(found: "Sequence[Bind | Tmpfs | str]") -> "MountOptions":
    """Return mounts by their kind; text is the path of a volume in memory."""
    from ocitool.containers.options import Bind, MountOptions, Tmpfs

    return MountOptions(
        binds=tuple(one for one in found if isinstance(one, Bind)),
        tmpfs=tuple(one for one in found if isinstance(one, Tmpfs)),
        volumes=tuple(one for one in found if isinstance(one, str)),
    )


def parse_volume(text: str, remark: Remark) -> "Bind | str":
    """Read SRC:DST[:WORDS] or DST; UsageError for anything else. Remarks words without effect."""
    from ocitool.containers.options import Bind

    parts = text.split(":")
    if len(parts) == 1:
        return _plain_path(parts[0])
    if len(parts) > 3 or not all(parts[:2]):
        raise UsageError(
            f"-v {quoted(text)} is not a volume",
            hint="write -v SRC:DST or -v SRC:DST:ro; a path with ':' needs --mount",
        )
    read_only, propagation = False, "rprivate"
    for word in parts[2].split(",") if len(parts) > 2 else ():
        if word in _PROPAGATION:
            propagation = word
        elif word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in _LABELS:
            remark(f"-v {text}: {word} has no effect, because SELinux labels are not changed here")
        elif word not in _MEANINGLESS:
            raise UsageError(
                f"-v {quoted(text)}: {quoted(word)} is not a word for a volume",
                hint=f"ro, rw, {', '.join(_PROPAGATION)} are",
            )
    source = _source(parts[0], f"-v {quoted(text)}")
    return Bind(
        source=source, target=_plain_path(parts[1]), read_only=read_only, propagation=propagation
    )


def _source(text: str, what: str) -> str:
    if "/" not in text and text not in (".", ".."):
        raise UsageError(f"{what}: {quoted(text)} is not a path", hint=_NO_NAMES)
    return text


def _plain_path(text: str) -> str:
    """Return a path without its closing slash and double ones, which mean nothing."""
    return posixpath.normpath(f"/{text.lstrip('/')}") if text.startswith("/") else text


def parse_mount(text: str) -> "Bind | Tmpfs | str":
    """Read what --mount takes, such as type=bind,source=/a,target=/b; UsageError otherwise."""
    found = _fields(text)
    kind = found.pop("type", "volume")
    if kind not in _OF_KIND:
        raise UsageError(
            f"--mount type={quoted(kind)} is not possible", hint="type=bind or type=tmpfs is"
        )
    if kind == "volume" and "source" in found:
        raise UsageError(f"--mount {quoted(text)} names a volume", hint=_NO_NAMES)
    for key in found:
        if key not in _OF_KIND[kind]:
            raise UsageError(
                f"--mount {quoted(text)}: {key} means nothing for type={kind}", hint="leave it out"
            )
    if "target" not in found or (kind == "bind" and "source" not in found):
        wanted = "source=SRC,target=DST" if kind == "bind" else "target=DST"
        raise UsageError(
            f"--mount {quoted(text)} does not say what to mount",
            hint=f"write type={kind},{wanted}",
        )
    return _mount(kind, found)


def _mount(kind: str, found: dict[str, str]) -> "Bind | Tmpfs | str":
    from ocitool.containers.options import Bind, Tmpfs

    target = _plain_path(found["target"])
    if kind == "volume":
        return target
    if kind == "tmpfs":
        mode = [f"mode={_mode(found['mode'])}"] if "mode" in found else []
        size = [f"size={_short(parse_size(found['size']))}"] if "size" in found else []
        read_only = ["ro"] if _is_true(found.get("readonly", "false")) else []
        return Tmpfs(target=target, options=(*read_only, *mode, *size))
    propagation = found.get("propagation", "rprivate")
    if propagation not in _PROPAGATION:
        raise UsageError(
            f"bind-propagation={quoted(propagation)} is not a word of mount(8)",
            hint=f"{', '.join(_PROPAGATION)} are",
        )
    return Bind(
        source=found["source"],
        target=target,
        read_only=_is_true(found.get("readonly", "false")),
        propagation=propagation,
        recursive=not _is_true(found.get("nonrecursive", "false")),
    )


def _short(size: int) -> str:
    """Return a size as docker writes it, with the largest unit that divides it."""
    for power, unit in ((30, "g"), (20, "m"), (10, "k")):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def _fields(text: str) -> dict[str, str]:
    """Return the values of a line of --mount, which is one of CSV, by one name for each key."""
    import csv

    found: dict[str, str] = {}
    try:
        (parts,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise UsageError(f"--mount {quoted(text)} cannot be read", hint="write K=V,K=V") from None
    for part in parts:
        key, has_value, value = part.partition("=")
        name = _KEYS.get(key.strip().lower())
        if name is None:
            raise UsageError(
                f"--mount {quoted(text)}: {quoted(key)} is not a key",
                hint="type, source, target, readonly, bind-propagation, tmpfs-size, tmpfs-mode are",
            )
        if not has_value and name not in ("readonly", "nonrecursive"):
            raise UsageError(f"--mount {quoted(text)}: {key} has no value", hint=f"write {key}=V")
        found[name] = value if has_value else "true"
    return found


def _is_true(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise UsageError(f"{quoted(text)} is not true or false", hint="write true or false")
    return text.lower() in _TRUE


def _mode(text: str) -> str:
    digits = text.removeprefix("0o").lstrip("0") or "0"
    if len(digits) > 4 or not set(digits) <= set("01234567"):
        raise UsageError(f"tmpfs-mode={quoted(text)} is not a mode", hint="write it like 1770")
    return digits


def parse_tmpfs(text: str) -> "Tmpfs":
    """Read DST[:OPTIONS] with options of mount(8) for a tmpfs; UsageError for other options."""
    from ocitool.containers.options import Tmpfs

    target, _, options = text.partition(":")
    found = tuple(option for option in options.split(",") if option)
    for option in found:
        name, _, value = option.partition("=")
        if name not in _TMPFS or bool(value) != _TMPFS[name]:
            raise UsageError(
                f"--tmpfs {quoted(text)}: {quoted(option)} is not an option of a tmpfs",
                hint="size=S, mode=M, uid=U, gid=G, nr_inodes=N, exec, suid, dev and ro are",
            )
    return Tmpfs(target=_plain_path(target), options=found)


# The options of a tmpfs, and whether each has a value.
_TMPFS = {
    **dict.fromkeys(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"), True),
    **dict.fromkeys(
        "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand "  # noqa: SIM905
        "atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime".split(),
        False,
    ),
}

MOUNTS = Group(
    {
        "volume": (_Volume, None),
        "mount": (_Mount, None),
        "tmpfs": (_Tmpfs, None),
        "read_only": (_ReadOnly, False),
        "shm_size": (_ShmSize, None),
        "mkdir": (_Mkdir, False),
    },
    _build,
)
