"""Image references: the distribution grammar with Docker's rules for short names.

The grammar of repository and tag is distribution-spec spec.md, "Pulling manifests"; host and short
names follow the `distribution/reference` package.
"""

import re
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import MalformedDocument, UsageError
from ocitool.oci.digest import Digest
from ocitool.oci.quoting import quoted

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_OFFICIAL_PREFIX = "library/"
_LEGACY_DEFAULT_DOMAIN = "index.docker.io"
_LOCALHOST = "localhost"
_LONGEST = 255

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[_.]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_LAST_PORT = 65_535
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class Reference(Struct, frozen=True):
    """A full image reference: a repository, and the tag or digest of an image in it.

    Make it with `parse`, which validates its parts. If it has both a tag and a digest, the digest
    selects the content and the tag is only its name.
    """

    domain: str
    path: str
    tag: str | None
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name as docker does: `ubuntu` is `docker.io/library/ubuntu:latest`.

        Raises `UsageError`, which says what part is wrong.
        """
        _refuse_other_forms(text)
        head, at, digest_text = text.partition("@")
        digest = typed_digest(digest_text, text) if at else None
        colon = head.find(":", head.rfind("/") + 1)
        tag = None if colon < 0 else _check_tag(head[colon + 1 :], text)
        domain, path = _split(head if colon < 0 else head[:colon])
        _check_domain(domain, text)
        _check_path(path, text)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(domain, path, tag, digest)

    @property
    def repository(self) -> str:
        """The full name of the repository, such as `docker.io/library/ubuntu`."""
        return f"{self.domain}/{self.path}"

    @property
    def name(self) -> str:
        """The full name of the image in a store: with the tag, else with the digest."""
        if self.tag is not None:
            return f"{self.repository}:{self.tag}"
        return str(self)

    @property
    def familiar_repository(self) -> str:
        """The repository in Docker's short form, such as `ubuntu`; it parses back to the same."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        short = self.path.removeprefix(_OFFICIAL_PREFIX)
        if "/" in short:
            short = self.path
        return short if _split(short) == (self.domain, self.path) else self.repository

    @property
    def familiar(self) -> str:
        """The whole reference in Docker's short form, such as `ubuntu:24.04`."""
        return self.familiar_repository + self._suffix()

    def with_digest(self, digest: Digest) -> Self:
        """Return the reference with this digest and the same tag."""
        return replace(self, digest=digest)

    def with_tag(self, tag: str) -> Self:
        """Return the reference with another tag and without a digest; raises `UsageError`."""
        return replace(self, tag=_check_tag(tag, tag), digest=None)

    def without_tag(self) -> Self:
        """Return the repository alone, for an image that goes there by its digest."""
        return replace(self, tag=None, digest=None)

    def _suffix(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"

    def __str__(self) -> str:
        return self.repository + self._suffix()


def _refuse_other_forms(text: str) -> None:
    if not text:
        raise UsageError("the image name is empty", hint="write NAME:TAG, or HOST/NAME:TAG")
    if _IMAGE_ID.fullmatch(text):
        hint = "for an image in the store write store:ID, for one in a registry NAME@sha256:ID"
        raise UsageError(f"{quoted(text)} is an image ID, not a name", hint=hint)
    scheme, separator, _ = text.partition("://")
    if separator:
        hint = f"leave out {quoted(scheme + separator)}"
        raise UsageError(f"{quoted(text)} is an address, not an image name", hint=hint)


def typed_host(text: str) -> str | None:
    """Return the registry with which a name begins, as it was typed; None when it has none."""
    first, slash, _ = text.partition("/")
    return first if slash and _is_domain(first) and _DOMAIN.fullmatch(first) else None


def is_address(text: str) -> bool:
    """Tell whether a text is localhost or an IP address, with or without a port.

    As a name it would be a repository of Docker Hub, which nobody means.
    """
    host, colon, port = text.partition(":")
    if text.startswith("["):
        return _DOMAIN.fullmatch(text) is not None
    is_port = port.isdecimal() if colon else True
    return is_port and (host == _LOCALHOST or _IPV4.fullmatch(host) is not None)


def is_bare_host(text: str) -> bool:
    """Tell whether a text is a registry without a name in it: an address, or a dot and a port."""
    host, _, port = text.partition(":")
    has_port = port.isdecimal() and 0 < int(port[:6]) <= _LAST_PORT
    return is_address(text) or ("." in host and has_port and _DOMAIN.fullmatch(text) is not None)


def typed_digest(digest_text: str, text: str) -> Digest:
    """Return the digest that stands in what a user typed; UsageError when it is not one."""
    try:
        return Digest.parse(digest_text)
    except MalformedDocument as error:
        hint = "a digest is sha256: and 64 lower-case hex digits, or sha512: and 128"
        raise UsageError(f"{quoted(text)}: {error.message}", hint=hint) from None


def is_tag(text: str) -> bool:
    """Tell whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def _check_tag(tag: str, text: str) -> str:
    if not tag:
        raise UsageError(f"{quoted(text)}: the tag is empty")
    if not is_tag(tag):
        hint = (
            "a tag has up to 128 letters, digits, '_', '.' and '-', "
            "and must not begin with '.' or '-'"
        )
        raise UsageError(f"{quoted(text)}: {quoted(tag)} is not a tag", hint=hint)
    return tag


def _split(name: str) -> tuple[str, str]:
    """Split a name into registry and repository, as docker does.

    The part before the first slash is a registry only if it cannot be a namespace.
    """
    first, slash, rest = name.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL_PREFIX + name
    if not _is_domain(first):
        return DEFAULT_DOMAIN, name
    domain = DEFAULT_DOMAIN if first == _LEGACY_DEFAULT_DOMAIN else first
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL_PREFIX + rest
    return domain, rest


def _is_domain(first: str) -> bool:
    return first == _LOCALHOST or "." in first or ":" in first or first != first.lower()


def _check_domain(domain: str, text: str) -> None:
    if len(domain) > _LONGEST or not _DOMAIN.fullmatch(domain):
        raise UsageError(f"{quoted(text)}: {quoted(domain)} is not a registry host")


def _check_path(path: str, text: str) -> None:
    if len(path) > _LONGEST:
        message = f"{quoted(text)}: the repository name is longer than {_LONGEST} bytes"
        raise UsageError(message)
    if _PATH.fullmatch(path):
        return
    shown = quoted(path.removeprefix(_OFFICIAL_PREFIX))
    if _PATH.fullmatch(path.lower()):
        hint = f"did you mean {quoted(path.removeprefix(_OFFICIAL_PREFIX).lower())}?"
        raise UsageError(f"{quoted(text)}: the repository {shown} must be lower case", hint=hint)
    raise UsageError(f"{quoted(text)}: {shown} is not a repository name")


def familiar(name: str) -> str:
    """Return a full name in Docker's short form; any other text is returned unchanged."""
    try:
        reference = Reference.parse(name)
    except UsageError:
        return name
    return reference.familiar if name in (reference.name, str(reference)) else name
