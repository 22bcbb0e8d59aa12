"""The user a container runs as, according to /etc/passwd and /etc/group of the image.

OCI image-spec config.md ("User") and conversion.md: a name or number, with or without a group.
"""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import MalformedDocument, NotFound
from ocitool.image.layers import Tree
from ocitool.oci.quoting import quoted

_FILE_BYTES = 4 << 20
_LARGEST_ID = (1 << 32) - 2


class RuntimeUser(Struct, frozen=True, kw_only=True):
    """The numeric IDs of a user, its group, and its additional groups.

    The group is also the first of the additional ones, as in docker: a process that drops it could
    otherwise pass rules that deny it something (CVE-2022-36109).
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


def user_of(tree: Tree, text: str, *, asked: bool = False) -> RuntimeUser:
    """Return the user that the `User` of an image means in its root file system.

    Without a group, the user's groups in the image apply; a number without an entry gets group 0.
    NotFound for a name without an entry; `asked` tells that the image's user did not say so.
    """
    name, colon, group = text.partition(":")
    name = name or "0"
    known = _user(tree, name)
    if known is None and not name.isdecimal():
        raise _unknown(f"{quoted(name)}", "/etc/passwd", asked=asked)
    called, uid, own_group = known or (None, _number(name), 0)
    if colon and group:
        gid = _group(tree, group, asked=asked)
        return RuntimeUser(uid=uid, gid=gid, groups=(gid,))
    groups = _groups_of(tree, called) if called is not None else ()
    return RuntimeUser(uid=uid, gid=own_group, groups=tuple(dict.fromkeys((own_group, *groups))))


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


def _group(tree: Tree, name: str, *, asked: bool) -> int:
    for fields in _entries(tree, "etc/group", 3):
        if fields[0] == name and fields[2].isdecimal():
            return _number(fields[2])
    if not name.isdecimal():
        raise _unknown(f"the group {quoted(name)}", "/etc/group", asked=asked)
    return _number(name)


def _unknown(who: str, file: str, *, asked: bool) -> NotFound:
    if asked:
        return NotFound(
            f"{who} of -u is not in the image's {file}",
            hint="give a name that the image has, or a number",
        )
    return NotFound(
        f"the image runs as {who}, which is not in its {file}",
        hint="choose another with -u, or correct the image's USER",
    )


def _groups_of(tree: Tree, user: str) -> tuple[int, ...]:
    found = [
        _number(fields[2])
        for fields in _entries(tree, "etc/group", 4)
        if fields[2].isdecimal() and user in fields[3].split(",")
    ]
    return tuple(dict.fromkeys(found))


def _entries(tree: Tree, path: str, fields: int) -> Iterator[list[str]]:
    """Yield the lines of a file of the image that have at least `fields` fields."""
    data = tree.read(path, _FILE_BYTES)
    for line in (data or b"").decode("utf-8", "replace").splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields:
            yield parts


def _number(text: str) -> int:
    number = int(text) if len(text) <= len(str(_LARGEST_ID)) else _LARGEST_ID + 1
    if number > _LARGEST_ID:
        raise MalformedDocument(f"{quoted(text)} is too large for a user or group ID")
    return number
