"""The user a container runs as, by the image's own /etc/passwd and /etc/group.

OCI image-spec config.md ("User") and conversion.md: a name or number, with a group or without.
"""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import MalformedDocument, NotFound
from ocitool.image.layers import Tree
from ocitool.oci.quoting import quoted

_FILE_BYTES = 4 << 20
_LARGEST_ID = (1 << 32) - 2


class RuntimeUser(Struct, frozen=True, kw_only=True):
    """The numbers of a user, its group, and the groups it is in besides."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


def user_of(tree: Tree, text: str) -> RuntimeUser:
    """Return the user that an image's `User` means in its root file system.

    Without a group it is in the groups that the image says; a number that nobody has is in group 0.
    NotFound for a name that the image does not know.
    """
    name, colon, group = text.partition(":")
    name = name or "0"
    known = _user(tree, name)
    if known is None and not name.isdecimal():
        raise NotFound(
            f"the image runs as {quoted(name)}, but its /etc/passwd knows no such user",
            hint="the image is broken; correct its USER",
        )
    called, uid, own_group = known or (None, _number(name), 0)
    if colon and group:
        return RuntimeUser(uid=uid, gid=_group(tree, group))
    groups = _groups_of(tree, called) if called is not None else ()
    return RuntimeUser(uid=uid, gid=own_group, groups=groups)


def _user(tree: Tree, name: str) -> tuple[str, int, int] | None:
    """Return (name, user, group) of an entry of /etc/passwd: by its name, else by its number."""
    by_number = None
    for fields in _entries(tree, "etc/passwd", 4):
        if fields[2].isdecimal() and fields[3].isdecimal():
            entry = (fields[0], _number(fields[2]), _number(fields[3]))
            if fields[0] == name:
                return entry
            if fields[2] == name and by_number is None:
                by_number = entry
    return by_number


def _group(tree: Tree, name: str) -> int:
    for fields in _entries(tree, "etc/group", 3):
        if fields[0] == name and fields[2].isdecimal():
            return _number(fields[2])
    if not name.isdecimal():
        raise NotFound(
            f"the image runs as the group {quoted(name)}, but its /etc/group knows no such group",
            hint="the image is broken; correct its USER",
        )
    return _number(name)


def _groups_of(tree: Tree, user: str) -> tuple[int, ...]:
    found = [
        _number(fields[2])
        for fields in _entries(tree, "etc/group", 4)
        if fields[2].isdecimal() and user in fields[3].split(",")
    ]
    return tuple(dict.fromkeys(found))


def _entries(tree: Tree, path: str, fields: int) -> Iterator[list[str]]:
    """Yield the lines of a file of the image that have so many fields at least."""
    data = tree.read(path, _FILE_BYTES)
    for line in (data or b"").decode("utf-8", "replace").splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields:
            yield parts


def _number(text: str) -> int:
    number = int(text) if len(text) <= len(str(_LARGEST_ID)) else _LARGEST_ID + 1
    if number > _LARGEST_ID:
        raise MalformedDocument(f"{quoted(text)} is too large for the number of a user or group")
    return number
