"""Is it whole? Every blob hashed, every size, every diff ID, every reference followed."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.containers import containers
from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    LimitExceeded,
    MalformedArchive,
    NotFound,
    OcitoolError,
    Refused,
    SizeMismatch,
    StorageError,
)
from ocitool.events import Observer
from ocitool.formats.compression import DecompressingReader
from ocitool.garbage.reachable import Reachable, StoredDocuments, mark_readable
from ocitool.garbage.references import DescriptorRef
from ocitool.image.content import CHUNK, Blob, Catalog, Closure, Inventory, Root
from ocitool.image.graph import Visit, children, closure_of, content_of, read_document, walk
from ocitool.image.wholeness import (
    Incomplete,
    UnfittingConfig,
    WholeImage,
    require_whole,
    whole_image,
)
from ocitool.oci import Descriptor, Digest, Manifest, mediatype
from ocitool.places.layout import Layout
from ocitool.places.layout.trash import last_run
from ocitool.transfer.plan import PlanSize


class Problem(Struct, frozen=True, kw_only=True):
    """One piece of damage.

    `kind` is missing, size, digest, diff-id, document, file, record or incomplete. A record is
    what a layout itself keeps: pins, containers, what `gc` can undo. An image is incomplete when
    nothing of it can be used, although no single blob is to blame.
    """

    kind: str
    subject: str
    message: str


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What was looked at and what is wrong.

    `absent` are children of indexes that are not here, or lack some of their blobs: a sparse index
    is not damage. `foreign` are absent layers that belong elsewhere, by their type. `unreferenced`
    are sound blobs that no image needs, `unknown_files` files among the blobs that are none.
    """

    roots: int
    blobs: int
    size: int
    problems: tuple[Problem, ...]
    absent: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    unreferenced: tuple[Digest, ...] = ()
    unknown_files: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Tell whether nothing is damaged."""
        return not self.problems


# Every blob is looked for and hashed in its turn, so these need no report where they first show.
_FOUND_BY_HASHING = (NotFound, DigestMismatch, SizeMismatch)


class _Graph(Struct):
    """What the roots reach: blobs, what each layer must unpack to, and the damage on the way."""

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    diff_ids: dict[Digest, set[Digest]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    absent: dict[Digest, Descriptor] = field(default_factory=dict)
    foreign: dict[Digest, Descriptor] = field(default_factory=dict)


def verify(
    source: Catalog,
    roots: Sequence[Root] | None = None,
    *,
    fast: bool = False,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> VerifyReport:
    """Check a place, or some of its images; nothing is changed.

    Images are sound exactly where `load` takes them, except that `load` trusts a manifest that its
    layers unpack to their diff IDs. Every blob is read once: its digest, and for a layer the digest
    of what it unpacks to. `fast` checks names, sizes and documents only. Of a layout without
    `roots`, blobs that nothing needs are checked too. Raises MalformedDocument when an index.json
    cannot be read at all.
    """
    chosen = source.roots() if roots is None else tuple(roots)
    graph = _Graph()
    refused = _judge(source, _every_entry(source, chosen), graph)
    _follow(source, [root for root, _ in refused], graph)
    unreferenced: list[Descriptor] = []
    unknown_files: list[str] = []
    if isinstance(source, Layout) and roots is None:
        unreferenced, unknown_files, odd = _unreferenced(source, graph)
        # What is no regular file was missed as a blob already; once is enough.
        told = {problem.subject for problem in odd}
        graph.problems = [p for p in graph.problems if _path_of(p) not in told] + odd
        graph.problems += _records(source)
    checks = [*graph.blobs.values(), *unreferenced]
    if not fast:
        graph.problems += _check_all(source, checks, graph, jobs, observer or Observer())
    graph.problems += _incomplete(refused, graph.problems, hashed=not fast)
    return VerifyReport(
        roots=len(chosen),
        blobs=len(checks),
        size=sum(descriptor.size for descriptor in checks),
        problems=tuple(_unique(graph.problems)),
        absent=tuple(graph.absent.values()),
        foreign=tuple(graph.foreign.values()),
        unreferenced=tuple(descriptor.digest for descriptor in unreferenced),
        unknown_files=tuple(unknown_files),
    )


def _every_entry(source: Catalog, roots: Sequence[Root]) -> Sequence[Root]:
    """Return a root of a layout once for each of its entries: one of two may lie about the size."""
    if not isinstance(source, Layout):
        return roots
    known = {root.descriptor.digest: root for root in roots}
    entries = [entry for entry in source.index().entries if entry.digest in known]
    return [replace(known[entry.digest], descriptor=entry) for entry in entries]


_Refused = Sequence[tuple[Root, OcitoolError]]


def _judge(source: Catalog, roots: Sequence[Root], graph: _Graph) -> _Refused:
    """Add the images that are whole to the graph; return the others, and what is wrong with each.

    LimitExceeded where they are too many to be loaded at once; a store is never loaded as a whole.
    """
    refused: list[tuple[Root, OcitoolError]] = []
    size = PlanSize()
    is_store = isinstance(source, Layout) and source.is_store
    for root in roots:
        try:
            closure = closure_of(source, root.descriptor)
            images = require_whole(source, root, closure)
        except OcitoolError as error:
            _raise_failure(error)
            refused.append((root, error))
            continue
        if not is_store:
            size.add(closure)
        _add_closure(closure, images, graph)
    return refused


def _add_closure(closure: Closure, images: Sequence[WholeImage], graph: _Graph) -> None:
    graph.blobs.update((d.digest, _slim(d)) for d in closure.descriptors)
    graph.absent.update((child.digest, _slim(child)) for child in closure.missing)
    for _, document in closure.documents:
        for blob in content_of(document) if isinstance(document, Manifest) else ():
            if blob.digest not in graph.blobs:
                graph.foreign[blob.digest] = _slim(blob)
    for image in images:
        _add_diff_ids(image, graph)


def _incomplete(refused: _Refused, found: Sequence[Problem], *, hashed: bool) -> list[Problem]:
    """Return the images that cannot be used for a reason that no problem of a blob tells."""
    told = {problem.message for problem in found}
    return [
        Problem(kind="incomplete", subject=str(root.descriptor.digest), message=error.message)
        for root, error in refused
        if error.message not in told
        and (isinstance(error, Incomplete) or not (hashed and isinstance(error, _FOUND_BY_HASHING)))
    ]


class _Needed(NamedTuple):
    """A descriptor, and what to call the image that needs it."""

    descriptor: Descriptor
    called: str

    @property
    def media_type(self) -> str:
        return self.descriptor.media_type

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def size(self) -> int:
        return self.descriptor.size


def _follow(source: Catalog, roots: Sequence[Root], graph: _Graph) -> None:
    """Add what refused images reach to the graph, with all damage on the way."""

    def read(visit: Visit[_Needed]) -> list[tuple[_Needed, bool]]:
        descriptor, called = visit.node
        problem = _presence(source, descriptor, called)
        if problem is not None and problem.kind == "missing":
            raise NotFound(problem.message)
        if problem is not None:
            graph.problems.append(problem)
            return []
        graph.blobs[descriptor.digest] = descriptor
        listed = _enter(source, descriptor, graph)
        return [(_Needed(_slim(child), called), absent) for child, absent in listed]

    def miss(visit: Visit[_Needed], error: NotFound) -> None:
        descriptor = visit.node.descriptor
        if visit.may_be_absent:
            is_document = mediatype.is_document(descriptor.media_type)
            absent = graph.absent if is_document else graph.foreign
            absent[descriptor.digest] = descriptor
        else:
            subject = str(descriptor.digest)
            problem = Problem(kind="missing", subject=subject, message=error.message)
            graph.problems.append(problem)

    for _ in walk(read, [_Needed(root.descriptor, root.called) for root in roots], miss):
        pass


def _enter(source: Catalog, descriptor: Descriptor, graph: _Graph) -> list[tuple[Descriptor, bool]]:
    """Return the children of a manifest or index, and whether each may be absent."""
    if not mediatype.is_document(descriptor.media_type):
        return []
    try:
        document = read_document(source, descriptor)
    except OcitoolError as error:
        if not _is_found_by_hashing(source, descriptor, error):
            graph.problems.append(_bad_document(descriptor, error))
        return []
    if isinstance(document, Manifest) and document.is_image:
        _note_diff_ids(source, descriptor, document, graph)
    return children(document)


def _is_found_by_hashing(source: Catalog, descriptor: Descriptor, error: OcitoolError) -> bool:
    """Tell whether the blob itself is damaged or absent, and not what is written in it."""
    if not isinstance(error, _FOUND_BY_HASHING):
        return False
    try:
        with source.open(descriptor) as blob:
            while blob.read():
                pass
    except OcitoolError:
        return True
    return False


def _slim(child: Descriptor) -> Descriptor:
    """Return what is needed of a descriptor: all of them are kept, and some are large."""
    return Descriptor(
        media_type=child.media_type, digest=child.digest, size=child.size, platform=child.platform
    )


def _bad_document(descriptor: Descriptor, error: OcitoolError) -> Problem:
    _raise_failure(error)
    return Problem(kind="document", subject=str(descriptor.digest), message=error.message)


def _raise_failure(error: OcitoolError) -> None:
    """Raise what tells of the disk or its rights, and not of the blob."""
    if isinstance(error, StorageError):
        raise error


def _note_diff_ids(
    source: Catalog, descriptor: Descriptor, manifest: Manifest, graph: _Graph
) -> None:
    try:
        _add_diff_ids(whole_image(source, descriptor, manifest), graph)
    except UnfittingConfig as error:
        graph.problems.append(_bad_document(descriptor, error))
    except OcitoolError as error:
        if not _is_found_by_hashing(source, manifest.config, error):
            graph.problems.append(_bad_document(manifest.config, error))


def _add_diff_ids(image: WholeImage, graph: _Graph) -> None:
    for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
        if mediatype.is_layer(layer.media_type):
            graph.diff_ids.setdefault(layer.digest, set()).add(diff_id)


def _presence(source: Catalog, descriptor: Descriptor, called: str) -> Problem | None:
    if not isinstance(source, Inventory) or source.has(descriptor):
        return None
    subject = str(descriptor.digest)
    size = source.blob_size(descriptor.digest) if isinstance(source, Layout) else None
    if size is not None:
        message = f"blob {subject} is {size} bytes; {called} needs {descriptor.size}"
        return Problem(kind="size", subject=subject, message=message)
    try:
        source.open(descriptor).close()
    except SizeMismatch as error:
        return Problem(kind="size", subject=subject, message=f"{error.message}; {called} needs it")
    except OcitoolError:
        pass
    return Problem(
        kind="missing", subject=subject, message=f"blob {subject} is missing; {called} needs it"
    )


def _path_of(problem: Problem) -> str:
    return f"blobs/{problem.subject.replace(':', '/', 1)}"


def _unreferenced(
    layout: Layout, graph: _Graph
) -> tuple[list[Descriptor], list[str], list[Problem]]:
    found: list[Descriptor] = []
    unknown_files: list[str] = []
    problems: list[Problem] = []
    needed = _reachable(layout)
    # What has the wrong size is damaged however it hashes, and may be without an end.
    told = {problem.subject for problem in graph.problems if problem.kind == "size"}
    for path, digest in layout.blob_files():
        if digest is None:
            unknown_files.append(path)
            continue
        if digest in graph.blobs or str(digest) in told:
            continue
        try:
            file, size = layout.open_blob(digest)
            os.close(file)
        except OcitoolError as error:
            _raise_failure(error)
            problems.append(Problem(kind="file", subject=path, message=error.message))
            continue
        blob = Descriptor(media_type="application/octet-stream", digest=digest, size=size)
        if str(digest) in needed:
            graph.blobs[digest] = blob
        else:
            found.append(blob)
    return found, unknown_files, problems


def _reachable(layout: Layout) -> set[str]:
    """Return all that `gc` keeps for the entries of index.json, documents of any type followed."""
    found = Reachable()
    documents = StoredDocuments(layout, layout.listing().blobs)
    entries = layout.index().entries
    mark_readable(documents, [DescriptorRef.to(e, may_be_absent=False) for e in entries], found)
    return found.digests


def _records(layout: Layout) -> Iterator[Problem]:
    """Yield which of the records of a layout cannot be read: each of them keeps images."""
    readers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("pins", layout.pins),
        ("containers", lambda: containers(layout)),
        ("trash", lambda: layout.control is not None and last_run(layout.control)),
    )
    for subject, read in readers:
        try:
            read()
        except (IntegrityError, Refused) as error:
            message = f"{error.message}; {error.hint}" if error.hint else error.message
            yield Problem(kind="record", subject=subject, message=message)


def _check_all(
    source: Catalog,
    blobs: Sequence[Descriptor],
    graph: _Graph,
    jobs: int,
    observer: Observer,
) -> list[Problem]:
    problems: list[Problem] = []
    lock = threading.Lock()

    def check(descriptor: Descriptor) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            def watch(count: int) -> None:
                stop.check()
                observer.advance(count)

            try:
                with source.open(descriptor).watched(watch) as blob:
                    _read(blob, graph.diff_ids.get(descriptor.digest, set()))
            except OcitoolError as error:
                _raise_failure(error)
                with lock:
                    problems.append(_damage(descriptor, error))

        return run

    ordered = sorted(blobs, key=lambda descriptor: -descriptor.size)
    observer.begin("verifying", sum(descriptor.size for descriptor in blobs))
    try:
        run_all([check(descriptor) for descriptor in ordered], jobs)
    finally:
        observer.end()
    return sorted(problems, key=lambda problem: problem.subject)


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
        # If the blob is damaged, that is what this raises; if not, it was made like this.
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


def _unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
