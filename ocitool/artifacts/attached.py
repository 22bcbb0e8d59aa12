"""artifact ls: what is attached to something, and what to that (distribution-spec, referrers)."""

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.errors import LimitExceeded
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.places.registry import Repository
from ocitool.places.registry.referrers import referrers

_MOST = 1_000
"""Each costs a question."""


class Attached(Struct, frozen=True, kw_only=True):
    """An artifact and what is attached to it in turn. `created` is what it says of itself."""

    descriptor: Descriptor
    artifact_type: str | None
    created: str | None
    attached: "tuple[Attached, ...]" = ()


def list_attached(
    repository: Repository, reference: Reference
) -> tuple[Descriptor, tuple[Attached, ...]]:
    """Return what a name stands for and the tree of what is attached to it, each once.

    NotFound when the name does not exist. LimitExceeded for more than 1,000 artifacts.
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
