"""Which form a bundle of another tool has."""

from ocitool.oci import Limits
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.places.archive.docker import MANIFEST_FILE
from ocitool.places.archive.folder_members import FolderMembers
from ocitool.places.archive.foreign import ForeignImages
from ocitool.places.archive.imgpkg import read_imgpkg
from ocitool.places.archive.members import INDEX_FILE, Members, TarMembers, read_head
from ocitool.places.archive.sync_folder import dir_folders, read_sync_folder


def holds_foreign(members: TarMembers | FolderMembers) -> bool:
    """Tell whether an archive without manifest.json and index.json at its top has images below."""
    return bool(dir_folders(members))


def read_foreign(members: Members, limits: Limits = DEFAULT_LIMITS) -> ForeignImages | None:
    """Return the images of a bundle that another tool made; None for a layout or docker archive.

    What is wrong with it is raised as `read_imgpkg` and `read_sync_folder` say.
    """
    if not isinstance(members, (TarMembers, FolderMembers)) or members.find(INDEX_FILE):
        return None
    manifest = members.find(MANIFEST_FILE)
    if manifest is None or read_head(members, manifest, 64).lstrip().startswith(b"{"):
        return read_sync_folder(members, limits)
    return read_imgpkg(members, limits)
