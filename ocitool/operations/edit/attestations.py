"""attestations: what BuildKit puts beside the images of an index, dropped or attached instead."""

from enum import StrEnum

from msgspec.structs import replace

from ocitool.editing.attestations import EMPTY, as_artifacts
from ocitool.image.attached import attested, is_attestation
from ocitool.image.content import Root
from ocitool.image.graph import closure_of
from ocitool.images.locations import Place
from ocitool.oci import Descriptor, Digest, Index, Manifest, mediatype
from ocitool.oci.children import list_anew
from ocitool.operations.edit.images import Read
from ocitool.operations.edit.report import (
    Edit,
    EditedImage,
    EditOptions,
    EditReport,
    PlaceAccess,
)
from ocitool.operations.edit.running import Editing, run_edit
from ocitool.operations.edit.unwrapping import unwrap


class AttestationAction(StrEnum):
    """What becomes of attestations."""

    KEEP = "keep"
    DROP = "drop"
    TO_REFERRERS = "to-referrers"


def edit_attestations(
    source: str | Place,
    action: AttestationAction,
    options: EditOptions,
    access: PlaceAccess | None = None,
    *,
    unwrapped: bool = False,
) -> EditReport:
    """Keep the attestations of an index, drop them, or make each an artifact with a subject.

    The images keep their digests, and the statements their bytes. An index of one image that is
    left stays an index, unless `unwrapped`. See `run_edit`.
    """

    def work(read: Read, editing: Editing) -> Edit:
        found = [*_attestations(read)]
        edit = _without(read, found) if action is not AttestationAction.KEEP else _same(read)
        if action is AttestationAction.TO_REFERRERS:
            made = _artifacts(read, found)
            told = tuple(f"statement attached as {root.descriptor.digest}" for root in made)
            edit = replace(edit, artifacts=made, remarks=told)
        if unwrapped and action is not AttestationAction.KEEP:
            closure = closure_of(read.source, edit.root.descriptor)
            taken = unwrap(Read(read.source, read.catalog, edit.root, closure), editing)
            edit = replace(edit, root=taken.root, remarks=(*edit.remarks, *taken.remarks))
        return replace(edit, attestations=tuple(child.digest for child in found))

    return run_edit(source, options, access or PlaceAccess(), work)


def _attestations(read: Read) -> list[Descriptor]:
    return [
        child
        for _, document in read.closure.documents
        if isinstance(document, Index)
        for child in document.manifests
        if is_attestation(child)
    ]


def _same(read: Read) -> Edit:
    return Edit(
        source=read.source,
        root=read.root,
        old=read.root.descriptor.digest,
        images=_images(read),
        keeps_attestations=True,
    )


def _without(read: Read, found: list[Descriptor]) -> Edit:
    """Return the indexes without the attestations, those inside others first."""
    dropped = {child.digest for child in found}
    renamed: dict[Digest, Descriptor] = {}
    for descriptor, document in read.closure.documents:
        if isinstance(document, Index):
            raw, media_type = list_anew(document, renamed, without=dropped)
            if raw != document.raw:
                renamed[descriptor.digest] = read.source.add(raw, media_type)
    old = read.root.descriptor
    new = renamed.get(old.digest, old)
    descriptor = replace(new, annotations=old.annotations, platform=None)
    return Edit(
        source=read.source,
        root=replace(read.root, descriptor=descriptor),
        old=old.digest,
        images=_images(read),
        renamed=renamed,
    )


def _artifacts(read: Read, found: list[Descriptor]) -> tuple[Root, ...]:
    images = {str(one.descriptor.digest): one.descriptor for one in read.images()}
    roots = []
    for child in found:
        subject = images.get(attested(child) or "")
        document = read.closure.document(child.digest)
        if subject is None or not isinstance(document, Manifest):
            continue
        for raw in as_artifacts(document, subject):
            read.source.add(EMPTY, mediatype.OCI_EMPTY)
            roots.append(Root(descriptor=read.source.add(raw, mediatype.OCI_MANIFEST)))
    return tuple(roots)


def _images(read: Read) -> tuple[EditedImage, ...]:
    return tuple(map(EditedImage.same, read.images()))
