"""convert: the same image in docker's or OCI's format, or with another compression."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ocitool.editing.families import image_in_family, index_in_family
from ocitool.editing.parts import ImageParts
from ocitool.errors import UsageError
from ocitool.image.choosing import PlatformImage
from ocitool.images.locations import Place
from ocitool.oci import Digest, Index
from ocitool.operations.edit.images import Read, edit_images
from ocitool.operations.edit.report import Edit, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.running import Editing, run_edit
from ocitool.transfer.derived import DerivedImages
from ocitool.transfer.pipeline import Pipeline, TransferOptions


class Form(Struct, frozen=True, kw_only=True):
    """What an image is converted to.

    `docker` is the format of its documents: docker's, OCI's, or with None what it has. With `drop`
    what docker's format cannot hold is left out and listed. `compression` is that of all layers.
    """

    docker: bool | None = None
    drop: bool = False
    compression: str | None = None


def convert_image(
    source: str | Place, form: Form, options: EditOptions, access: PlaceAccess | None = None
) -> EditReport:
    """Convert an image, with all platforms of an index; the image IDs stay.

    Where there is nothing to convert, the digest stays. Refused for what docker's format cannot
    hold. See `run_edit`.
    """
    if form.docker is None and form.compression is None:
        raise UsageError("what to convert to is not given", hint="--oci, --docker, --compression C")
    if form.docker and options.keep_attestations:
        raise UsageError(
            "docker's format has no attestations", hint="leave out --keep-attestations"
        )

    def work(read: Read, editing: Editing) -> Edit:
        changes = _Changes(form)
        packed = _recompress(read, form, editing)
        edit = edit_images(
            packed.read,
            changes.image,
            keep_attestations=options.keep_attestations,
            change_index=changes.index,
            each_index=True,
            changed_before=list(packed.before),
        )
        return replace(_as_from(edit, read, packed), remarks=tuple(changes.remarks))

    return run_edit(source, options, access or PlaceAccess(), work)


class _Changes:
    """Brings images and indexes into a form; `remarks` is what was dropped for that, each once."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.remarks: dict[str, None] = {}

    def image(self, parts: ImageParts, _: PlatformImage) -> ImageParts:
        """Return an image in the form."""
        docker = self._form.docker
        if docker is None:
            return parts
        new, dropped = image_in_family(parts, docker=docker, drop=self._form.drop)
        self.remarks.update(dict.fromkeys(dropped))
        return new

    def index(self, index: Index) -> tuple[bytes, str]:
        """Return an index in the form."""
        docker = self._form.docker
        if docker is None:
            return index.raw, index.media_type
        raw, media_type, dropped = index_in_family(index, docker=docker, drop=self._form.drop)
        self.remarks.update(dict.fromkeys(dropped))
        return raw, media_type


class _Packed(NamedTuple):
    """An image with converted layers, and the former digest of each of its manifests."""

    read: Read
    before: Mapping[Digest, Digest]


def _recompress(read: Read, form: Form, editing: Editing) -> _Packed:
    if form.compression is None:
        return _Packed(read, {})
    observer, options = editing.access.observer, editing.options
    transfer = TransferOptions(
        compression=form.compression, jobs=options.jobs, scratch=options.scratch
    )
    pipeline = Pipeline(read.catalog, transfer, observer)
    pipeline.plan([read.root], attached=False)
    pipeline.convert(editing.scratch)
    root = pipeline.images[0].root
    derived = DerivedImages([read.catalog], pipeline.source)
    derived.add_base(read.catalog, read.closure)
    before = {one.new: one.old for one in pipeline.conversions if one.old is not None}
    return _Packed(Read(derived, read.catalog, root, pipeline.images[0].closure), before)


def _as_from(edit: Edit, read: Read, packed: _Packed) -> Edit:
    """Return the edit as one of what was read, before its layers were converted."""
    before, old = packed.before, read.root.descriptor.digest
    converted = {one.descriptor.digest: one.descriptor for one in packed.read.images()}
    renamed = {before.get(digest, digest): new for digest, new in edit.renamed.items()}
    for new, former in before.items():
        renamed.setdefault(former, converted[new])
    return replace(
        edit,
        old=old,
        images=tuple(replace(one, old=before.get(one.old, one.old)) for one in edit.images),
        renamed={**renamed, old: edit.root.descriptor},
    )
