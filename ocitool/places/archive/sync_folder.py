"""The folder of `skopeo sync --dest dir`: a `dir` folder for each image, also packed in a tar.

Each is called what its image was called: `a:1`, or with --scoped `quay.io/team/a:1` in folders of
its own. In it are manifest.json, `version`, and files named by the hex digits of their digest;
manifests below an index are called HEX.manifest.json (containers/image, directory transport).
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedArchive, UsageError
from ocitool.image.attached import is_referrers_tag
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Index, Limits, Manifest, Reference, parse_manifest
from ocitool.oci.annotations import SUBJECT, without_names
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar, typed_host
from ocitool.places.archive.docker import MANIFEST_FILE
from ocitool.places.archive.folder_members import FolderMembers
from ocitool.places.archive.foreign import ForeignImages
from ocitool.places.archive.members import Members, TarMembers, read_document_member, read_head
from ocitool.places.archive.synthesis import Content

_VERSION_FILE = "version"
_BLOB = re.compile(r"(?:(sha256|sha512)-)?([0-9a-f]{64}|[0-9a-f]{128})(?:\.manifest\.json)?")
_ALGORITHMS = {64: "sha256", 128: "sha512"}


class _Folder(NamedTuple):
    """A `dir` folder: its path in the archive, its document, and the files in it by digest."""

    path: str
    raw: bytes
    document: Manifest | Index
    files: Mapping[Digest, str]

    @property
    def descriptor(self) -> Descriptor:
        media_type, digest = self.document.media_type, Digest.of(self.raw)
        return Descriptor(media_type=media_type, digest=digest, size=len(self.raw))


def read_sync_folder(
    members: TarMembers | FolderMembers, limits: Limits = DEFAULT_LIMITS
) -> ForeignImages | None:
    """Return the images of such a folder or tar, or None if there is no `dir` folder in it.

    MalformedDocument for a manifest.json that is none, LimitExceeded for too many images.
    """
    found = dir_folders(members)
    if not found:
        return None
    if len(found) > limits.index_descriptors:
        limit = limits.index_descriptors
        raise LimitExceeded(f"{members.what!r} holds {len(found)} images, more than {limit}")
    images = ForeignImages()
    shortened: list[Root] = []
    for path, files in found.items():
        folder = _read(members, path, files, limits)
        _add_contents(images, members, folder)
        if _holds_attached(folder):
            images.roots += _attached(folder)
            continue
        root = _root(images, folder)
        images.roots.append(root)
        if root.names and _host_position(path.split("/")) is None:
            shortened.append(root)
    if not images.roots:
        raise MalformedArchive(f"{members.what!r} holds lists of attached artifacts, and no image")
    _remark(images, shortened)
    return images


def dir_folders(members: TarMembers | FolderMembers) -> dict[str, Sequence[str]]:
    """Return the `dir` folders of an archive with the names of their files, sorted by path."""
    return {
        path: files
        for path, files in sorted(members.files_by_folder().items())
        if MANIFEST_FILE in files
        and (_VERSION_FILE in files or any(_BLOB.fullmatch(name) for name in files))
        and _is_object(members, _join(path, MANIFEST_FILE))
    }


def _is_object(members: Members, path: str) -> bool:
    member = members.find(path)
    return member is not None and read_head(members, member, 64).lstrip().startswith(b"{")


def _read(members: Members, path: str, files: Sequence[str], limits: Limits) -> _Folder:
    manifest = _join(path, MANIFEST_FILE)
    raw = read_document_member(members, manifest, limits) or b""
    document = parse_manifest(
        raw, None, limits=limits, what=f"{quoted(manifest)} of {members.what!r}"
    )
    blobs = {digest: name for name in files if (digest := _digest_of(name)) is not None}
    return _Folder(path, raw, document, blobs)


def _digest_of(name: str) -> Digest | None:
    match = _BLOB.fullmatch(name)
    if match is None:
        return None
    algorithm = _ALGORITHMS[len(match[2])]
    return Digest.parse(f"{algorithm}:{match[2]}") if match[1] in (None, algorithm) else None


def _add_contents(images: ForeignImages, members: Members, folder: _Folder) -> None:
    """Tell where the bytes of a folder are; those of an earlier one are as good."""
    files = {**folder.files, folder.descriptor.digest: MANIFEST_FILE}
    for digest, name in files.items():
        path = _join(folder.path, name)
        if digest not in images.contents and (member := members.find(path)) is not None:
            where = f"{quoted(path)} in {members.what!r}"
            images.contents[digest] = Content(member=member, data=b"", where=where)


def _name_of(path: str) -> str:
    """Return the name of an image; folders around it count from a registry on, or not at all."""
    parts = path.split("/")
    host = _host_position(parts)
    return parts[-1] if host is None else "/".join(parts[host:])


def _host_position(parts: Sequence[str]) -> int | None:
    """Return which folder is named after a registry; None for a name without one."""
    hosts = (number for number, part in enumerate(parts[:-1]) if typed_host(f"{part}/x"))
    return next(hosts, None)


def _root(images: ForeignImages, folder: _Folder) -> Root:
    """Return the image of a folder under the name that the folder has."""
    root = Root(descriptor=folder.descriptor)
    if not folder.path:
        return root
    text = _name_of(folder.path)
    try:
        reference = Reference.parse(text)
    except UsageError as error:
        images.refused.setdefault(root.descriptor.digest, []).append(error.message)
        return root
    if reference.tag is None and reference.digest != root.descriptor.digest:
        reason = f"{quoted(text)}: the image has another digest, {root.descriptor.digest}"
        images.refused.setdefault(root.descriptor.digest, []).append(reason)
        return root
    return replace(root, names=(reference.name,))


def _tag_of(folder: _Folder) -> str:
    return _name_of(folder.path).rpartition(":")[2]


def _holds_attached(folder: _Folder) -> bool:
    """Tell whether a folder has what is attached to an image, by the tag of the list of that.

    An image may have such a tag, too, and is then one like any other.
    """
    if not is_referrers_tag(_tag_of(folder)):
        return False
    document = folder.document
    if isinstance(document, Index):
        return not any(child.platform for child in document.manifests)
    return document.subject is not None or not document.is_image


def _attached(folder: _Folder) -> list[Root]:
    """Return the artifacts of a folder, without the tag: under that a registry has a whole list.

    Without --all, skopeo copies one artifact of the list alone.
    """
    if isinstance(folder.document, Index):
        return [
            Root(descriptor=replace(child, annotations=without_names(child.annotations)))
            for child in folder.document.manifests
        ]
    if folder.document.subject is not None:
        return [Root(descriptor=folder.descriptor)]
    subject = _tag_of(folder).replace("-", ":")
    return [Root(descriptor=replace(folder.descriptor, annotations={SUBJECT: subject}))]


def _remark(images: ForeignImages, shortened: Sequence[Root]) -> None:
    """Say once that names may be others than before."""
    if not shortened:
        return
    first = shortened[0]
    count = "" if len(shortened) == 1 else f" and {len(shortened) - 1} more"
    text = (
        f"{familiar(first.names[0])}{count}: `skopeo sync` kept no registry in the name of the "
        "folder (it does with --scoped); `ocitool tag` gives another name"
    )
    images.remarks[first.descriptor.digest] = text


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
