"""Records of the containers of a store: one small JSON file each, in `.ocitool/containers/`.

A record names by digest what its container was made from, so the image stays whatever happens to
its names.
"""

import json

import msgspec
from msgspec import Struct, field

from ocitool.containers.options import NetworkOptions
from ocitool.errors import IntegrityError, NotFound, Refused
from ocitool.fsops import Directory, replace_file
from ocitool.oci import Digest
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout

RECORDS = "containers"
_SUFFIX = ".json"
_RECORD_BYTES = 1 << 20
_SHORTEST_PREFIX = 4


class Settings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What counts when a container is started or ended, besides its bundle.

    `stop_signal` is as the image or the user wrote it, empty for SIGTERM; `stop_timeout` is in
    seconds, None for the usual ten. `interactive` and `terminal` are docker's -i and -t, `remove`
    takes the container away when its process has ended. `labels` are those of the container itself,
    `network` is what its files about names were made from.
    """

    interactive: bool = False
    terminal: bool = False
    remove: bool = False
    stop_signal: str = ""
    stop_timeout: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    network: NetworkOptions = NetworkOptions()


class Container(Struct, frozen=True, kw_only=True):
    """A container of the store. Digests are text, as they are kept in JSON.

    `digest` is what the name `image` pointed to, `manifest` the image chosen from it. `bundle` is
    an absolute path; `own_bundle` tells whether it lies in the store. `tree` is the name of the
    shared unpacked tree, None if the container has its own. `created` is RFC 3339 UTC.
    """

    id: str
    name: str
    image: str
    digest: str
    manifest: str
    config: str
    created: str
    bundle: str
    own_bundle: bool
    tree: str | None = None
    settings: Settings = Settings()


class Records(Struct, frozen=True, kw_only=True):
    """The containers of a store, the oldest first, and the paths of records that are damaged."""

    containers: tuple[Container, ...] = ()
    damaged: tuple[str, ...] = ()


def read_records(layout: Layout) -> Records:
    """Return the containers of a store whose records can be read, and the other records."""
    if layout.control is None:
        return Records()
    try:
        folder = layout.control.subdirectory(RECORDS)
    except NotFound:
        return Records()
    found, damaged = [], []
    with folder:
        for name in folder.names():
            if name.endswith(_SUFFIX):
                try:
                    found.append(_read(folder, name))
                except NotFound:
                    # It was removed since the folder was listed.
                    continue
                except (IntegrityError, msgspec.MsgspecError):
                    damaged.append(folder.child(name))
    ordered = sorted(found, key=lambda one: (one.created, one.name))
    return Records(containers=tuple(ordered), damaged=tuple(damaged))


def containers(layout: Layout) -> list[Container]:
    """Return the containers of a store, the oldest first; Refused if a record is damaged."""
    found = read_records(layout)
    for path in found.damaged:
        raise damaged_record(path)
    return list(found.containers)


def damaged_record(path: str) -> Refused:
    """Return the error for a record that cannot be read."""
    return Refused(
        f"the record of a container cannot be read: {path!r}",
        hint="its image is unknown, so nothing is removed; if the container is not needed any "
        "more, remove that file",
    )


def _read(folder: Directory, name: str) -> Container:
    found = msgspec.json.decode(folder.read_file(name, _RECORD_BYTES), type=Container)
    for digest in (found.digest, found.manifest, found.config):
        Digest.parse(digest)
    return found


def keep(control: Directory, container: Container, *, staging: Directory) -> None:
    """Write a record, durably. Call under the lock."""
    with control.subdirectory(RECORDS, create=True) as folder:
        data = json.dumps(msgspec.to_builtins(container)).encode("ascii")
        replace_file(folder, f"{container.id}{_SUFFIX}", data, staging=staging)


def forget(control: Directory, container: Container) -> None:
    """Remove a record. Call under the lock."""
    with control.subdirectory(RECORDS) as folder:
        folder.remove(f"{container.id}{_SUFFIX}")


def find_container(layout: Layout, text: str) -> Container:
    """Return the container with this name or ID prefix; NotFound if there is none.

    Refused if it may be one whose record is damaged, and when several are meant.
    """
    records = read_records(layout)
    known = records.containers
    exact = [c for c in known if text in (c.name, c.id)]
    prefixed = [c for c in known if len(text) >= _SHORTEST_PREFIX and c.id.startswith(text)]
    found = exact or prefixed
    if len(found) > 1:
        raise Refused(
            f"{quoted(text)} could be one of {len(found)} containers: "
            f"{', '.join(c.name for c in found)}",
            hint="give more digits, or the name",
        )
    for path in () if found else records.damaged:
        raise damaged_record(path)
    if not found:
        raise NotFound(
            f"there is no container {quoted(text)} in {layout.path!r}",
            hint="`ocitool container ls` lists what is there",
        )
    return found[0]
