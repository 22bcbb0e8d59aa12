"""The manifests of one repository, each fetched once, verified, and taken apart.

What cannot be read might keep anything, so it ends the work; only what is absent is noted.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ocitool.concurrency import Stop, run_all
from ocitool.errors import IntegrityError, MalformedDocument, NotFound, OcitoolError, Unavailable
from ocitool.image.attached import attested
from ocitool.image.graph import children, content_of
from ocitool.oci import Descriptor, Digest, Index, Manifest, Reference, mediatype, parse_manifest
from ocitool.places.registry import Repository
from ocitool.places.registry.http.backoff import http_date
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.repository import ACCEPTED
from ocitool.pruning.graph import Node

_CREATED: Final = "org.opencontainers.image.created"
_OLD: Final = (mediatype.DOCKER_SCHEMA1_SIGNED, mediatype.DOCKER_SCHEMA1)
_BLOB_TYPES: Final = (mediatype.BUILDKIT_CACHE, mediatype.IN_TOTO)
_ABSENT: Final = 404

Task = Callable[[Stop], None]


class NotRead(OcitoolError):
    """Something of a repository cannot be read, so nothing of it is deleted."""


class Reading:
    """Reads something in a block; what goes wrong there becomes NotRead, or Unavailable."""

    def __init__(self, repository: Repository, what: str) -> None:
        self._repository = repository.name
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, OcitoolError) or isinstance(error, NotFound):
            return
        kind = Unavailable if isinstance(error, Unavailable) else NotRead
        raise kind(
            f"stopped, because {self._what} in {self._repository} cannot be read: {error.message}",
            hint=error.hint,
        ) from error


class Manifests:
    """Fetches manifests of a repository, `jobs` at a time; those `ignored` count as empty.

    `missing` are those that something lists and that are not there, each with what lists it.
    """

    def __init__(self, repository: Repository, ignored: frozenset[Digest], jobs: int) -> None:
        self.repository = repository
        self.nodes: dict[Digest, Node] = {}
        self.missing: dict[Digest, str] = {}
        self.now: float | None = None
        """What the registry said of the time, in seconds since 1970."""
        self._ignored = ignored
        self._jobs = jobs
        self._lock = threading.Lock()

    def run(self, tasks: Sequence[Task]) -> None:
        """Run tasks, some at a time; raise the first failure."""
        run_all(tasks, self._jobs, abort=self.repository.abort, resume=self.repository.resume)

    def tag_task(self, tag: str, tags: dict[str, Digest], broken: list[str]) -> Task:
        """Return what reads a tag, and notes in `tags` what it names, or it in `broken`."""

        def task(_: Stop) -> None:
            reference = self._reference(tag=tag)
            try:
                found, answer = self._fetch(reference, f"tag {tag}")
            except NotFound:
                broken.append(tag)
                return
            tags[tag] = found.digest
            self._note_time(answer)

        return task

    def _digest_task(self, digest: Digest, lister: str, absent: set[Digest]) -> Task:
        def task(_: Stop) -> None:
            try:
                self._note_time(self._fetch(self._reference(digest=digest), lister)[1])
            except NotFound:
                with self._lock:
                    absent.add(digest)
                    self.missing.setdefault(digest, lister)

        return task

    def follow(self, wanted: Mapping[Digest, str]) -> set[Digest]:
        """Read manifests and all that they list; return those that are not there."""
        absent: set[Digest] = set()
        waiting, depth = dict(wanted), 0
        seen: set[Digest] = set()
        while waiting:
            if depth > self.repository.session.limits.index_depth:
                raise NotRead(f"{self.repository.name}: indexes are nested too deeply")
            fresh = {one: by for one, by in waiting.items() if one not in self.nodes}
            fresh = {one: by for one, by in fresh.items() if one not in self._ignored}
            self.run([self._digest_task(one, by, absent) for one, by in sorted(fresh.items())])
            seen |= waiting.keys()
            below: dict[Digest, str] = {}
            for one in waiting:
                node = self.nodes.get(one)
                for child in node.children if node is not None else ():
                    below.setdefault(child, f"index {one}")
            waiting = {one: by for one, by in below.items() if one not in seen}
            depth += 1
        return absent

    def _fetch(self, reference: Reference, lister: str) -> tuple[Descriptor, Answer]:
        """Fetch one manifest and keep what it lists. NotFound when it is absent."""
        is_listed = reference.digest is not None
        what = f"{reference.digest}, of which {lister} tells," if is_listed else lister
        with Reading(self.repository, what):
            try:
                found, answer = self._certainly(reference)
            except IntegrityError as error:
                digest, answer = self._unreadable(reference)
                if digest in self._ignored:
                    return self._keep_ignored(digest, answer), answer
                hint = error.hint or ignore_hint(digest)
                raise IntegrityError(f"{digest}: {error.message}", hint=hint) from error
            document = parse_manifest(answer.body, found.media_type)
            found = _as_called(found, answer)
        node = self._node(found, document)
        with self._lock:
            self.nodes[found.digest] = node
        return found, answer

    def _certainly(self, reference: Reference) -> tuple[Descriptor, Answer]:
        """Fetch a manifest; what is listed and not there is asked for twice."""
        try:
            return self.repository.fetch_with_answer(reference)
        except NotFound:
            return self.repository.fetch_with_answer(reference)

    def _unreadable(self, reference: Reference) -> tuple[Digest, Answer]:
        """Return the digest of the bytes that a reference names, whatever they are."""
        session = self.repository.session
        url = session.url(f"manifests/{reference.digest or reference.tag}")
        accepted = {"Accept": ", ".join((*ACCEPTED, *_OLD, "*/*"))}
        answer = session.answer(Request("GET", url, session.scopes("pull"), accepted))
        return reference.digest or Digest.of(answer.body), answer

    def _keep_ignored(self, digest: Digest, answer: Answer) -> Descriptor:
        with self._lock:
            self.nodes[digest] = Node(digest=digest, media_type="", size=len(answer.body))
        return Descriptor(media_type="", digest=digest, size=len(answer.body))

    def _node(self, found: Descriptor, document: Manifest | Index) -> Node:
        subjects = [(found.digest, document.subject.digest)] if document.subject else []
        if isinstance(document, Manifest):
            blobs = {one.digest: one.size for one in content_of(document)}
            below: tuple[Digest, ...] = ()
        else:
            blobs, below = {}, tuple(self._manifests_in(document))
            subjects += _attestations(document)
        return Node(
            digest=found.digest,
            media_type=found.media_type,
            size=found.size,
            is_index=isinstance(document, Index),
            is_image=document.is_image,
            children=below,
            subjects=tuple(subjects),
            config=_config_of(document),
            created=document.annotations.get(_CREATED),
            blobs=blobs,
        )

    def _manifests_in(self, index: Index) -> Iterable[Digest]:
        """Yield what an index lists and a registry has among its manifests, not its blobs."""
        for child, _ in children(index):
            kind = child.media_type
            is_blob = mediatype.is_layer(kind) or mediatype.is_image_config(kind)
            if is_blob or kind in _BLOB_TYPES:
                continue
            if mediatype.is_document(kind) or self._is_manifest(child):
                yield child.digest

    def _is_manifest(self, child: Descriptor) -> bool:
        """Ask whether something of an unknown type is a manifest; that could list anything."""
        url = self.repository.session.url(f"manifests/{child.digest}")
        accepted = {"Accept": child.media_type or "*/*"}
        request = Request("HEAD", url, self.repository.session.scopes("pull"), accepted)
        answer = self.repository.session.answer(request)
        if answer.status == _ABSENT:
            return False
        if child.digest in self._ignored:
            return True
        raise NotRead(
            f"{self.repository.name} has {child.digest} of the unknown type "
            f"{child.media_type[:80]!r}, which may list others",
            hint=ignore_hint(child.digest),
        )

    def _note_time(self, answer: Answer) -> None:
        if self.now is None:
            self.now = http_date(answer.headers.get("date", ""))

    def _reference(self, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(self.repository.host.domain, self.repository.session.path, tag, digest)


def ignore_hint(digest: Digest) -> str:
    """Return how a user goes on although a manifest cannot be read."""
    return f"--ignore-unreadable {digest} goes on, as if it listed nothing"


def _as_called(found: Descriptor, answer: Answer) -> Descriptor:
    """Return a descriptor with the digest that the registry has for the bytes of a tag.

    MalformedDocument where that is not theirs: what would be deleted by it?
    """
    said = answer.headers.get("docker-content-digest", "")
    if not said or said == str(found.digest):
        return found
    digest = Digest.parse(said)
    if Digest.of(answer.body, digest.algorithm) != digest:
        raise MalformedDocument(f"the registry calls it {digest}, and its bytes are {found.digest}")
    return replace(found, digest=digest)


def _attestations(index: Index) -> list[tuple[Digest, Digest]]:
    """Return which children of an index attest which images, by BuildKit's annotation."""
    found = []
    for child in index.manifests:
        told = attested(child)
        if told is not None:
            try:
                found.append((child.digest, Digest.parse(told)))
            except MalformedDocument:
                continue  # It is kept by its index alone.
    return found


def _config_of(document: Manifest | Index) -> Digest | None:
    """Return the configuration that may say when an image was made."""
    if isinstance(document, Index) or not mediatype.is_image_config(document.config.media_type):
        return None
    return document.config.digest if document.is_image else None
