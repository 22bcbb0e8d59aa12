"""What is attached to an image in a registry: by the referrers API, else by a tag that lists it.

distribution-spec, "Listing Referrers" and "Referrers Tag Schema". The tags that cosign gives to
signatures, attestations and SBOMs are a third dialect.
"""

from collections.abc import Iterator

from ocitool.errors import AccessDenied, IntegrityError, NotFound
from ocitool.image.attached import TAG_ENDINGS, referrers_tag
from ocitool.oci import Descriptor, Digest, Index, Manifest, Reference, mediatype, parse_manifest
from ocitool.oci.document import encode
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.paging import IncompleteList, decode, pages
from ocitool.places.registry.repository import Repository

_OK, _ABSENT = 200, 404


def referrers(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """Return the manifests that are attached to a digest, each once.

    NotFound when the repository does not exist, IncompleteList where not all of them can be read.
    """
    found = _by_api(repository, subject)
    if found is None:
        found = _by_tag(repository, subject)
    return tuple({descriptor.digest: descriptor for descriptor in found}.values())


def cosign_tags(repository: Repository, subject: Digest) -> Iterator[tuple[str, Descriptor]]:
    """Yield the tags of cosign that exist for a digest, and what they name."""
    for ending in TAG_ENDINGS:
        tag = f"{referrers_tag(subject)}{ending}"
        found = _optional(repository, tag)
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
    index = _fallback(repository, subject)
    return list(index.manifests) if index is not None else []


def _fallback(repository: Repository, subject: Digest) -> Index | None:
    """Return the list under the fallback tag. GitLab answers with the subject itself: no list."""
    found = _optional(repository, referrers_tag(subject))
    if found is None or found.digest == subject or not mediatype.is_index(found.media_type):
        return None
    raw = repository.raw(found.digest)
    if raw is None:
        return None
    document = parse_manifest(raw, found.media_type)
    return document if isinstance(document, Index) else None


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

    The list is read, extended and written: two processes at the same time may lose an entry.
    """
    try:
        index = _fallback(repository, subject)
    except IntegrityError:
        index = None
    known = list(index.manifests) if index is not None else []
    if any(one.digest == descriptor.digest for one in known):
        return
    entries = [one.to_json() for one in known] + [_entry(descriptor, document)]
    raw = encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})
    session = repository.session
    request = Request(
        "PUT",
        session.url(f"manifests/{referrers_tag(subject)}"),
        session.scopes("pull,push"),
        {"Content-Type": mediatype.OCI_INDEX},
        raw,
    )
    answer = session.answer(request)
    if not 200 <= answer.status < 300:
        raise session.problem(request, answer).error(
            f"list {descriptor.digest.short} as attached to {subject.short}"
        )


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
