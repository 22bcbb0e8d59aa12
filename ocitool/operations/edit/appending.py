"""append: layers on top of an image, from tars and folders."""

import functools
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from msgspec import Struct

from ocitool.containers.writable.members import Members
from ocitool.editing.layers import NewEntry, NewLayer, append_entries
from ocitool.editing.parts import ImageParts
from ocitool.editing.settings import annotated, refuse_docker_annotations
from ocitool.editing.storing import check_member, store_layer, store_tar
from ocitool.errors import NotFound, Refused, UsageError
from ocitool.formats.tar import NotATar
from ocitool.formats.tar.writing import ended
from ocitool.fsops import Directory
from ocitool.image.choosing import PlatformImage
from ocitool.images.locations import Place
from ocitool.images.lookup import full_name
from ocitool.oci import mediatype
from ocitool.oci.annotations import BASE_DIGEST, BASE_NAME
from ocitool.oci.mediatype import Compression
from ocitool.oci.members import members_of
from ocitool.oci.quoting import quoted
from ocitool.operations.edit.images import Read, edit_images
from ocitool.operations.edit.report import Edit, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.running import Editing, run_edit

_STDIN = "-"


class Appending(Struct, frozen=True, kw_only=True):
    """How layers are made and appended.

    `compression` is that of tars that are not compressed, and of folders; by default that of the
    image's last layer if it is zstd, else gzip. What is packed from a folder belongs to `owner`
    and has no time later than `newest` (seconds since 1970). `message` is the comment in the
    history. `set_base` notes the image as the base in annotations.
    """

    compression: Compression | None = None
    owner: tuple[int, int] = (0, 0)
    newest: int | None = None
    devices: bool = False
    message: str = ""
    set_base: bool = False


def append_layers(
    source: str | Place,
    layers: Sequence[str],
    appending: Appending,
    options: EditOptions,
    access: PlaceAccess | None = None,
) -> EditReport:
    """Put layers on top of an image, or of each image of an index; see `run_edit`.

    A layer is the path of a tar, plain or compressed, or of a folder, or "-". Compressed ones keep
    their bytes. MalformedArchive for a path that leads out of the layer, and for devices unless
    these are allowed.
    """
    if not layers:
        raise UsageError("no layer is given", hint="ocitool append SRC LAYER… -t DST")

    def work(read: Read, editing: Editing) -> Edit:
        compression = appending.compression or _usual(read, options)
        new = [_store(path, compression, appending, editing) for path in layers]
        entries = [
            NewEntry(
                created_by=f"ocitool append {os.path.basename(path.rstrip('/')) or path}",
                comment=appending.message,
                layer=layer,
            )
            for path, layer in zip(layers, new, strict=True)
        ]
        base = _base_of(read) if appending.set_base else {}

        def change(parts: ImageParts, _: PlatformImage) -> ImageParts:
            return _append(parts, entries, base, options)

        return edit_images(
            read, change, options.platforms, keep_attestations=options.keep_attestations
        )

    return run_edit(source, options, access or PlaceAccess(), work)


def _append(
    parts: ImageParts, entries: Sequence[NewEntry], base: dict[str, str], options: EditOptions
) -> ImageParts:
    new = append_entries(
        parts, entries, created=options.epoch, author=options.author, history=options.history
    )
    if not base:
        return new
    refuse_docker_annotations(new.manifest.media_type, "the manifest")
    fields = members_of(new.manifest.raw)
    annotated(fields, base, ())
    return new.with_members(manifest=fields)


def _usual(read: Read, options: EditOptions) -> Compression:
    last = read.images(options.platforms)[0].manifest.layers[-1:]
    types = {mediatype.declared_compression(layer.media_type) for layer in last}
    return "zstd" if "zstd" in types else "gzip"


def _base_of(read: Read) -> dict[str, str]:
    """Return the annotations that name what was read as the base of the new image."""
    names = [full_name(name) for name in read.root.names]
    if not names or names[0] is None:
        raise UsageError(
            f"{read.root.called} has no full name, so it cannot be noted as a base",
            hint="name it by its registry or its name in the store",
        )
    return {BASE_NAME: names[0], BASE_DIGEST: str(read.root.descriptor.digest)}


def _store(path: str, compression: Compression, appending: Appending, editing: Editing) -> NewLayer:
    with editing.access.observer.busy(f"packing {path}"):
        if path != _STDIN and os.path.isdir(path):
            pieces = ended(packed(path, appending))
            return store_tar(editing.scratch, pieces, compression)
        check = functools.partial(check_member, devices=appending.devices, called=path)
        try:
            with _open(path, editing.access.stdin) as file:
                return store_layer(editing.scratch, file, compression, check)
        except NotATar as error:
            raise NotATar(
                f"the layer {quoted(path)} is {error.message}",
                hint="give a tar, plain or compressed, or a folder whose content is packed",
            ) from error


def _open(path: str, stdin: int | None) -> BinaryIO:
    """Open a layer to be read from its beginning to its end."""
    try:
        if path != _STDIN:
            return open(path, "rb", buffering=0)
        if stdin is None:
            raise UsageError("a layer is not read from '-' here", hint="name a file")
        return open(os.dup(stdin), "rb", buffering=0)
    except OSError as error:
        raise NotFound(f"the layer {quoted(path)} cannot be read: {error.strerror}") from error


def packed(path: str, appending: Appending) -> Iterator[bytes]:
    """Yield the members of a folder's tar, sorted by name, the folder itself not among them."""
    members = Members(lambda _path, _status: appending.owner, newest=appending.newest)
    with Directory.open(path) as folder:
        yield from _members(folder, "", members, appending)


def _members(
    folder: Directory, below: str, members: Members, appending: Appending
) -> Iterator[bytes]:
    for name in folder.names():
        path = f"{below}{name}"
        status = folder.status(name)
        if status is None:
            raise Refused(f"{quoted(folder.child(name))} was removed while it was packed")
        _refuse_special(folder, name, status, appending)
        yield from members.member(folder, name, path, status)
        if stat.S_ISDIR(status.st_mode):
            with folder.subdirectory(name) as inner:
                yield from _members(inner, f"{path}/", members, appending)


def _refuse_special(
    folder: Directory, name: str, status: os.stat_result, appending: Appending
) -> None:
    kind, called = status.st_mode, quoted(folder.child(name))
    if stat.S_ISSOCK(kind):
        raise Refused(f"{called} is a socket, which a layer cannot hold", hint="leave it out")
    if (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)) and not appending.devices:
        raise Refused(f"{called} is a device", hint="--allow-devices takes it into the layer")
