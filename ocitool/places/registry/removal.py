"""Removing images from a registry, with what is attached to them and the lists that name them."""

from collections.abc import Iterator

from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.image.attached import referrers_tag
from ocitool.oci import Digest, Reference, parse_manifest
from ocitool.places.registry.listing import delete
from ocitool.places.registry.referrers import (
    cosign_tags,
    fallback_list,
    referrers,
    remove_from_fallback,
)
from ocitool.places.registry.repository import Repository


class Removed(Struct, frozen=True, kw_only=True):
    """What was deleted, an image and what is attached to it, and the tags that stay behind."""

    digests: tuple[Digest, ...]
    left_tags: tuple[str, ...] = ()


def remove_image(
    repository: Repository, reference: Reference, *, attached: bool = False
) -> Removed | None:
    """Delete an image with all its tags; with `attached` all that is attached to it as well.

    The list of what is attached to the subject of an attached artifact loses it. None when there
    is no such image; Refused where the registry does not delete.
    """
    found = repository.head(reference)
    if found is None:
        return None
    bound = list(_attached_to(repository, found.digest)) if attached else []
    tags = _tags_about(repository, found.digest)
    subject = _subject_of(repository, found.digest)
    if not delete(repository.session, str(found.digest), what=reference.familiar):
        return None
    if subject is not None:
        remove_from_fallback(repository, subject, found.digest)
    if not attached:
        return Removed(digests=(found.digest,), left_tags=tuple(tags))
    going = list(dict.fromkeys((*bound, *tags.values())))
    gone = [
        digest
        for digest in going
        if delete(repository.session, str(digest), what=f"{repository.name}@{digest}")
    ]
    return Removed(digests=(found.digest, *gone))


def _attached_to(repository: Repository, digest: Digest) -> Iterator[Digest]:
    """Yield what is attached to an image, and to that in turn, the furthest first."""
    waiting, seen = [digest], {digest}
    found: list[Digest] = []
    while waiting:
        subject = waiting.pop()
        bound = [one.digest for one in referrers(repository, subject)]
        bound += [one for one in _tags_about(repository, subject).values() if subject != digest]
        for one in bound:
            if one not in seen:
                seen.add(one)
                waiting.append(one)
                found.append(one)
    yield from reversed(found)


def _tags_about(repository: Repository, digest: Digest) -> dict[str, Digest]:
    """Return the tags that are made from a digest, and what they name."""
    found = {tag: named.digest for tag, named in cosign_tags(repository, digest)}
    index = fallback_list(repository, digest).digest
    return {referrers_tag(digest): index, **found} if index is not None else found


def _subject_of(repository: Repository, digest: Digest) -> Digest | None:
    """Return what an artifact says it is attached to; None also where that cannot be read."""
    reference = Reference(repository.host.domain, repository.session.path, None, digest)
    try:
        descriptor, answer = repository.fetch_with_answer(reference)
        subject = parse_manifest(answer.body, descriptor.media_type).subject
    except OcitoolError:
        return None
    return subject.digest if subject is not None else None
