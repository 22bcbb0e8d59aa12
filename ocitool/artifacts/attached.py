"""artifact ls: the artifacts attached to an image (distribution-spec, "Listing Referrers")."""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.errors import LimitExceeded
from ocitool.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from ocitool.places.registry import Repository
from ocitool.places.registry.referrers import cosign_tags, find_referrers

_MOST = 1_000
"""Each of them costs a request."""


class Attached(Struct, frozen=True, kw_only=True):
    """An artifact, and what is attached to it. `created` is its annotation, unverified.

    `tag` is the tag that attaches it, where it does not name its subject itself (cosign). It
    `is_gone` when the list under a fallback tag names it, and the registry has no such manifest.
    """

    descriptor: Descriptor
    tag: str | None = None
    is_gone: bool = False
    artifact_type: str | None
    created: str | None
    attached: "tuple[Attached, ...]" = ()


def list_attached(
    repository: Repository, reference: Reference
) -> tuple[Descriptor, tuple[Attached, ...]]:
    """Return the descriptor of a reference and the tree of artifacts attached to it, each once.

    NotFound if the reference does not exist. LimitExceeded for more than 1,000 artifacts.
    """
    root = repository.head(reference) or repository.fetch(reference)
    return root, _tree(repository, root.digest, {root.digest}, 0)


def _tree(
    repository: Repository, subject: Digest, seen: set[Digest], depth: int
) -> tuple[Attached, ...]:
    here = {one.descriptor.digest: one for one in _found(repository, subject)}
    fresh = [one for digest, one in here.items() if digest not in seen]
    seen |= here.keys()
    limits = repository.session.limits
    if len(seen) > _MOST or depth > limits.index_depth:
        raise LimitExceeded(f"there are more than {_MOST} attached artifacts, or too deep a tree")
    return tuple(
        Attached(
            descriptor=found,
            tag=one.tag,
            is_gone=one.may_be_gone and not _exists(repository, found.digest),
            artifact_type=found.artifact_type or _type_of(repository, found),
            created=found.annotations.get(conventions.CREATED),
            attached=_tree(repository, found.digest, seen, depth + 1),
        )
        for one in fresh
        for found in [one.descriptor]
    )


class _Found(Struct, frozen=True, kw_only=True):
    descriptor: Descriptor
    tag: str | None = None
    may_be_gone: bool = False


def _found(repository: Repository, subject: Digest) -> Iterator[_Found]:
    listed = find_referrers(repository, subject)
    for found in listed.entries:
        yield _Found(descriptor=found, may_be_gone=listed.is_by_tag)
    for tag, found in cosign_tags(repository, subject):
        yield _Found(descriptor=found, tag=tag)


def _exists(repository: Repository, digest: Digest) -> bool:
    reference = Reference(repository.host.domain, repository.session.path, None, digest)
    return repository.head(reference, forbidden_is_absent=True) is not None


def _type_of(repository: Repository, found: Descriptor) -> str | None:
    """Return the type that the manifest of a tag tells; it has been fetched already."""
    raw = repository.raw(found.digest)
    document = parse_manifest(raw, found.media_type) if raw is not None else None
    return document.effective_artifact_type if isinstance(document, Manifest) else None
