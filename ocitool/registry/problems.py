"""What a registry's refusal means, and what a person can do about it.

The status decides the kind, the error code refines it, and the host is asked for its habits last:
the same mistake is 401, 403 or 404 depending on whose registry it is (distribution-spec, "Error
Codes").
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ocitool.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    StorageError,
    Unavailable,
)
from ocitool.registry.hosts import Host

PROXY_HINT = "the proxy wants a name and a password: HTTPS_PROXY=http://USER:PASSWORD@PROXY"
_SHOWN = 200
_TAGS = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_HUB_WINDOW = re.compile(r"w=(\d+)")
_IMMUTABLE = ("TAG_INVALID", "MANIFEST_TAG_ALREADY_EXISTS", "TAG_ALREADY_EXISTS")
_NO_REPOSITORY = "NAME_UNKNOWN"
_DENIED, _FORBIDDEN, _ABSENT, _TOO_LARGE = 401, 403, 404, 413
_PROXY, _BUSY, _WRONG = 407, 429, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A refusal: what was asked of whom, and what came back. `body` is what was read of it."""

    method: str
    host: Host
    repository: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    scopes: tuple[str, ...] = ()
    origin: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """The error codes of the body."""
        return tuple(code for code, _ in _errors(self.body))

    @property
    def text(self) -> str:
        """What the registry says about it, short, from whichever form it chose."""
        found = [f"{code}: {message}" if message else code for code, message in _errors(self.body)]
        return _shortened("; ".join(found)) if found else _plain(self.body)

    @property
    def is_immutable_tag(self) -> bool:
        """Tell whether the tag may not be moved."""
        text = self.text.lower()
        return any(code in _IMMUTABLE for code in self.codes) or (
            self.status in (_WRONG, _FORBIDDEN, 409, 412)
            and ("immutable" in text or "cannot be overwritten" in text)
        )

    def error(self, doing: str) -> OcitoolError:
        """Return the error to raise; `doing` is the work, such as "push to ghcr.io/a/b"."""
        kind, hint = self._meaning()
        said = f": {self.text}" if self.text else ""
        where = f"{self.method} {self.host.domain}"
        return kind(f"cannot {doing}: {where} answered {self.status}{said}", hint=hint)

    def _meaning(self) -> tuple[type[OcitoolError], str | None]:
        if self.is_immutable_tag:
            return Refused, "the tag is immutable: push under another one"
        if self.status == _BUSY:
            return Unavailable, self._busy_hint()
        if self.status == _PROXY:
            return AccessDenied, PROXY_HINT
        if self.status == _ABSENT:
            return NotFound, self._absent_hint()
        if self.status in (_DENIED, _FORBIDDEN) or "DENIED" in self.codes:
            return AccessDenied, self._denied_hint()
        if self.status == _TOO_LARGE:
            return Refused, "something before the registry limits the size: try --chunk-size 50M"
        if self.status == 507 or "quota" in self.text.lower():
            return StorageError, "the registry has no room left for this repository"
        if self.status >= 500:
            return Unavailable, "the registry is in trouble; try again later"
        return self._wrong()

    def _wrong(self) -> tuple[type[OcitoolError], str | None]:
        if "DIGEST_INVALID" in self.codes or "SIZE_INVALID" in self.codes:
            return IntegrityError, "the registry received other bytes than were sent; push again"
        if self.host.is_ecr and "mediatype" in self.text.lower().replace(" ", ""):
            return Refused, "this registry wants the field mediaType in the manifest"
        if "docker" in self.text.lower() and "MANIFEST_INVALID" in self.codes:
            return Refused, "this registry takes no index that mixes OCI and docker manifests"
        return OcitoolError, None

    def _busy_hint(self) -> str:
        window = _HUB_WINDOW.search(self.headers.get("ratelimit-limit", ""))
        if self.headers.get("ratelimit-remaining", "").startswith("0"):
            when = f" The quota counts {int(window.group(1)) // 3600} hours." if window else ""
            return f"the quota is used up: wait, or `ocitool login` for a larger one.{when}"
        return "too many requests: fewer at once with -j 1, or try again later"

    def _absent_hint(self) -> str | None:
        if self.host.is_ecr and _NO_REPOSITORY in self.codes:
            return (
                "the repository has to exist first: "
                f"{create_command(self.host, self.repository)}, or push --create-repo"
            )
        if _NO_REPOSITORY in self.codes:
            return "there is no such repository, or it is private: look at its name, or log in"
        return None

    def _denied_hint(self) -> str:
        if self.host.is_github and ("write_package" in self.text or self._writes):
            return (
                "a workflow needs `permissions: packages: write`, and the package must be linked "
                "to its repository (Package settings, Manage Actions access)"
            )
        if self.host.is_ecr:
            return (
                "the token lasts 12 hours: aws ecr get-login-password | ocitool login "
                f"-u AWS --password-stdin {self.host.domain}"
            )
        if self.origin is None:
            return f"no credentials were found for it: `ocitool login {self.host.domain}`"
        return (
            f"the credentials come from {self.origin}; they may lack rights for "
            f"{self.repository or 'this'}, or have expired: `ocitool login {self.host.domain}`"
        )

    @property
    def _writes(self) -> bool:
        return any("push" in scope for scope in self.scopes)


def create_command(host: Host, repository: str) -> str:
    """Return the command that makes a repository at Amazon's registry."""
    parts = host.name.split(".")
    region = next((parts[n + 1] for n, part in enumerate(parts) if part.startswith("ecr")), "")
    chosen = f" --region {region}" if region and host.name != "public.ecr.aws" else ""
    service = "ecr-public" if host.name == "public.ecr.aws" else "ecr"
    return f"aws {service} create-repository --repository-name {repository}{chosen}"


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
    message = error.get("message")
    detail = error.get("detail")
    parts = [part for part in (message, detail) if isinstance(part, str) and part]
    return ", ".join(dict.fromkeys(parts))


def _plain(body: bytes) -> str:
    text = _TAGS.sub(" ", body.decode("utf-8", "replace"))
    return _shortened(" ".join(text.split()))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
