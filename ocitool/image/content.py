"""The central interfaces: verified streams, and the places that are read from and written to."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from msgspec import Struct, field

from ocitool.errors import DigestMismatch, LimitExceeded, SizeMismatch
from ocitool.events import Outcome
from ocitool.formats.compression import Codec
from ocitool.oci import Descriptor, Digest, Index, Manifest, Platform

CHUNK = 1 << 18


class Blob:
    """A one-pass stream that cannot reach its end unless size and digest are right.

    `where` names the origin in errors, and `hint` says what to do when it is damaged. The last
    bytes are handed out only after they were verified. Raises SizeMismatch and DigestMismatch
    (image-spec descriptor.md, "Digests").
    """

    def __init__(
        self,
        descriptor: Descriptor,
        read: Callable[[int], bytes],
        *,
        where: str,
        close: Callable[[], None] | None = None,
        hint: str | None = None,
    ) -> None:
        self.descriptor = descriptor
        self._read = read
        self._where = where
        self._close = close
        self._hint = hint
        self._remaining = descriptor.size
        self._hasher = descriptor.digest.hasher()
        self._verified = False
        self._watch: Callable[[int], None] | None = None

    @classmethod
    def of(cls, descriptor: Descriptor, data: bytes, *, where: str) -> "Blob":
        """Return a blob over bytes in memory."""
        view = memoryview(data)
        position = 0

        def read(size: int) -> bytes:
            nonlocal position
            part = bytes(view[position : position + size])
            position += len(part)
            return part

        return cls(descriptor, read, where=where)

    def watched(self, watch: Callable[[int], None]) -> "Blob":
        """Call `watch` with the number of bytes of every read; return this blob."""
        self._watch = watch
        return self

    def read(self, size: int = CHUNK) -> bytes:
        """Return up to `size` bytes; b"" only at an end that was verified."""
        if self._verified:
            return b""
        part = self._read(min(size, self._remaining)) if self._remaining else b""
        if not part and self._remaining:
            got = self.descriptor.size - self._remaining
            raise SizeMismatch(
                f"{self._where} ends after {got} of {self.descriptor.size} bytes of "
                f"{self.descriptor.digest}",
                hint=self._hint,
            )
        self._hasher.update(part)
        self._remaining -= len(part)
        if not self._remaining:
            self._verify()
        if self._watch is not None:
            self._watch(len(part))
        return part

    def read_all(self, limit: int) -> bytes:
        """Return the whole content, verified; more than `limit` bytes is LimitExceeded."""
        if self.descriptor.size > limit:
            raise LimitExceeded(
                f"{self._where} is {self.descriptor.size} bytes; the limit here is {limit}"
            )
        parts = []
        while part := self.read():
            parts.append(part)
        return b"".join(parts)

    def _verify(self) -> None:
        if self._read(1):
            raise SizeMismatch(
                f"{self._where} is longer than the {self.descriptor.size} bytes of "
                f"{self.descriptor.digest}",
                hint=self._hint,
            )
        actual = self._hasher.hexdigest()
        if actual != self.descriptor.digest.hex:
            raise DigestMismatch(
                f"{self._where} is damaged: it hashes to "
                f"{self.descriptor.digest.algorithm}:{actual}, not {self.descriptor.digest}",
                hint=self._hint,
            )
        self._verified = True

    def close(self) -> None:
        """Release the origin; harmless when repeated."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Source(Protocol):
    """A place that content is read from. `open` may be called from several threads."""

    def open(self, descriptor: Descriptor) -> Blob:
        """Return the content as a stream that verifies itself; NotFound when absent."""


class Catalog(Source, Protocol):
    """A source that knows which images it offers, and what they are called."""

    def roots(self) -> "tuple[Root, ...]":
        """Return the images and artifacts that the place offers by themselves."""

    def resolve(self, name: str) -> "Root":
        """Return the one that is called `name`; NotFound when there is none."""


@runtime_checkable
class Inventory(Protocol):
    """A place that can tell cheaply whether it holds a blob."""

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether content of that digest and size is there."""


def as_promised(source: Source) -> Source:
    """Return the place of a delta with what that requires counted as there; others as they are."""
    found: Source = getattr(source, "promised", source)
    return found


class SynthesizedLayer(Struct, frozen=True, kw_only=True):
    """A layer of an image without a manifest: the stored bytes and what they must unpack to."""

    descriptor: Descriptor
    diff_id: Digest
    codec: Codec
    where: str


class SynthesizedImage(Struct, frozen=True, kw_only=True):
    """An image whose manifest was made here, because its place holds a config and layers only."""

    config: Descriptor
    layers: tuple[SynthesizedLayer, ...]


@runtime_checkable
class SynthesizesManifests(Protocol):
    """A source that makes manifests for images that have none."""

    @property
    def synthesized(self) -> Mapping[Digest, SynthesizedImage]:
        """Those images, by the digest of the manifest that was made."""


def synthesized_images(source: Source) -> Mapping[Digest, SynthesizedImage]:
    """Return the images of a source whose manifest was made, by the digest of that manifest."""
    return source.synthesized if isinstance(source, SynthesizesManifests) else {}


ReadAt = Callable[[int, int], bytes]
"""Returns up to so many bytes (the second number) from an offset (the first) on; b"" at the end."""


@runtime_checkable
class InRepository(Protocol):
    """A source that reads from one repository of a registry."""

    @property
    def location(self) -> tuple[str, str]:
        """The registry's domain, and the path of the repository."""


