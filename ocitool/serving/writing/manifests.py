"""PUT of manifests (distribution-spec, "Pushing Manifests")."""

from ocitool.errors import IntegrityError
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest
from ocitool.places.layout.index import IndexFile, entry_names
from ocitool.serving.documents import DocumentFacts, read_facts
from ocitool.serving.library import Library
from ocitool.serving.messages import Answer, Refusal, Request, RequestBody
from ocitool.serving.routing import Route, digest_of, is_digest, tag_of
from ocitool.serving.writing.claims import Claims
from ocitool.serving.writing.sight import Sight
from ocitool.serving.writing.storing import Storing

LARGEST = DEFAULT_LIMITS.pushed_manifest_bytes
"""Bytes that every registry must take (distribution-spec, "Pushing Manifests"); more are not."""


class Manifests:
    """Stores manifests and sets tags."""

    def __init__(self, storing: Storing, claims: Claims, sight: Sight, library: Library) -> None:
        self._storing = storing
        self._claims = claims
        self._sight = sight
        self._library = library

    def put(self, request: Request, name: str, where: Route) -> Answer:
        """Store a manifest; all that it needs must be here already."""
        by_digest = is_digest(where.rest)
        announced = digest_of(where.rest) if by_digest else None
        tags = [tag_of(tag) for tag in request.parameters("tag")] if by_digest else []
        if not by_digest:
            tags = [tag_of(where.rest)]
            wanted = request.parameter("digest")
            announced = digest_of(wanted) if wanted is not None else None
        raw = _read(request.body)
        digest = Digest.of(raw, announced.algorithm if announced is not None else "sha256")
        if announced not in (None, digest):
            raise Refusal(400, "DIGEST_INVALID", f"the manifest has the digest {digest}")
        facts = _facts(raw, request.headers.get("content-type"))
        self._claims.add(name, request.client, [digest, *facts.needed])
        self._check_needed(name, facts)
        self._storing.put(digest, raw)
        self._library.documents.learn(digest, facts)
        descriptor = Descriptor(media_type=facts.media_type, digest=digest, size=len(raw))
        names = [f"{name}:{tag}" for tag in tags]
        condition = request.headers.get("if-match")
        self._storing.name(
            descriptor, name, names, lambda index: _check_match(index, names, condition)
        )
        if tags:
            self._claims.settle(name, request.client, self._reached(digest, facts))
        return _stored(where.path, digest, facts, tags if by_digest else [])

    def _check_needed(self, name: str, facts: DocumentFacts) -> None:
        missing = [str(digest) for digest in facts.needed if not self._sight.has(name, digest)]
        if missing:
            raise Refusal(
                400,
                "MANIFEST_BLOB_UNKNOWN",
                "the manifest lists blobs that are not here: push them first",
                detail={"digests": missing},
            )

    def _reached(self, digest: Digest, facts: DocumentFacts) -> set[Digest]:
        reached = {digest, *facts.blobs, *facts.documents}
        for child in facts.documents:
            known = self._library.documents.facts(child)
            reached.update(known.blobs if known is not None else ())
        return reached


def _read(body: RequestBody) -> bytes:
    too_large = Refusal(413, "MANIFEST_INVALID", f"a manifest may have {LARGEST} bytes")
    if body.length is not None and body.length > LARGEST:
        raise too_large
    parts = bytearray()
    while data := body.read():
        parts += data
        if len(parts) > LARGEST:
            raise too_large
    return bytes(parts)


def _facts(raw: bytes, content_type: str | None) -> DocumentFacts:
    announced = (content_type or "").partition(";")[0].strip().lower() or None
    try:
        facts = read_facts(raw, None if announced is None else announced)
    except IntegrityError as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from None
    return facts


def _check_match(index: IndexFile, names: list[str], condition: str | None) -> None:
    """Refuse a tag that does not name what the client believes (RFC 9110, section 13.1.1)."""
    if condition is None or not names:
        return
    now = {str(e.digest) for e in index.entries if names[0] in entry_names(e)}
    wanted = {tag.strip().strip('"') for tag in condition.split(",")}
    if not now or ("*" not in wanted and not now & wanted):
        raise Refusal(412, "MANIFEST_INVALID", "the tag names another manifest now")


def _stored(path: str, digest: Digest, facts: DocumentFacts, tags: list[str]) -> Answer:
    headers = {
        "Location": f"/v2/{path}/manifests/{digest}",
        "Docker-Content-Digest": str(digest),
    }
    if facts.subject is not None:
        headers["OCI-Subject"] = str(facts.subject)
    if tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return Answer(status=201, headers=headers, note={"digest": str(digest)})
