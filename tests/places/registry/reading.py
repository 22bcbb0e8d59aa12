"""Short ways to read from a test server with our own client."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, Reference
from ocitool.places.registry import Registries, RegistryOptions, Repository, Session

NAME = "a/b"
TYPE = "application/vnd.oci.image.layer.v1.tar"
LIMITS = replace(DEFAULT_LIMITS, stall_seconds=10, connect_seconds=5, commit_seconds=10)
_MOMENTS: dict[str, Any] = {"stall_seconds": 0.4, "connect_seconds": 1, "commit_seconds": 0.6}
HASTY = replace(LIMITS, **_MOMENTS)
"""For servers that are to keep us waiting: too hasty to count requests by, on a busy machine."""
HOME = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}


def quick(**options: Any) -> RegistryOptions:
    """Return options with which nothing takes long."""
    return RegistryOptions(**{"retry_max_wait": 0.02, "limits": LIMITS, **options})


@dataclass
class Reader:
    """One repository of a server, and what was said about it."""

    registries: Registries
    host: str
    warnings: list[str] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return Session(self.registries, self.host, NAME)

    @property
    def repository(self) -> Repository:
        return Repository(self.session)

    def reference(self, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(self.host, NAME, tag, digest)

    def fetched(self, tag: str | None = None, digest: Digest | None = None) -> Descriptor:
        return self.repository.fetch(self.reference(tag, digest))

    def blob(self, descriptor: Descriptor) -> bytes:
        with self.repository.open(descriptor) as blob:
            return everything(blob.read)


@contextlib.contextmanager
def reading(
    host: str, environment: dict[str, str] | None = None, **options: Any
) -> Iterator[Reader]:
    """Talk to a server for the block."""
    warnings: list[str] = []
    variables = HOME if environment is None else environment
    with Registries(quick(**options), warn=warnings.append, environment=variables) as registries:
        yield Reader(registries, host, warnings)


def everything(read: Callable[[int], bytes | memoryview], size: int = 1 << 16) -> bytes:
    """Read to the end."""
    parts = []
    while part := bytes(read(size)):
        parts.append(part)
    return b"".join(parts)


def described(data: bytes, media_type: str = TYPE, algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of a blob."""
    digest = Digest.of(data, algorithm)
    return Descriptor(media_type=media_type, digest=digest, size=len(data))