@runtime_checkable
class Positioned(Protocol):
    """A source whose content can be read at any offset, not verified, to describe it."""

    def positioned(self, descriptor: Descriptor) -> AbstractContextManager[ReadAt]:
        """Return a block in which the content can be read; NotFound when absent. Thread-safe."""


@runtime_checkable
class Stamped(Protocol):
    """A source that can tell without reading whether content is what it was before."""

    def stamp(self, descriptor: Descriptor) -> str | None:
        """Return a text that changes whenever the stored bytes may; None where none can be told.

        NotFound when the content is absent.
        """


@runtime_checkable
class Remarking(Protocol):
    """A source that offers some images in another form than they are stored in."""

    @property
    def remarks(self) -> Mapping[Digest, tuple[str, ...]]:
        """Texts about what was made or left out, by the digest of a root."""


class RangeStream(Protocol):
    """Some bytes of a blob in order, not verified."""

    @property
    def supports_ranges(self) -> bool:
        """Whether the place has shown that it sends parts of a blob."""

    def read(self, size: int) -> bytes | memoryview:
        """Return up to `size` bytes, good until the next call; b"" at the end."""

    def close(self) -> None:
        """Release the connection; harmless when repeated."""


class NoRanges(Exception):
    """Raised if a range is required and the place sends only whole blobs."""


OpenRange = Callable[[int, int | None], RangeStream]
"""Opens a blob from one byte to another, or (None) to its end; the latter always works."""


@runtime_checkable
class Ranged(Protocol):
    """A source from which parts of a blob can be read, so that a transfer can be resumed."""

    def ranges(self, descriptor: Descriptor) -> OpenRange | None:
        """Return how to read parts of a blob; None if the place does not offer that."""


class Ingest(Protocol):
    """A blob that is received in parts, in any order; they are kept after an interruption."""

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges (first byte, byte after the last) that are still missing."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Keep some bytes. May be called from several threads."""

    def commit(self) -> None:
        """Verify the whole and store it; after DigestMismatch nothing of it is kept."""

    def discard(self) -> None:
        """Delete what was received; harmless when repeated."""

    def close(self) -> None:
        """Keep what was received for another time; harmless when repeated."""


@runtime_checkable
class Ingesting(Protocol):
    """A target that keeps the received parts of a blob, also for another process."""

    def ingest(self, descriptor: Descriptor) -> Ingest | None:
        """Start or resume a blob; None while another process is receiving it."""

    def ingest_beside(self, descriptor: Descriptor) -> Ingest:
        """Begin a blob that another process is at, with a copy of what has come there."""

    def progress_of(self, descriptor: Descriptor) -> int:
        """Return a number that grows while another process is receiving a blob."""


class Root(Struct, frozen=True, kw_only=True):
    """A manifest or index that a place offers by itself, and what it is called there.

    `names` are full references. `label` is a name that is not a full reference, such as the tag
    "1.0" in an OCI layout. `other_names` are what other tools called it besides, such as a tag that
    umoci gave it. `descriptor` carries the entry's other annotations.
    """

    descriptor: Descriptor
    names: tuple[str, ...] = ()
    label: str | None = None
    other_names: tuple[str, ...] = ()

    @property
    def further_names(self) -> tuple[str, ...]:
        """The label and the names of other tools."""
        return (*([self.label] if self.label is not None else ()), *self.other_names)

    @property
    def called(self) -> str:
        """What to call it in a message: its first name, its label, or its digest."""
        if self.names:
            return self.names[0]
        return self.label or f"image {self.descriptor.digest.short}"


class Closure(Struct, frozen=True, kw_only=True):
    """Everything one root needs: exact bytes, exact blobs, in a safe order.

    `documents` are the manifests and indexes, children before parents, the root last; `blobs` are
    configs, layers and other content, each once. `missing` are children of indexes that the place
    does not hold (all of them, or a part of what they need): a sparse index. `reasons` say what is
    absent of each of those.
    """

    root: Descriptor
    documents: tuple[tuple[Descriptor, Manifest | Index], ...]
    blobs: tuple[Descriptor, ...]
    missing: tuple[Descriptor, ...] = ()
    reasons: Mapping[Digest, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of all blobs and documents together."""
        documents = sum(descriptor.size for descriptor, _ in self.documents)
        return documents + sum(blob.size for blob in self.blobs)

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """The descriptors of all blobs and documents."""
        return self.blobs + tuple(descriptor for descriptor, _ in self.documents)

    def document(self, digest: Digest) -> Manifest | Index | None:
        """Return a document of the closure by its digest."""
        for descriptor, document in self.documents:
            if descriptor.digest == digest:
                return document
        return None


class ConfigFacts(Struct, frozen=True, kw_only=True):
    """The part of a configuration that is needed to move its image."""

    platform: Platform
    diff_ids: tuple[Digest, ...]


class PlannedImage(Struct, frozen=True, kw_only=True):
    """A root to move, with everything that it needs.

    `configs` holds what the configurations of its images say, by their digests. `featured` is the
    image for readers that know only one platform, such as `docker load`.
    """

    root: Root
    closure: Closure
    configs: Mapping[Digest, ConfigFacts] = field(default_factory=dict)
    featured: Manifest | None = None


class Target(Protocol):
    """A place that stores content. All methods may be called from several threads."""

    def announce(self, descriptors: Sequence[Descriptor]) -> None:
        """Note what is about to be stored or reused; called before `has` and `put`."""

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is already stored."""

    def put(self, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Outcome:
        """Store the content. Idempotent; publishes only after the verified end.

        Returns what happened to it.
        """

    def root(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        """Make a stored manifest a root of the place, under these names (or none)."""
