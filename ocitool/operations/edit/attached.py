"""What is attached to images that get another digest: it stays with the old one."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS, run_all
from ocitool.errors import NotFound
from ocitool.image.attached import referrers_tag
from ocitool.image.content import Catalog, InRepository, Root, Source
from ocitool.image.graph import closure_of, read_document, root_subject
from ocitool.oci import Descriptor, Digest, Manifest
from ocitool.oci.document import encode
from ocitool.oci.members import members_of
from ocitool.operations.edit.report import AttachedArtifact
from ocitool.transfer.derived import DerivedImages

if TYPE_CHECKING:
    from ocitool.transfer.remote import RemoteImages

_KINDS = {
    "signature": ("cosign.simplesigning", "cosign.artifact.sig", "notary", "sigstore.bundle"),
    "sbom": ("spdx", "cyclonedx", "syft", "sbom"),
    "attestation": ("in-toto", "dsse", "slsa", "attest"),
}
"""Words in media types that tell what an artifact is."""
_TAGS = {".sig": "signature", ".sbom": "sbom", ".att": "attestation"}


def find_attached(catalog: Catalog, digests: Collection[Digest]) -> list[AttachedArtifact]:
    """Return what is attached to some manifests, in the place where they are.

    In a registry by its API, by the fallback tag, and by the tags of cosign.
    """
    images = _remote(catalog)
    if images is not None:
        found = _in_registry(images, list(digests))
    else:
        found = [*_in_place(catalog, {str(digest): digest for digest in digests})]
    return list({one.digest: one for one in found}.values())


def _remote(catalog: Catalog) -> "RemoteImages | None":
    """Return a catalog if it is the images of a repository; nothing is loaded for others."""
    if not isinstance(catalog, InRepository):
        return None
    from ocitool.transfer.remote import RemoteImages

    return catalog if isinstance(catalog, RemoteImages) else None


def _in_registry(images: "RemoteImages", subjects: Sequence[Digest]) -> list[AttachedArtifact]:
    """Ask for several manifests at a time; the order is that of the subjects."""
    found: dict[Digest, list[AttachedArtifact]] = {}

    def ask(subject: Digest) -> None:
        found[subject] = [*_attached_to(images, subject)]

    run_all([lambda _, one=one: ask(one) for one in subjects], DEFAULT_JOBS)  # type: ignore[misc]
    return [one for subject in subjects for one in found[subject]]


def _attached_to(images: "RemoteImages", subject: Digest) -> Iterator[AttachedArtifact]:
    from ocitool.places.registry.referrers import cosign_tags, find_referrers

    for descriptor in find_referrers(images.repository, subject).entries:
        yield _describe(images, descriptor, subject)
    for tag, descriptor in cosign_tags(images.repository, subject):
        kind = next(kind for ending, kind in _TAGS.items() if tag.endswith(ending))
        yield replace(_describe(images, descriptor, subject), kind=kind, tag=tag)


def _in_place(catalog: Catalog, subjects: dict[str, Digest]) -> Iterator[AttachedArtifact]:
    for root in catalog.roots():
        subject = subjects.get(root_subject(catalog, root) or "")
        if subject is not None:
            yield _describe(catalog, root.descriptor, subject)


def _describe(source: Source, descriptor: Descriptor, subject: Digest) -> AttachedArtifact:
    types = [descriptor.artifact_type or ""]
    with contextlib.suppress(NotFound):
        document = read_document(source, descriptor)
        if isinstance(document, Manifest):
            types += [document.effective_artifact_type]
            types += [layer.media_type for layer in document.layers]
    return AttachedArtifact(
        digest=descriptor.digest,
        media_type=descriptor.media_type,
        size=descriptor.size,
        subject=subject,
        kind=_kind(types),
        artifact_type=next((one for one in types if one), None),
    )


def _kind(types: Iterable[str]) -> str:
    text = " ".join(types).lower()
    return next((k for k, words in _KINDS.items() if any(w in text for w in words)), "artifact")


def copy_sboms(
    source: DerivedImages,
    catalog: Catalog,
    found: Iterable[AttachedArtifact],
    renamed: Mapping[Digest, Descriptor],
) -> tuple[list[AttachedArtifact], list[Root]]:
    """Attach copies of the SBOMs to the new images; return all that was found, and the copies.

    A copy differs from the original in its `subject` alone, or in its tag, where it was found by
    one. Signatures and attestations tell of the old image, and are not copied.
    """
    reported: list[AttachedArtifact] = []
    roots: list[Root] = []
    for one in found:
        subject = renamed.get(one.subject) if one.kind == "sbom" else None
        root = _copy(source, catalog, one, subject) if subject is not None else None
        if root is not None:
            roots.append(root)
        reported.append(replace(one, copied_as=root.descriptor.digest if root else None))
    return reported, roots


def _copy(
    source: DerivedImages, catalog: Catalog, found: AttachedArtifact, subject: Descriptor
) -> Root | None:
    """Return a copy that is attached to `subject`; None for what is attached in another way."""
    named = Descriptor(media_type=found.media_type, digest=found.digest, size=found.size)
    closure = closure_of(catalog, named)
    document = closure.document(found.digest)
    if not isinstance(document, Manifest):
        return None
    source.add_base(catalog, closure)
    if document.subject is not None:
        fields = members_of(document.raw)
        fields["subject"] = subject.alone.to_json()
        return Root(descriptor=source.add(encode(fields), document.media_type))
    images = _remote(catalog)
    if found.tag is None or images is None:
        return None
    ending = found.tag.partition(".")[2]
    name = f"{images.repository.known_as}:{referrers_tag(subject.digest)}.{ending}"
    return Root(descriptor=named, names=(name,))
