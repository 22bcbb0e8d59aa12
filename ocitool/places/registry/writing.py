"""A repository as a target: blobs, manifests by digest, then tags (distribution-spec, "Push")."""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ocitool.errors import (
    IntegrityError,
    LimitExceeded,
    NameMoved,
    OcitoolError,
    Refused,
    Unavailable,
)
from ocitool.events import Outcome
from ocitool.image.attached import referrers_tag
from ocitool.image.content import Blob, Source
from ocitool.image.graph import content_of
from ocitool.oci import Descriptor, Digest, Index, Manifest, Reference, mediatype, parse_manifest
from ocitool.oci.quoting import quoted
from ocitool.places.registry.holders import Holders
from ocitool.places.registry.http.problems import Problem
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.referrers import Referrers, add_to_fallback, find_referrers
from ocitool.places.registry.repository import Repository
from ocitool.places.registry.upload import Uploads

_CREATED, _CHANGED = 201, 412
_STORED = (200, _CREATED, 202)
_UNKNOWN_BLOB = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})
_NOT_TAKEN = frozenset({400, 404, 405, 406, 415, 422, 501})
_DOCKER = "application/vnd.docker."
_SETTLING = (1.0, 3.0, 9.0)
"""Seconds to wait when a registry does not see blobs yet that it has just taken."""


class SubjectRefused(OcitoolError):
    """A registry takes no manifest that names what it is attached to, as Amazon's."""


