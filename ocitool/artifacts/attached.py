"""artifact ls: the artifacts attached to an image (distribution-spec, "Listing Referrers")."""

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.errors import LimitExceeded
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.places.registry import Repository
from ocitool.places.registry.referrers import referrers

_MOST = 1_000
"""Each of them costs a request."""


class Attached(Struct, frozen=True, kw_only=True):
    """An artifact, and what is attached to it. `created` is its annotation, unverified."""

    descriptor: Descriptor
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
    fresh = [found for found in referrers(repository, subject) if found.digest not in seen]
    seen |= {found.digest for found in fresh}
    limits = repository.session.limits
    if len(seen) > _MOST or depth > limits.index_depth:
        raise LimitExceeded(f"there are more than {_MOST} attached artifacts, or too deep a tree")
    return tuple(
        Attached(
            descriptor=found,
            artifact_type=found.artifact_type,
            created=found.annotations.get(conventions.CREATED),
            attached=_tree(repository, found.digest, seen, depth + 1),
        )
        for found in fresh
    )
