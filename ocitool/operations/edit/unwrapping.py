"""unwrap: the one image of an index, for services that take no index."""

from msgspec.structs import replace

from ocitool.errors import Refused
from ocitool.image.attached import is_attestation
from ocitool.images.locations import Place
from ocitool.oci import Index
from ocitool.operations.edit.images import Read
from ocitool.operations.edit.report import (
    Edit,
    EditedImage,
    EditOptions,
    EditReport,
    PlaceAccess,
)
from ocitool.operations.edit.running import Editing, run_edit


def unwrap_image(
    source: str | Place, options: EditOptions, access: PlaceAccess | None = None
) -> EditReport:
    """Take the only image out of an index; its digest is what it was.

    Attestations do not count, and stay behind. Refused for an index of several images. What is
    lost, such as annotations of the index, is in the remarks.
    """
    return run_edit(source, options, access or PlaceAccess(), unwrap)


def unwrap(read: Read, _: Editing | None = None) -> Edit:
    """Return the only image of what was read."""
    images = read.images()
    if len(images) > 1:
        listed = ", ".join(str(image.platform) for image in images)
        raise Refused(
            f"{read.root.called} has {len(images)} images: {listed}",
            hint="`ocitool copy SRC DST --platform P` takes one of them",
        )
    image, old = images[0], read.root.descriptor
    descriptor = replace(image.descriptor, platform=None, annotations=old.annotations)
    index = read.closure.document(old.digest)
    is_index = isinstance(index, Index)
    return Edit(
        source=read.source,
        root=replace(read.root, descriptor=descriptor),
        old=old.digest,
        images=(EditedImage.same(image),),
        renamed={old.digest: descriptor} if is_index else {},
        attestations=tuple(
            child.digest
            for _, document in read.closure.documents
            if isinstance(document, Index)
            for child in document.manifests
            if is_attestation(child)
        ),
        remarks=_lost(index) if isinstance(index, Index) else (),
    )


def _lost(index: Index) -> tuple[str, ...]:
    """Return what only the index says."""
    return tuple(f"the annotation {key} of the index is lost" for key in index.annotations)