class RepositoryWriter:
    """Writes into one repository (`Target`). Thread-safe.

    `tags` are the roots that shall get tags, and which; `documents` holds the bytes of the
    roots, and of what they list.
    `mountable` are repositories of this registry that may hold a blob already; `holders` knows
    those of this process, and comes first. With `remote` the blobs are read over the network.
    Tags are moved only while they are at the ETag of `replacing`, in registries that heed it.
    """

    def __init__(
        self,
        repository: Repository,
        source: Source,
        *,
        tags: Mapping[Digest, Sequence[str]],
        documents: Mapping[Digest, bytes],
        mountable: Mapping[Digest, Sequence[str]] | None = None,
        holders: Holders | None = None,
        remote: bool = False,
        scratch: str | None = None,
        replacing: str | None = None,
    ) -> None:
        self.repository = repository
        self._session = repository.session
        self._source = source
        self._tags = tags
        self._raw = documents
        self._mountable = mountable or {}
        self._holders = holders or Holders()
        self._uploads = Uploads(self._session, remote=remote, scratch=scratch)
        self._replacing = replacing
        self._announced: set[Digest] = set()
        self._listed: dict[Digest, Referrers] = {}
        self._unlisted: set[Digest] = set()
        self._lock = threading.Lock()

    def abort(self) -> None:
        """Break all transfers of the registry that are under way."""
        self.repository.abort()

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""
        self.repository.resume()

    def announce(self, descriptors: Sequence[Descriptor]) -> None:
        """Hear what belongs to the images, whatever way it comes here."""
        with self._lock:
            self._announced |= {descriptor.digest for descriptor in descriptors}

    def has(self, descriptor: Descriptor) -> bool:
        """Ask whether the registry holds the content."""
        if not mediatype.is_document(descriptor.media_type):
            return self._uploads.has(descriptor)
        if self._tags.get(descriptor.digest) or descriptor.digest in self._unlisted:
            # A root is pushed under its tag; asking first would save nothing.
            return False
        return self.knows(descriptor.digest)

    def knows(self, digest: Digest) -> bool:
        """Ask whether the registry holds a manifest."""
        try:
            return self.repository.head(self._reference(digest=digest)) is not None
        except OcitoolError:
            # Some registries answer 403 for absent manifests; the push itself will tell.
            return False

    def lists(self, subject: Digest, digest: Digest) -> bool:
        """Ask whether the registry itself says that it has something attached to a subject.

        False where clients write that list: what is in it may be deleted since.
        """
        found = self._listing(subject)
        return not found.is_by_tag and any(one.digest == digest for one in found.entries)

    def is_listed(self, subject: Digest, digest: Digest) -> bool:
        """Ask whether what is attached to a subject is listed so, and if not, remember to do it.

        A process that was killed may have stored it and not listed it. Storing it again lists it.
        """
        if any(one.digest == digest for one in self._listing(subject).entries):
            return True
        self._unlisted.add(digest)
        return False

    def _listing(self, subject: Digest) -> Referrers:
        """Return what is listed with a subject, which is asked once."""
        if subject not in self._listed:
            self._listed[subject] = Referrers((), is_by_tag=True)
            # A list that cannot be read is written anew.
            with contextlib.suppress(IntegrityError):
                self._listed[subject] = find_referrers(self.repository, subject)
        return self._listed[subject]

    def put(self, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Outcome:
        """Store the content, verified on its way. Idempotent."""
        if mediatype.is_document(descriptor.media_type):
            if not self._tags.get(descriptor.digest):
                with open_blob() as blob:
                    raw = blob.read_all(self._session.limits.manifest_bytes)
                self._put_manifest(descriptor, raw, str(descriptor.digest))
            return Outcome.UPLOADED
        domain, path = self._session.host.domain, self._session.path
        with self._holders.turn(self._session, descriptor.digest):
            outcome = self._put_blob(descriptor, open_blob)
            self._holders.note(domain, path, [descriptor.digest])
        return outcome

    def _put_blob(self, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Outcome:
        """Mount a blob from a repository that has it, if there is one, or else send it."""
        digest, opened = descriptor.digest, None
        here = self._holders.of(self._session.host.domain, digest)
        elsewhere = [path for path in here if path != self._session.path]
        for repository in (*elsewhere, *self._mountable.get(digest, ()))[:1]:
            mounted, opened = self._uploads.mount(descriptor, repository)
            if mounted:
                return Outcome.MOUNTED
        self._uploads.put(descriptor, open_blob, opened)
        return Outcome.UPLOADED

    def root(self, descriptor: Descriptor, names: Sequence[str]) -> None:  # noqa: ARG002
        """Give a manifest its tags here, whatever it was called; that is also what stores it."""
        for tag in self._tags.get(descriptor.digest, ()):
            self._put_manifest(descriptor, self._raw[descriptor.digest], tag)

    def _put_manifest(self, descriptor: Descriptor, raw: bytes, name: str) -> None:
        self._check_size(descriptor, raw)
        headers = {"Content-Type": descriptor.media_type}
        if self._replacing is not None and name in self._tags.get(descriptor.digest, ()):
            headers["If-Match"] = self._replacing
        url = self._session.url(f"manifests/{name}")
        request = Request("PUT", url, self._session.scopes("pull,push"), headers, raw)
        retries = self._session.retries()
        for seconds in (*_SETTLING, None):
            answer = self._session.answer(request, retries=retries)
            if answer.status in _STORED:
                self._confirm(answer, descriptor, name)
                self._note_subject(descriptor, raw, answer)
                return
            if answer.status == _CHANGED and "If-Match" in headers:
                raise NameMoved(f"{self.repository.name}:{name} names another image by now")
            problem = self._session.problem(request, answer)
            if seconds is None or not _is_about_blobs(problem) or not retries.take():
                break
            self._send_again(seconds, descriptor, raw)
        if problem.is_immutable_tag and self._is_there(name, descriptor):
            return
        raise self._refusal(problem, descriptor, name)

    def _check_size(self, descriptor: Descriptor, raw: bytes) -> None:
        limit = self._session.limits.pushed_manifest_bytes
        if len(raw) > limit:
            raise LimitExceeded(
                f"manifest {descriptor.digest.short} is {len(raw)} bytes; registries take {limit}",
                hint="an index of fewer images, or fewer annotations, would be smaller",
            )

    def _confirm(self, answer: Answer, descriptor: Descriptor, name: str) -> None:
        """Look for a manifest whose storing was not put in the usual words."""
        said = answer.headers.get("docker-content-digest", "")
        is_ours = said in ("", str(descriptor.digest))
        if answer.status == _CREATED and is_ours:
            return
        self._session.refuse_page(answer)
        if not is_ours:
            self._check_digest(descriptor, said, name)
            return
        if not self._is_there(name, descriptor):
            raise Unavailable(
                f"{self.repository.name} answered {answer.status} for {name}, but does not have it",
                hint="check any proxy in front of the registry, then push again",
            )

    def _check_digest(self, descriptor: Descriptor, said: str, name: str) -> None:
        """Raise unless a manifest that the registry calls otherwise can be had by its digest."""
        if self.knows(descriptor.digest):
            return
        raise IntegrityError(
            f"{self.repository.name} stored {name} as {quoted(said[:80])}: "
            f"it does not have {descriptor.digest}",
            hint="the registry, or a proxy in front of it, changes manifests, and so their digests",
        )

    def _send_again(self, seconds: float, descriptor: Descriptor, raw: bytes) -> None:
        """Look for all that a manifest lists, and send what the registry has lost sight of."""
        if self._session.registries.sleep(min(seconds, self._session.options.retry_max_wait)):
            raise Unavailable("the work was stopped")
        document = parse_manifest(raw, descriptor.media_type)
        if isinstance(document, Index):
            for child in document.manifests:
                if child.digest in self._raw and not self.knows(child.digest):
                    self._put_manifest(child, self._raw[child.digest], str(child.digest))
            return
        for blob in content_of(document):
            if blob.digest in self._announced and not self._uploads.has(blob):
                self._uploads.put(blob, partial(self._source.open, blob))

    def _is_there(self, name: str, descriptor: Descriptor) -> bool:
        found = self.repository.head(self._parse_name(name))
        return found is not None and found.digest == descriptor.digest

    def _refusal(self, problem: Problem, descriptor: Descriptor, name: str) -> OcitoolError:
        where = f"{self.repository.name}:{name}" if ":" not in name else self.repository.name
        if problem.is_immutable_tag:
            found = self.repository.head(self._parse_name(name))
            holds = found.digest if found is not None else "another image"
            return Refused(
                f"{where} cannot be moved: it is immutable and names {holds}, not "
                f"{descriptor.digest}",
                hint="push under another tag; --on-existing skip leaves it as it is",
            )
        raw = self._raw.get(descriptor.digest)
        document = parse_manifest(raw, descriptor.media_type) if raw is not None else None
        hint = _known_cause(document, problem) if document is not None else None
        error = problem.error(f"push the manifest to {where}", hint=hint)
        if document is None or document.subject is None or problem.status not in _NOT_TAKEN:
            return error
        return SubjectRefused(
            f"{error.message}; it is attached to {document.subject.digest.short}",
            hint="a registry that takes no manifest with a subject can still hold what is attached "
            f"by a tag, as cosign does: {referrers_tag(document.subject.digest)}.sig",
        )

    def _note_subject(self, descriptor: Descriptor, raw: bytes, answer: Answer) -> None:
        """Keep the list of referrers where the registry does not do it itself."""
        document = parse_manifest(raw, descriptor.media_type)
        if document.subject is None or answer.headers.get("oci-subject"):
            return
        self._session.registries.warn(
            f"{self.repository.host.domain} keeps no list of what is attached to an image: a "
            "tag is used instead"
        )
        with self._lock:
            add_to_fallback(self.repository, document.subject.digest, descriptor, document)

    def _parse_name(self, name: str) -> Reference:
        """Return the reference of a tag or digest in this repository."""
        if ":" in name:
            return self._reference(digest=Digest.parse(name))
        return self._reference(tag=name)

    def _reference(self, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(self.repository.host.domain, self._session.path, tag, digest)


def _is_about_blobs(problem: Problem) -> bool:
    """Tell whether the registry does not see blobs that it may have taken a moment ago."""
    return bool(set(problem.codes) & _UNKNOWN_BLOB) or "unknown blob" in problem.text.lower()


def _known_cause(document: Manifest | Index, problem: Problem) -> str | None:
    """Return a known reason why registries refuse such a manifest, or None."""
    if problem.host.is_ecr and "mediaType" not in json.loads(document.raw):
        return (
            "this registry wants the field mediaType in the manifest, which this image lacks; "
            "--compression gzip writes a new manifest with it"
        )
    if "MANIFEST_INVALID" in problem.codes and isinstance(document, Index):
        types = [document.media_type, *(child.media_type for child in document.manifests)]
        if len({media_type.startswith(_DOCKER) for media_type in types}) > 1:
            return "this registry takes no index that mixes OCI and docker manifests"
    return None
