"""What the config.json of a bundle says about its files (runtime-spec config.md)."""

import posixpath
from collections.abc import Mapping

from msgspec import Struct

from ocitool.containers.bundles import CONFIG_BYTES, CONFIG_FILE
from ocitool.containers.records import Container
from ocitool.errors import NotFound
from ocitool.fsops import Directory
from ocitool.oci import document


class IdRange(Struct, frozen=True, kw_only=True):
    """IDs from `inside` on in the container are those from `outside` on of the host."""

    inside: int
    outside: int
    size: int


class BundleFacts(Struct, frozen=True, kw_only=True):
    """What a bundle was made with.

    `mounts` are the paths of all mounts except the root's, such as "etc/hosts". `is_rootless` tells
    whether the overlay keeps its marks in attributes of users. `users` and `groups` map IDs, empty
    without a user namespace. `config` is the whole document.
    """

    config: Mapping[str, object]
    mounts: frozenset[str]
    is_rootless: bool
    users: tuple[IdRange, ...] = ()
    groups: tuple[IdRange, ...] = ()

    @property
    def is_read_only(self) -> bool:
        """Whether the container cannot write to its root."""
        root = document.optional_object(self.config, "root", CONFIG_FILE) or {}
        return document.optional_boolean(root, "readonly", CONFIG_FILE)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line of the container's process."""
        process = document.optional_object(self.config, "process", CONFIG_FILE) or {}
        return document.strings(process, "args", CONFIG_FILE)

    @property
    def memory_limit(self) -> int | None:
        """How many bytes of memory the container may use; None without a limit."""
        found: Mapping[str, object] = self.config
        for key in ("linux", "resources", "memory"):
            found = document.optional_object(found, key, CONFIG_FILE) or {}
        limit = document.optional_integer(found, "limit", CONFIG_FILE)
        return limit if limit is not None and limit > 0 else None

    def owner(self, user: int, group: int) -> tuple[int, int]:
        """Return the owner in the container of a file that the host says is of these."""
        return _mapped(self.users, user), _mapped(self.groups, group)


def open_bundle(container: Container) -> Directory:
    """Open the bundle of a container; NotFound if it was removed by another program."""
    try:
        return Directory.open(container.bundle)
    except NotFound as error:
        raise NotFound(
            f"the bundle of container {container.name} is gone: {container.bundle!r}",
            hint=f"`ocitool container rm {container.name}` removes its record",
        ) from error


def read_facts(bundle: Directory) -> BundleFacts:
    """Read config.json; MalformedDocument if it is not one of a bundle."""
    data = bundle.read_file(CONFIG_FILE, CONFIG_BYTES)
    config = document.decode_object(data, what=CONFIG_FILE, limit=CONFIG_BYTES)
    linux = document.optional_object(config, "linux", CONFIG_FILE) or {}
    users, groups = (_ranges(linux, key) for key in ("uidMappings", "gidMappings"))
    mounts = [
        posixpath.normpath("/" + document.string(mount, "destination", CONFIG_FILE).lstrip("/"))
        for mount in _objects(config, "mounts")
    ]
    return BundleFacts(
        config=config,
        mounts=frozenset(path[1:] for path in mounts if path != "/"),
        is_rootless=bool(users),
        users=users,
        groups=groups,
    )


def _ranges(linux: Mapping[str, object], key: str) -> tuple[IdRange, ...]:
    return tuple(
        IdRange(
            inside=document.integer(one, "containerID", CONFIG_FILE),
            outside=document.integer(one, "hostID", CONFIG_FILE),
            size=document.integer(one, "size", CONFIG_FILE),
        )
        for one in _objects(linux, key)
    )


def _objects(fields: Mapping[str, object], key: str) -> list[dict[str, object]]:
    values = document.optional_array(fields, key, CONFIG_FILE)
    return [document.as_object(value, f"{CONFIG_FILE}: {key}") for value in values]


def _mapped(ranges: tuple[IdRange, ...], number: int) -> int:
    for one in ranges:
        if one.outside <= number < one.outside + one.size:
            return one.inside + number - one.outside
    return number
