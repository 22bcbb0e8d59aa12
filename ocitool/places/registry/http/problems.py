"""What a registry's refusal means, and what a person can do about it.

The status decides the kind, the error code refines it, and the known quirks of the host count last:
the same mistake is 401, 403 or 404 depending on whose registry it is (distribution-spec, "Error
Codes").
"""

import json
import re
from collections.abc import Mapping

from msgspec import Struct

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    StorageError,
    Unavailable,
    UsageError,
)
from ocitool.places.registry.aws.hosts import EcrHost
from ocitool.places.registry.credentials.credential import how_to_mend
from ocitool.places.registry.hosts import ECR_PUBLIC, Host
from ocitool.places.registry.http.backoff import spent_window

PROXY_HINT = "the proxy wants a name and a password: HTTPS_PROXY=http://USER:PASSWORD@PROXY"
PLAIN_HINT = "this port seems to speak TLS: leave out --plain-http"
_PAGE = (
    "a web page came instead of the registry's answer: it is not a registry, or a proxy in front "
    "of it answered; check the host's name and the proxy"
)
_SHOWN = 200
_TAGS = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_IMMUTABLE = ("TAG_INVALID", "MANIFEST_TAG_ALREADY_EXISTS", "TAG_ALREADY_EXISTS")
_NO_REPOSITORY = "NAME_UNKNOWN"
_WRONG, _DENIED, _FORBIDDEN, _ABSENT, _NOT_ALLOWED = 400, 401, 403, 404, 405
_PROXY, _TOO_LARGE, _NOT_NEXT, _BUSY, _NO_ROOM = 407, 413, 416, 429, 507
_PAGES_OF_THEIR_OWN = (_PROXY, _TOO_LARGE, _BUSY)


