"""Bundles: folders with config.json and a root file system (runtime-spec bundle.md).

If the container shares an unpacked tree, `rootfs` is empty until the runtime mounts the overlay on
it, and `upper` holds what the container writes.
"""

import posixpath
import stat
import time
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ocitool.containers.choosing import Chosen
from ocitool.containers.config.process import working_folder
from ocitool.containers.config.purpose import Layers, Purpose, Volume
from ocitool.containers.options import CreateOptions
from ocitool.containers.runtime_config import ID_ANNOTATION, runtime_config
from ocitool.containers.users import RuntimeUser, user_of
from ocitool.errors import IntegrityError, MalformedDocument, NotFound, UsageError
from ocitool.fsops import Directory, NewFile, describe_folder, make_folder, replace_file
from ocitool.image.layers import Tree
from ocitool.oci.document import decode_object, encode
from ocitool.oci.quoting import quoted

CONFIG_FILE = "config.json"
ROOT_FOLDER, UPPER_FOLDER, WORK_FOLDER = "rootfs", "upper", "work"
CONFIG_BYTES = 8 << 20


class Seen(Struct, frozen=True, kw_only=True):
    """What the root file system of the image says about a container of it."""

    user: RuntimeUser
    volumes: tuple[Volume, ...] = ()


def look_at_root(
    root: Directory, chosen: Chosen, options: CreateOptions, *, rootless: bool
) -> Seen:
    """Return the user of the process and the volumes; in a rootless container only uid 0 exists.

    UsageError for a working folder that is a file there, NotFound for an unknown user.
    """
    tree = Tree(root)
    try:
        asked = options.process.user
        text = chosen.config.config.user if asked is None else asked
        user = user_of(tree, text, asked=asked is not None)
        _check_working_folder(tree, chosen, options)
        volumes = tuple(_volumes(tree, chosen, options, rootless=rootless))
    finally:
        tree.close()
    return Seen(user=RuntimeUser() if rootless else user, volumes=volumes)


def _check_working_folder(tree: Tree, chosen: Chosen, options: CreateOptions) -> None:
    """Refuse a file as the folder to start in; the runtime makes a folder that is missing."""
    path = working_folder(chosen.config, options.process.workdir)
    status = tree.status(path) if path.strip("/") else None
    if status is not None and not stat.S_ISDIR(status.st_mode):
        raise UsageError(
            f"the process cannot start in {quoted(path)}: that is a file in the image",
            hint="name a folder with -w",
        )


def _volumes(
    tree: Tree, chosen: Chosen, options: CreateOptions, *, rootless: bool
) -> Iterator[Volume]:
    """Yield the volumes that can be mounted: folders and paths that do not exist.

    Each has the owner and mode of the image's folder at its path; in a rootless bundle the owner is
    always 0.
    """
    named = (*chosen.config.config.volumes, *options.mounts.volumes)
    for path in sorted({posixpath.normpath("/" + volume.lstrip("/")) for volume in named}):
        status = tree.status(path) if path.strip("/") else None
        if status is None and path.strip("/"):
            yield Volume(path=path)
        elif status is not None and stat.S_ISDIR(status.st_mode):
            user, group = (0, 0) if rootless else (status.st_uid, status.st_gid)
            yield Volume(path=path, mode=status.st_mode & 0o7777, uid=user, gid=group)


def write_files(bundle: Directory, files: Mapping[str, bytes]) -> None:
    """Write files that are mounted in the container: every user of it may read them.

    They replace those of the same names, which no container may have mounted.
    """
    for name, data in files.items():
        if bundle.kind(name) is not None:
            bundle.remove(name)
        with NewFile.create(bundle, name) as file:
            file.write(data)
            file.describe(mode=0o644, owner=None, seconds=time.time())


def write_config(bundle: Directory, chosen: Chosen, purpose: Purpose) -> None:
    """Write config.json, durably."""
    document = encode(runtime_config(chosen.config, purpose))
    replace_file(bundle, CONFIG_FILE, document, staging=bundle)


def add_layers(bundle: Directory, place: str, tree: Directory, tree_path: str) -> Layers:
    """Make the folders of an overlay on a shared tree; `place` is the bundle's final path."""
    status = tree.status(".")
    for name in (UPPER_FOLDER, WORK_FOLDER):
        make_folder(bundle, name)
    if status is not None:
        # The root of an overlay shows the owner and mode of its upper folder.
        with bundle.subdirectory(UPPER_FOLDER) as upper:
            describe_folder(
                upper, mode=status.st_mode & 0o7777, owner=(status.st_uid, status.st_gid)
            )
    return Layers(lower=tree_path, upper=f"{place}/{UPPER_FOLDER}", work=f"{place}/{WORK_FOLDER}")


def is_bundle_of(bundle: Directory, container_id: str) -> bool:
    """Tell whether a folder is the bundle of this container."""
    try:
        data = bundle.read_file(CONFIG_FILE, CONFIG_BYTES)
        annotations = decode_object(data, what=CONFIG_FILE, limit=CONFIG_BYTES).get("annotations")
    except (NotFound, IntegrityError, MalformedDocument):
        return False
    return isinstance(annotations, dict) and annotations.get(ID_ANNOTATION) == container_id
