"""What is attached to an image in a registry: by the referrers API, else by a tag that lists it.

distribution-spec, "Listing Referrers" and "Referrers Tag Schema". The tags that cosign gives to
signatures, attestations and SBOMs are a third dialect.
"""

import random
import time
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from ocitool.errors import AccessDenied, IntegrityError, NotFound, Unavailable
from ocitool.image.attached import TAG_ENDINGS, referrers_tag
from ocitool.oci import Descriptor, Digest, Index, Manifest, Reference, mediatype, parse_manifest
from ocitool.oci.document import encode
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.paging import IncompleteList, decode, pages
from ocitool.places.registry.repository import Repository

_OK, _ABSENT, _CHANGED = 200, 404, 412
_ATTEMPTS = 6
_LONGEST = 1.0
"""Seconds after which the list of a fallback tag is read again."""


class Referrers(Struct, frozen=True):
    """The manifests that are attached to a digest, each once.

    With `is_by_tag` clients wrote the list under a fallback tag, so some may be deleted since.
    """

    entries: tuple[Descriptor, ...]
    is_by_tag: bool


def find_referrers(repository: Repository, subject: Digest) -> Referrers:
    """Return what is attached to a digest.

    NotFound when the repository does not exist, IncompleteList where not all of them can be read.
    """
    answered = _by_api(repository, subject)
    found = _by_tag(repository, subject) if answered is None else answered
    entries = {descriptor.digest: descriptor for descriptor in found}
    return Referrers(tuple(entries.values()), is_by_tag=answered is None)