class Problem(Struct, frozen=True, kw_only=True):
    """A refusal: the request, and the answer with the part of its `body` that was read.

    `elsewhere` is the host to which the registry sent us and that refused, if it was another one.
    `too_long_wait` is for how many seconds we shall not come back, if that is too long for us.
    """

    method: str
    host: Host
    repository: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    scopes: tuple[str, ...] = ()
    origin: str | None = None
    elsewhere: str | None = None
    too_long_wait: float | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """The error codes of the body."""
        return tuple(code for code, _ in _errors(self.body))

    @property
    def text(self) -> str:
        """What the registry says about it, short, from whichever form it chose."""
        found = [f"{code}: {message}" if message else code for code, message in _errors(self.body)]
        return _shorten("; ".join(found)) if found else _plain(self.body)

    @property
    def is_immutable_tag(self) -> bool:
        """Tell whether the tag may not be moved."""
        text = self.text.lower()
        return any(code in _IMMUTABLE for code in self.codes) or (
            self.status in (_WRONG, _FORBIDDEN, 409, 412)
            and ("immutable" in text or "cannot be overwritten" in text)
        )

    def error(self, doing: str, *, hint: str | None = None) -> OcitoolError:
        """Return the error to raise; `doing` is the work, such as "push to ghcr.io/a/b".

        `hint` is better advice than the usual one.
        """
        kind, usual = self._meaning()
        is_explained = self.status in _PAGES_OF_THEIR_OWN or self._wants_tls
        if self.is_page and self.status < 500 and not is_explained:
            usual = _PAGE
        said = f": {self.text}" if self.text else ""
        where = f"{self.method} {self.elsewhere or self.host.domain}"
        if self.elsewhere is not None:
            where = f"{self.host.domain} sent us on, and {where}"
        text = f"cannot {doing}: {where} answered {self.status}{said}"
        return kind(text, hint=hint or usual)

    def _meaning(self) -> tuple[type[OcitoolError], str | None]:
        if self.is_immutable_tag:
            return Refused, "the tag is immutable: push under another one"
        if self.status == _BUSY:
            return Unavailable, self._busy_hint()
        if self.status == _PROXY:
            return AccessDenied, PROXY_HINT
        if self.is_full:
            return StorageError, "there is no room left for this: delete something there first"
        if self.status == _ABSENT:
            return NotFound, self._absent_hint()
        if self.status in (_DENIED, _FORBIDDEN) or "DENIED" in self.codes:
            return AccessDenied, self._denied_hint()
        if self.status == _TOO_LARGE:
            return Refused, self._too_large_hint()
        if self.status >= 500:
            return Unavailable, self._come_back("the registry is in trouble; try again later")
        return self._wrong()

    @property
    def is_full(self) -> bool:
        """Tell whether a quota is used up; Harbor says so by 403 and 412 too."""
        text = self.text.lower()
        said = "quota" in text or "exceed the configured upper limit" in text
        return self.status == _NO_ROOM or (said and self.status < 500)

    def _wrong(self) -> tuple[type[OcitoolError], str | None]:
        if "DIGEST_INVALID" in self.codes or "SIZE_INVALID" in self.codes:
            return IntegrityError, "the registry received other bytes than were sent; push again"
        if self.host.is_ecr and "mediatype" in self.text.lower().replace(" ", ""):
            return Refused, "this registry wants the field mediaType in the manifest"
        if self._wants_tls:
            return Unavailable, PLAIN_HINT
        if "NAME_INVALID" in self.codes or "invalid repository name" in self.text:
            return UsageError, "look at the name: some registries want a namespace, or only one"
        if self.method == "PATCH" and (self.status == _NOT_ALLOWED or "UNSUPPORTED" in self.codes):
            return Refused, "this registry takes blobs whole only: leave out --chunk-size"
        if self.method == "PATCH" and self.status == _NOT_NEXT:
            return Refused, "the registry takes no such part: try a smaller --chunk-size, or none"
        if self.status == _NOT_ALLOWED and "this registry is read-only" in self.text:
            return Refused, (
                "start it with `ocitool registry serve --writable`, or push to another registry"
            )
        return (IntegrityError if self.is_page else OcitoolError), None

    @property
    def is_page(self) -> bool:
        """Tell whether a page for people came: no registry answers so."""
        return is_html(self.headers, self.body)

    @property
    def _wants_tls(self) -> bool:
        """Tell whether this was plain http to a port for TLS, in the words of Go and nginx."""
        text = self.text.lower()
        return self.status == _WRONG and "http request" in text and "https" in text

    def _too_large_hint(self) -> str:
        if not self.host.takes_chunks:
            return "this registry has a limit on the size, and takes blobs whole only"
        if self.method == "PATCH":
            return "a proxy in front of the registry limits the size: try a smaller --chunk-size"
        return "a proxy in front of the registry limits the size: try --chunk-size 10M"

    def _busy_hint(self) -> str:
        window = spent_window(self.headers)
        if window is not None:
            when = f" The quota counts {window / 3600:g} hours."
            return f"the quota is used up: wait, or `ocitool login` for a larger one.{when}"
        return self._come_back("too many requests: fewer at once with -j 1, or try again later")

    def _come_back(self, usual: str) -> str:
        if self.too_long_wait is None:
            return usual
        return (
            f"it asks to come back in {self.too_long_wait:.0f} s; --retry-max-wait allows to wait "
            "that long"
        )

    def _absent_hint(self) -> str | None:
        if self.host.is_ecr and _NO_REPOSITORY in self.codes:
            return (
                "the repository has to exist first: push --create-repo, or "
                f"{create_command(self.host, self.repository)}"
            )
        if _NO_REPOSITORY in self.codes:
            return "there is no such repository, or it is private: look at its name, or log in"
        return None

    def _denied_hint(self) -> str:
        if self.elsewhere is not None:
            return "the registry has to let us in there; its links may have expired: try again"
        if "write_package" in self.text or (self.host.is_github and self._writes and self.origin):
            return (
                "a workflow needs `permissions: packages: write`, and the package must be linked "
                "to its repository (Package settings, Manage Actions access)"
            )
        if self.host.is_ecr and "not authorized to perform" in self.text:
            return "the AWS identity lacks this right: look at its policies and the repository's"
        if self.host.is_ecr:
            return (
                f"the token lasts 12 hours: `ocitool login {self.host.domain}` gets another one "
                "with AWS credentials"
            )
        if self.origin is None:
            return f"no credentials were found for it: `ocitool login {self.host.domain}`"
        return (
            f"the credential is from {self.origin}; it may be wrong, have expired, or lack the "
            f"right to {'push to' if self._writes else 'read'} {self.repository or 'this'}: "
            f"{how_to_mend(self.host.domain, self.origin)}"
        )

    @property
    def _writes(self) -> bool:
        return any("push" in scope for scope in self.scopes)


def create_command(host: Host, repository: str) -> str:
    """Return the command that makes a repository at Amazon's registry."""
    if host.name == ECR_PUBLIC:
        # The first part of a public name is its owner's, and there is one region.
        name = repository.partition("/")[2] or repository
        return f"aws ecr-public create-repository --repository-name {name} --region us-east-1"
    found = EcrHost.parse(host.domain)
    chosen = f" --region {found.region}" if found is not None else ""
    return f"aws ecr create-repository --repository-name {repository}{chosen}"


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether an answer is a page for people: of a proxy, a portal, or a web server."""
    return headers.get("content-type", "").startswith("text/html") or body.lstrip()[
        :15
    ].lower().startswith((b"<!doctype html", b"<html"))


def _errors(body: bytes) -> list[tuple[str, str]]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    errors = value.get("errors")
    found = [
        (str(one.get("code") or "UNKNOWN"), _message(one))
        for one in (errors if isinstance(errors, list) else [])
        if isinstance(one, dict)
    ]
    if found:
        return found
    text = value.get("details") or value.get("message") or value.get("error")
    return [(str(text), "")] if isinstance(text, str) and text else []


def _message(error: Mapping[str, object]) -> str:
    parts = [error.get("message"), *_details(error.get("detail"))]
    return ", ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))


def _details(detail: object) -> list[object]:
    """Return what a detail says in words: Quay and Artifactory put them into an object."""
    if isinstance(detail, dict):
        return [detail.get(key) for key in ("message", "description", "error", "reason")]
    return [detail]


def _plain(body: bytes) -> str:
    text = _TAGS.sub(" ", body.decode("utf-8", "replace"))
    return _shorten(" ".join(text.split()))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
