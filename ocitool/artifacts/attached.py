"""artifact ls: the artifacts attached to an image (distribution-spec, "Listing Referrers")."""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.errors import LimitExceeded
from ocitool.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from ocitool.places.registry import Repository
from ocitool.places.registry.referrers import cosign_tags, referrers

_MOST = 1_000
"""Each of them costs a request."""


class Attached(Struct, frozen=True, kw_only=True):
    """An artifact, and what is attached to it. `created` is its annotation, unverified.

    `tag` is the tag that attaches it, where it does not name its subject itself (cosign).
    """

    descriptor: Descriptor
    tag: str | None = None
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
    here = {found.digest: (found, tag) for found, tag in _found(repository, subject)}
    fresh = [pair for digest, pair in here.items() if digest not in seen]
    seen |= here.keys()
    limits = repository.session.limits
    if len(seen) > _MOST or depth > limits.index_depth:
        raise LimitExceeded(f"there are more than {_MOST} attached artifacts, or too deep a tree")
    return tuple(
        Attached(
            descriptor=found,
            tag=tag,
            artifact_type=found.artifact_type or _type_of(repository, found),
            created=found.annotations.get(conventions.CREATED),
            attached=_tree(repository, found.digest, seen, depth + 1),
        )
        for found, tag in fresh
    )


def _found(repository: Repository, subject: Digest) -> Iterator[tuple[Descriptor, str | None]]:
    for found in referrers(repository, subject):
        yield found, None
    for tag, found in cosign_tags(repository, subject):
        yield found, tag


def _type_of(repository: Repository, found: Descriptor) -> str | None:
    """Return the type that the manifest of a tag tells; it has been fetched already."""
    raw = repository.raw(found.digest)
    document = parse_manifest(raw, found.media_type) if raw is not None else None
    return document.effective_artifact_type if isinstance(document, Manifest) else None
