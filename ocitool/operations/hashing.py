"""Read blobs to their end and report what is wrong with their bytes, for `verify`."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from ocitool.concurrency import Stop, run_all
from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    MalformedArchive,
    NotFound,
    OcitoolError,
    SizeMismatch,
    StorageError,
)
from ocitool.events import Observer
from ocitool.formats.compression import DecompressingReader
from ocitool.image.content import CHUNK, Blob, Source
from ocitool.oci import Descriptor, Digest


class Problem(Struct, frozen=True, kw_only=True):
    """One piece of damage.

    `kind` is missing, size, digest, diff-id, document, file, record, incomplete or name. A record
    is what a layout itself keeps: pins, containers, what `gc` can undo. An image is incomplete when
    none of its platforms can be used, although no blob is damaged. A name is a problem when it
    stands for several images, or has the digest of another image.

    Where the subject is a part of an image, `image` is what that is called, `part` what it is there
    ("layer 2 of 5"), `layer` its number, `created_by` the build step as the config has it, and
    `other_images` how many more images have it.
    """

    kind: str
    subject: str
    message: str
    image: str | None = None
    part: str | None = None
    layer: int | None = None
    created_by: str | None = None
    other_images: int = 0


def raise_failure(error: OcitoolError) -> None:
    """Raise an error of the disk or of its permissions, which says nothing about the blob."""
    if isinstance(error, StorageError):
        raise error


def check_blobs(
    source: Source,
    blobs: Sequence[Descriptor],
    diff_ids: Mapping[Digest, Sequence[Digest]],
    *,
    jobs: int,
    observer: Observer | None = None,
) -> list[Problem]:
    """Read blobs to their end, each once, and return what is wrong with them.

    `diff_ids` are what layers must unpack to. Raises StorageError from the disk.
    """
    watcher = observer or Observer()
    problems: list[Problem] = []
    lock = threading.Lock()

    def check(descriptor: Descriptor, stop: Stop) -> None:
        def watch(count: int) -> None:
            stop.check()
            watcher.advance(count)

        try:
            with source.open(descriptor).watched(watch) as blob:
                _read(blob, set(diff_ids.get(descriptor.digest, ())))
        except OcitoolError as error:
            raise_failure(error)
            with lock:
                problems.append(_damage(descriptor, error))

    with watcher.work("verifying", sum(descriptor.size for descriptor in blobs)):
        share_out(blobs, check, jobs)
    return sorted(problems, key=lambda problem: problem.subject)


class Sized(Protocol):
    """Something that has bytes to read."""

    @property
    def size(self) -> int:
        """How many."""


Item = TypeVar("Item", bound=Sized)


def share_out(items: Sequence[Item], check: Callable[[Item, Stop], None], jobs: int) -> None:
    """Check items on several threads, the largest first."""
    # A task for each of a hundred thousand blobs would take a kilobyte each.
    waiting = iter(sorted(items, key=lambda item: -item.size))
    lock = threading.Lock()

    def work(stop: Stop) -> None:
        while True:
            stop.check()
            with lock:
                item = next(waiting, None)
            if item is None:
                return
            check(item, stop)

    run_all([work] * max(1, min(jobs, len(items))), jobs)


class _DiffIdMismatch(IntegrityError):
    """A layer is what its digest says, but unpacks to something else."""


def _read(blob: Blob, diff_ids: set[Digest]) -> None:
    """Read a blob to its verified end, and what it unpacks to if it is a layer."""
    if not diff_ids or diff_ids == {blob.descriptor.digest}:
        while blob.read():
            pass
        return
    hashers = {algorithm: Digest.of(b"", algorithm).hasher() for algorithm in _algorithms(diff_ids)}
    try:
        reader = DecompressingReader(blob)
        while part := reader.read(CHUNK):
            for hasher in hashers.values():
                hasher.update(part)
    except (MalformedArchive, LimitExceeded) as error:
        # If the blob itself is damaged, reading the rest of it raises that error instead.
        while blob.read():
            pass
        raise _DiffIdMismatch(
            f"layer {blob.descriptor.digest} does not unpack to its diff ID: {error.message}"
        ) from error
    for diff_id in sorted(diff_ids):
        actual = Digest.from_hasher(diff_id.algorithm, hashers[diff_id.algorithm])
        if actual != diff_id:
            raise _DiffIdMismatch(
                f"layer {blob.descriptor.digest} unpacks to {actual}, not to its diff ID {diff_id}"
            )


def _algorithms(digests: set[Digest]) -> set[str]:
    return {digest.algorithm for digest in digests}


def _damage(descriptor: Descriptor, error: OcitoolError) -> Problem:
    kinds: tuple[tuple[type[OcitoolError], str], ...] = (
        (_DiffIdMismatch, "diff-id"),
        (DigestMismatch, "digest"),
        (SizeMismatch, "size"),
        (NotFound, "missing"),
    )
    kind = next((name for type_, name in kinds if isinstance(error, type_)), "digest")
    return Problem(kind=kind, subject=str(descriptor.digest), message=error.message)
