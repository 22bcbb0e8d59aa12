"""Bundles: folders with config.json and a root file system (runtime-spec bundle.md).

If the container shares an unpacked tree, `rootfs` is empty until the runtime mounts the overlay on
it, and `upper` holds what the container writes.
"""

import posixpath
import stat

from ocitool.containers.choosing import Chosen
from ocitool.containers.runtime_config import (
    ID_ANNOTATION,
    Layers,
    Purpose,
    Volume,
    runtime_config,
)
from ocitool.containers.users import RuntimeUser, user_of
from ocitool.errors import IntegrityError, MalformedDocument, NotFound
from ocitool.fsops import Directory, describe_folder, make_folder, replace_file
from ocitool.image.layers import Tree
from ocitool.oci.document import decode_object, encode

CONFIG_FILE = "config.json"
ROOT_FOLDER, UPPER_FOLDER, WORK_FOLDER = "rootfs", "upper", "work"
CONFIG_BYTES = 8 << 20


def bundle_user(root: Directory, chosen: Chosen, *, rootless: bool) -> RuntimeUser:
    """Return the user of the process; in a rootless container only uid 0 exists."""
    tree = Tree(root)
    try:
        user = user_of(tree, chosen.config.config.user)
    finally:
        tree.close()
    return RuntimeUser() if rootless else user


def bundle_volumes(root: Directory, chosen: Chosen, *, rootless: bool) -> list[Volume]:
    """Return the volumes of the image that can be mounted: folders and paths that do not exist.

    Each has the owner and mode of the image's folder at its path; in a rootless bundle the owner is
    always 0.
    """
    found = []
    tree = Tree(root)
    try:
        for path in sorted(
            {posixpath.normpath("/" + v.lstrip("/")) for v in chosen.config.config.volumes}
        ):
            status = tree.status(path) if path.strip("/") else None
            if status is None and path.strip("/"):
                found.append(Volume(path=path))
            elif status is not None and stat.S_ISDIR(status.st_mode):
                user, group = (0, 0) if rootless else (status.st_uid, status.st_gid)
                mode = status.st_mode & 0o7777
                found.append(Volume(path=path, mode=mode, uid=user, gid=group))
    finally:
        tree.close()
    return found


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
