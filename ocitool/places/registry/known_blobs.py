"""Which repositories of a registry have a blob: what earlier commands learned, for mounting.

It is only a hint: a blob may have been removed there since, or may not be ours to read. What
counts is the registry's own answer to the mount.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from ocitool.oci import Digest

_PATHS = 3
"""Repositories that are remembered for one blob; the last one that got it comes first."""


class Facts(Protocol):
    """Where facts are kept from one command to the next."""

    def get(self, key: str) -> object | None:
        """Return what is kept under a key, or None."""

    def update(self, facts: Mapping[str, object]) -> None:
        """Keep facts."""


class KnownBlobs:
    """The repositories of registries in which blobs were seen. Without `facts` none are known."""

    def __init__(self, facts: Facts | None = None) -> None:
        self._facts = facts

    def repositories(self, domain: str, digest: Digest) -> tuple[str, ...]:
        """Return repositories of a registry that may have a blob, the latest first."""
        found = self._facts.get(_key(domain, digest)) if self._facts is not None else None
        return tuple(str(path) for path in found[:_PATHS]) if isinstance(found, list) else ()

    def learn(self, domain: str, path: str, digests: Iterable[Digest]) -> None:
        """Remember that a repository has these blobs."""
        if self._facts is None:
            return
        facts: dict[str, object] = {}
        for digest in digests:
            others = [one for one in self.repositories(domain, digest) if one != path]
            facts[_key(domain, digest)] = [path, *others][:_PATHS]
        self._facts.update(facts)


def _key(domain: str, digest: Digest) -> str:
    return f"{domain} {digest}"