def referrers(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """Return the manifests that are attached to a digest. See `find_referrers`."""
    return find_referrers(repository, subject).entries


def cosign_tags(
    repository: Repository, subject: Digest, known: Collection[str] | None = None
) -> Iterator[tuple[str, Descriptor]]:
    """Yield the tags of cosign that exist for a digest, and what they name.

    `known` are the tags of the repository, if they were listed: no other one is asked for.
    """
    for ending in TAG_ENDINGS:
        tag = f"{referrers_tag(subject)}{ending}"
        found = _optional(repository, tag) if known is None or tag in known else None
        if found is not None:
            yield tag, found


def _by_api(repository: Repository, subject: Digest) -> list[Descriptor] | None:
    """Ask the API; None where there is none."""
    session = repository.session
    found: list[Descriptor] = []
    url = session.url(f"referrers/{subject}")
    headers = {"Accept": mediatype.OCI_INDEX}
    request = Request("GET", url, session.scopes("pull"), headers)
    for number, answer in enumerate(pages(session, request)):
        if answer.status == _ABSENT and "NAME_UNKNOWN" in session.problem(request, answer).codes:
            raise NotFound(f"there is no repository {repository.name}")
        if answer.status == _OK and _is_index(answer):
            found += _entries(repository, answer)
        elif number == 0:
            return None
        else:
            raise IncompleteList(session.problem(request, answer).error("read the next page"))
    return found


def _is_index(answer: Answer) -> bool:
    said: str = answer.headers.get("content-type", "")
    return said.partition(";")[0].strip().lower() == mediatype.OCI_INDEX


def _entries(repository: Repository, answer: Answer) -> list[Descriptor]:
    values = decode(repository.session, answer).get("manifests")
    return [
        Descriptor.from_json(value, path=f"manifests[{number}]")
        for number, value in enumerate(values if isinstance(values, list) else [])
    ]


def _by_tag(repository: Repository, subject: Digest) -> list[Descriptor]:
    return list(fallback_list(repository, subject).entries)


class Listed(Struct, frozen=True):
    """What is listed under a fallback tag, and the digest and the ETag of that list."""

    digest: Digest | None = None
    entries: tuple[Descriptor, ...] = ()
    etag: str | None = None


def fallback_list(repository: Repository, subject: Digest) -> Listed:
    """Return the list under the fallback tag. GitLab answers with the subject itself: no list."""
    reference = Reference(
        repository.host.domain, repository.session.path, referrers_tag(subject), None
    )
    try:
        found, answer = repository.fetch_with_answer(reference)
    except (NotFound, AccessDenied):
        return Listed()
    if found.digest == subject or not mediatype.is_index(found.media_type):
        return Listed()
    document = parse_manifest(answer.body, found.media_type)
    if not isinstance(document, Index):
        return Listed()
    etag = answer.headers.get("etag", "")
    # A weak one says that something like it is there (RFC 9110, section 13.1.1).
    return Listed(found.digest, document.manifests, etag if etag.startswith('"') else None)


def _optional(repository: Repository, tag: str) -> Descriptor | None:
    reference = Reference(repository.host.domain, repository.session.path, tag, None)
    try:
        return repository.fetch(reference)
    except (NotFound, AccessDenied):
        # Artifactory and others forbid what they do not have.
        return None


def add_to_fallback(
    repository: Repository,
    subject: Digest,
    descriptor: Descriptor,
    document: Manifest | Index,
) -> None:
    """Add a manifest to the list under its subject's fallback tag, where clients look for it.

    The list is read, extended and written, and read again after a moment: another process may
    have read it before and written it since, without this entry. Then it is extended anew.
    Unavailable when the entry is not there in the end.
    """
    session = repository.session
    for _ in range(_ATTEMPTS):
        began = time.monotonic()
        listed = _read_list(repository, subject)
        if any(one.digest == descriptor.digest for one in listed.entries):
            return
        entries = [one.to_json() for one in listed.entries] + [_entry(descriptor, document)]
        _write_list(repository, subject, entries, listed.etag)
        # Longer than another needs from reading to writing; and not all for the same time.
        moment = min(_LONGEST, 0.1 + 2 * (time.monotonic() - began))
        spread = random.uniform(0.75, 1.5)  # noqa: S311 - keeps writers apart
        if session.registries.sleep(min(moment * spread, session.options.retry_max_wait)):
            break
    else:
        if any(one.digest == descriptor.digest for one in _read_list(repository, subject).entries):
            return
    raise Unavailable(
        f"{descriptor.digest.short} is stored, and cannot be listed as attached to "
        f"{subject.short}: other clients keep changing that list of {repository.name}",
        hint="try again when no other client attaches anything to it",
    )


def remove_from_fallback(repository: Repository, subject: Digest, digest: Digest) -> None:
    """Take a manifest that is gone out of the list under its subject's fallback tag, if there."""
    listed = _read_list(repository, subject)
    kept = [one.to_json() for one in listed.entries if one.digest != digest]
    if len(kept) < len(listed.entries):
        _write_list(repository, subject, kept, listed.etag)


def _read_list(repository: Repository, subject: Digest) -> Listed:
    try:
        return fallback_list(repository, subject)
    except IntegrityError:
        # What cannot be read is replaced.
        return Listed()


def _write_list(
    repository: Repository, subject: Digest, entries: Sequence[object], etag: str | None
) -> None:
    """Write the list under the fallback tag, unless it is no longer the one of the ETag."""
    session = repository.session
    headers = {"Content-Type": mediatype.OCI_INDEX}
    if etag is not None:
        headers["If-Match"] = etag
    raw = encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})
    url = session.url(f"manifests/{referrers_tag(subject)}")
    request = Request("PUT", url, session.scopes("pull,push"), headers, raw)
    answer = session.answer(request)
    is_another = answer.status == _CHANGED and etag is not None
    if not (200 <= answer.status < 300 or is_another):
        raise session.problem(request, answer).error(f"list what is attached to {subject.short}")


def _entry(descriptor: Descriptor, document: Manifest | Index) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    kind = document.effective_artifact_type if isinstance(document, Manifest) else None
    if kind or document.artifact_type:
        entry["artifactType"] = document.artifact_type or kind
    if document.annotations:
        entry["annotations"] = dict(document.annotations)
    return entry
