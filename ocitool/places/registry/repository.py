"""A repository in a registry, as a source of images (distribution-spec, "Pull")."""

import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    NotFound,
    OcitoolError,
)
from ocitool.image.content import Blob, OpenRange, Root
from ocitool.oci import Descriptor, Digest, Reference, mediatype, parse_manifest
from ocitool.oci.quoting import quoted
from ocitool.places.registry.download import Download
from ocitool.places.registry.hosts import Host
from ocitool.places.registry.http import locations
from ocitool.places.registry.http.problems import is_html
from ocitool.places.registry.http.request import Answer, Request
from ocitool.places.registry.http.retrying import Retries
from ocitool.places.registry.registries import Registries
from ocitool.places.registry.session import Session

ACCEPTED = (
    mediatype.OCI_INDEX,
    mediatype.OCI_MANIFEST,
    mediatype.DOCKER_LIST,
    mediatype.DOCKER_MANIFEST,
)
_ACCEPT = {"Accept": ", ".join(ACCEPTED)}
_GENERIC = ("", "text/plain", "application/octet-stream", "application/json", "binary/octet-stream")
_OK, _FORBIDDEN, _ABSENT = 200, 403, 404
_NO_HEAD = (400, 403, 405, 406, 501)


class Repository:
    """One repository, to read from. Manifests that were fetched are kept. Thread-safe.

    `wanted` are the images that were named when it was opened: its roots. `known_as` is the name
    that its images have, also where a mirror gives them out.
    """

    def __init__(
        self, session: Session, wanted: Sequence[Root] = (), *, known_as: str | None = None
    ) -> None:
        self.session = session
        self.known_as = known_as or session.name
        self._wanted = tuple(wanted)
        self._documents: dict[Digest, tuple[str, bytes]] = {}
        self._elsewhere: dict[Digest, str] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, registries: Registries, reference: Reference, *, writing: bool = False
    ) -> "Repository":
        """Return the repository of a reference."""
        session = Session(registries, reference.domain, reference.path, writing=writing)
        return cls(session)

    @property
    def name(self) -> str:
        """The repository's full name, such as `ghcr.io/a/b`."""
        return self.session.name

    @property
    def host(self) -> Host:
        """The registry's host."""
        return self.session.host

    def abort(self) -> None:
        """Break all transfers of the registry that are under way."""
        self.session.registries.abort()

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""
        self.session.registries.resume()

    def with_roots(self, roots: Sequence[Root]) -> "Repository":
        """Return the same repository, offering these images."""
        found = Repository(self.session, roots, known_as=self.known_as)
        found._documents = self._documents
        found._elsewhere = self._elsewhere
        found._lock = self._lock
        return found

    def roots(self) -> tuple[Root, ...]:
        """Return the images that were named when it was opened."""
        return self._wanted

    def resolve(self, name: str) -> Root:
        """Return the image with a full name, tag or digest; NotFound when there is none."""
        reference = Reference.parse(name if "/" in name else f"{self.name}:{name}")
        return Root(descriptor=self.fetch(reference), names=(reference.name,))

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the registry can be expected to hold content of a manifest of its own.

        It has promised to, except for foreign layers, of which it is asked. Where their own URLs
        may be visited, it is as if they were here.
        """
        if not mediatype.is_foreign_layer(descriptor.media_type):
            return True
        url = self.session.url(f"blobs/{descriptor.digest}")
        answer = self.session.answer(Request("HEAD", url, self.session.scopes("pull")))
        if answer.status == _OK:
            return True
        foreign = foreign_url(descriptor) if self.session.options.allow_foreign_layers else None
        if foreign is not None:
            with self._lock:
                self._elsewhere[descriptor.digest] = foreign
        return foreign is not None

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself; NotFound when it is absent."""
        if mediatype.is_document(descriptor.media_type):
            raw = self._document(descriptor)
            return Blob.of(descriptor, raw, where=f"manifest {descriptor.digest.short}")
        download = self._download(descriptor)
        where = f"blob {descriptor.digest.short} of {self.name}"
        return Blob(
            descriptor,
            lambda size: bytes(download.read(size)),
            where=where,
            close=download.close,
        )

    def ranges(self, descriptor: Descriptor) -> OpenRange | None:
        """Return how to read a blob from a byte on, up to another; None for a manifest."""
        if mediatype.is_document(descriptor.media_type):
            return None
        return lambda start, end: self._download(descriptor, start, end)

    def _download(self, descriptor: Descriptor, start: int = 0, end: int | None = None) -> Download:
        with self._lock:
            url = self._elsewhere.get(descriptor.digest)
        session = self.session
        if url is not None:
            host = urlsplit(url).netloc
            locations.check(url, self.session.base, insecure=False)
            session = Session(session.registries, host, anonymous=True)
        return Download(session, descriptor, start=start, end=end, whole=end is None, url=url)

    def head(self, reference: Reference, *, forbidden_is_absent: bool = False) -> Descriptor | None:
        """Return what a tag or digest stands for, by the cheapest request; None when absent.

        Some registries answer 403 for what they do not have: with `forbidden_is_absent` that counts
        as absent, for callers whose next request will show what is really forbidden.
        """
        retries = self.session.retries()
        request = self._request("HEAD", reference)
        answer = self.session.answer(request, retries=retries)
        if answer.status == _ABSENT or (answer.status == _FORBIDDEN and forbidden_is_absent):
            return None
        if answer.status == _OK:
            found = _describe(answer, reference)
            if found is not None:
                return found
        elif answer.status not in _NO_HEAD:
            raise self._refusal(request, answer, reference)
        try:
            return self._fetch(reference, retries)[0]
        except NotFound:
            return None

    def fetch(self, reference: Reference) -> Descriptor:
        """Fetch a manifest or index and keep it; return its descriptor. NotFound when absent.

        The bytes decide what it is, and not the headers: where both are specific they have to
        agree. DigestMismatch when it was named by a digest that is another's.
        """
        return self._fetch(reference, self.session.retries())[0]

    def fetch_with_answer(self, reference: Reference) -> tuple[Descriptor, Answer]:
        """Fetch a manifest or index as `fetch` does; return the registry's answer with it."""
        return self._fetch(reference, self.session.retries())

    def _fetch(self, reference: Reference, retries: Retries) -> tuple[Descriptor, Answer]:
        limit = self.session.limits.pulled_manifest_bytes
        request = self._request("GET", reference)
        answer = self.session.answer(request, limit=limit, retries=retries)
        if answer.status != _OK:
            raise self._refusal(request, answer, reference)
        if len(answer.body) > limit:
            raise LimitExceeded(
                f"the manifest of {reference.familiar} is larger than {limit} bytes"
            )
        self.session.refuse_page(answer)
        digest = self._digest(answer, reference)
        media_type = self._media_type(answer, reference)
        with self._lock:
            self._documents[digest] = (media_type, answer.body)
        size = len(answer.body)
        return Descriptor(media_type=media_type, digest=digest, size=size), answer

    def raw(self, digest: Digest) -> bytes | None:
        """Return the bytes of a manifest that was fetched."""
        found = self.document(digest)
        return found[1] if found is not None else None

    def document(self, digest: Digest) -> tuple[str, bytes] | None:
        """Return the media type and the bytes of a manifest that was fetched."""
        with self._lock:
            return self._documents.get(digest)

    @property
    def _pull(self) -> tuple[str, ...]:
        return self.session.scopes("pull,push" if self.session.writing else "pull")

    def _document(self, descriptor: Descriptor) -> bytes:
        raw = self.raw(descriptor.digest)
        if raw is None:
            named = Reference(self.host.domain, self.session.path, None, descriptor.digest)
            raw = self._fetch(named, self.session.retries())[1].body
        return raw

    def _request(self, method: str, reference: Reference) -> Request:
        url = self.session.url(f"manifests/{reference.digest or reference.tag}")
        return Request(method, url, self._pull, _ACCEPT)

    def _digest(self, answer: Answer, reference: Reference) -> Digest:
        wanted = reference.digest
        algorithm = wanted.algorithm if wanted is not None else "sha256"
        digest = Digest.of(answer.body, algorithm)
        if wanted is not None and digest != wanted:
            raise DigestMismatch(
                f"{self.host.domain} answers with {digest} for {wanted}",
                hint="the registry, or a proxy in front of it, has changed it: do not use it",
            )
        said = answer.headers.get("docker-content-digest", "")
        if said.startswith(f"{algorithm}:") and said != str(digest):
            if wanted is not None:
                raise DigestMismatch(
                    f"{self.host.domain} calls {said[:80]} what was asked for as {digest}",
                    hint="the registry, or a proxy in front of it, is broken: try its tag",
                )
            self.session.registries.warn(
                f"{self.host.domain} calls {reference.familiar} {said[:80]}; it is {digest}"
            )
        return digest

    def _media_type(self, answer: Answer, reference: Reference) -> str:
        said = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if said == "text/html" or is_html(answer.headers, answer.body):
            raise IntegrityError(
                f"{self.host.domain} answers with a web page instead of a manifest"
            )
        declared = None if said in _GENERIC or said not in ACCEPTED else said
        if mediatype.is_schema1(said):
            declared = said
        limits = self.session.limits
        large = limits.with_limit("manifest_bytes", limits.pulled_manifest_bytes)
        what = f"the manifest of {reference.familiar}"
        return parse_manifest(answer.body, declared, limits=large, what=what).media_type

    def _refusal(self, request: Request, answer: Answer, reference: Reference) -> OcitoolError:
        problem = self.session.problem(request, answer)
        is_said = "NAME_UNKNOWN" in problem.codes or problem.is_page
        if answer.status == _ABSENT and not is_said:
            return NotFound(
                f"there is no {quoted(str(reference.digest or reference.tag))} in {self.name}",
                hint="look at the name of the repository; `ocitool registry tags "
                f"{reference.familiar_repository}` lists what it has",
            )
        doing = "look at" if request.method == "HEAD" else "read"
        return problem.error(f"{doing} {reference.familiar}")


def foreign_url(descriptor: Descriptor) -> str | None:
    """Return where a foreign layer says it can be had: its first https URL, or None.

    A URL with a user name in it does not count: no login may happen there.
    """
    for url in descriptor.urls:
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        if parts.scheme.lower() == "https" and parts.hostname and "@" not in parts.netloc:
            return url
    return None


def _describe(answer: Answer, reference: Reference) -> Descriptor | None:
    """Return what a HEAD says, when it says all that is needed and nothing that cannot be."""
    text = answer.headers.get("docker-content-digest", "")
    length = answer.headers.get("content-length", "")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ACCEPTED or not length.isdigit():
        return None
    try:
        digest = Digest.parse(text)
    except IntegrityError:
        return None
    if reference.digest is not None and digest != reference.digest:
        return None
    return Descriptor(media_type=media_type, digest=digest, size=int(length))
