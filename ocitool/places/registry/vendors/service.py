"""What is needed of a registry to clean up a repository."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ocitool.errors import OcitoolError
from ocitool.oci import Digest


class Version(Struct, frozen=True, kw_only=True):
    """One manifest as a service lists it; GitHub calls it a version.

    `at` is when it came or got its last tag, in seconds since 1970, and `source` the name of that
    field; `pulled` is when it was pulled last. `id` is the service's own name for it.
    """

    digest: Digest
    tags: tuple[str, ...] = ()
    at: float | None = None
    source: str = ""
    pulled: float | None = None
    id: str | None = None


class TagsStay(OcitoolError):
    """This registry deletes images with all their tags, and never a tag alone."""


class Service(Protocol):
    """Lists and deletes the manifests of one repository. Thread-safe.

    `untags` tells whether a tag can go while its image stays; None if only trying tells.
    `keeps_tags` tells that tags may outlive their image, and have to be deleted first.
    `batch` is how many images one call of `delete` takes, and `closing` what remains to be said.
    """

    @property
    def name(self) -> str:
        """What --api calls it."""

    @property
    def untags(self) -> bool | None:
        """Whether a tag can go while its image stays."""

    @property
    def keeps_tags(self) -> bool:
        """Whether tags may outlive their image."""

    @property
    def tells_pulls(self) -> bool:
        """Whether it tells when an image was pulled last."""

    @property
    def batch(self) -> int:
        """How many images one call of `delete` takes."""

    @property
    def closing(self) -> str:
        """What a user should know after a deletion."""

    def versions(self) -> tuple[Version, ...] | None:
        """Return all manifests, also those without a tag; None where it lists tags alone."""

    def untag(self, tag: str) -> bool:
        """Delete a tag and nothing else; False when it was not there. Raises TagsStay."""

    def delete(
        self, digests: Sequence[Digest], ids: Mapping[Digest, str]
    ) -> Mapping[Digest, OcitoolError]:
        """Delete images with all their tags; return those that were refused, each with the error.

        What is not there counts as deleted. Raises what concerns all of them, such as a registry
        that does not answer.
        """
