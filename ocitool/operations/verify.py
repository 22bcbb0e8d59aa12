"""Check a place: hash every blob, compare sizes and diff IDs, follow every reference."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import (
    DigestMismatch,
    NotFound,
    OcitoolError,
    SizeMismatch,
)
from ocitool.events import Observer
from ocitool.image.content import Catalog, Closure, Inventory, Remarking, Root
from ocitool.image.entries import ambiguous, ambiguous_names
from ocitool.image.graph import Visit, children, closure_of, content_of, read_document, walk
from ocitool.image.wholeness import (
    Incomplete,
    UnfittingConfig,
    WholeImage,
    require_whole,
    whole_image,
)
from ocitool.oci import Descriptor, Digest, Manifest, Reference, mediatype
from ocitool.operations.damage import locate
from ocitool.operations.hashing import Problem, check_blobs, raise_failure
from ocitool.operations.records import reachable_digests, unreadable_records
from ocitool.places.layout import Layout
from ocitool.transfer.plan import PlanSize


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What was checked and what is wrong.

    `absent` are children of indexes that are not here, or lack some of their blobs: a sparse index
    is not damage. `foreign` are absent layers of a type that is stored elsewhere. `unreferenced`
    are sound blobs that no image needs, `unknown_files` files among the blobs that are not blobs.
    `proved` are the images and artifacts in which nothing is damaged, `seconds` how long it took.
    """

    roots: int
    blobs: int
    size: int
    problems: tuple[Problem, ...]
    absent: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    unreferenced: tuple[Digest, ...] = ()
    unknown_files: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    proved: tuple[Root, ...] = ()
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Tell whether nothing is damaged."""
        return not self.problems


_NOTHING: Mapping[str, str] = {}
# Hashing all blobs finds these again and reports them, so they are not reported before.
_FOUND_BY_HASHING = (NotFound, DigestMismatch, SizeMismatch)


class _Graph(Struct):
    """What the roots reach: blobs, what each layer must unpack to, and the damage on the way."""

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    diff_ids: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
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

    Images are sound where `load` takes them and their layers unpack to their diff IDs. `fast` reads
    only documents. A layout without `roots` is checked whole. MalformedDocument for its index.json.
    """
    begin = time.monotonic()
    chosen = source.roots() if roots is None else tuple(roots)
    graph = _Graph()
    refused = _judge(source, _every_entry(source, chosen), graph)
    _follow(source, [root for root, _ in refused], graph)
    layout = source if isinstance(source, Layout) and roots is None else None
    unreferenced, unknown_files = _check_files(layout, graph)
    checks = [*graph.blobs.values(), *unreferenced]
    if not fast:
        graph.problems += check_blobs(source, checks, graph.diff_ids, jobs=jobs, observer=observer)
    graph.problems += _incomplete(refused, graph.problems, hashed=not fast)
    graph.problems += _bad_names(source, chosen)
    problems, damaged = locate(source, chosen, list(_unique(graph.problems)))
    damaged |= {root.descriptor.digest for root, _ in refused}
    return VerifyReport(
        roots=len(chosen),
        blobs=len(checks),
        size=sum(descriptor.size for descriptor in checks),
        problems=tuple(problems),
        absent=tuple(graph.absent.values()),
        foreign=tuple(graph.foreign.values()),
        unreferenced=tuple(descriptor.digest for descriptor in unreferenced),
        unknown_files=tuple(unknown_files),
        remarks=_remarks(source, chosen),
        proved=tuple(root for root in chosen if root.descriptor.digest not in damaged),
        seconds=time.monotonic() - begin,
    )


def _check_files(layout: Layout | None, graph: _Graph) -> tuple[list[Descriptor], list[str]]:
    """Look at all files of a layout; return the blobs that no image needs, and unknown files."""
    if layout is None:
        return [], []
    unreferenced, unknown_files, odd = _unreferenced(layout, graph)
    # A file that is not regular may have been reported as a missing blob; report it only once.
    told = {problem.subject for problem in odd}
    graph.problems = [p for p in graph.problems if _path_of(p) not in told] + odd
    graph.problems += unreadable_records(layout)
    return unreferenced, unknown_files


def _every_entry(source: Catalog, roots: Sequence[Root]) -> Sequence[Root]:
    """Return a root of a layout once for each of its entries, which may give different sizes."""
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
            raise_failure(error)
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
    """Return the images that cannot be used for a reason other than the problem of a blob."""
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


def _bad_names(source: Catalog, roots: Sequence[Root]) -> Iterator[Problem]:
    """Yield names that lead to no image, or to several."""
    if isinstance(source, Layout) and source.is_store:
        for root in roots:
            for name in root.names:
                digest = Reference.parse(name).digest
                if digest is not None and digest != root.descriptor.digest:
                    message = f"{name} is the name of image {root.descriptor.digest}"
                    yield Problem(kind="name", subject=name, message=message)
        return
    for name, found in ambiguous_names(roots).items():
        if any(name in root.names for root in found):
            yield Problem(kind="name", subject=name, message=ambiguous(name, found).message)


def _remarks(source: Catalog, roots: Sequence[Root]) -> tuple[str, ...]:
    if not isinstance(source, Remarking):
        return ()
    digests = dict.fromkeys(root.descriptor.digest for root in roots)
    return tuple(text for digest in digests for text in source.remarks.get(digest, ()))


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
    """Tell whether the bytes of a blob are damaged or absent, rather than its content invalid."""
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
        media_type=sys.intern(child.media_type),
        digest=child.digest,
        size=child.size,
        platform=child.platform,
        annotations=_NOTHING,
        extra=_NOTHING,
    )


def _bad_document(descriptor: Descriptor, error: OcitoolError) -> Problem:
    raise_failure(error)
    return Problem(kind="document", subject=str(descriptor.digest), message=error.message)


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
        known = graph.diff_ids.get(layer.digest, ())
        if mediatype.is_layer(layer.media_type) and diff_id not in known:
            # A plain layer has one digest for both, and then one value is enough.
            same = layer.digest if diff_id == layer.digest else diff_id
            graph.diff_ids[layer.digest] = (*known, same)


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
    needed: set[str] | None = None
    # A blob of the wrong size is damaged whatever its hash, and may be endless.
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
            raise_failure(error)
            problems.append(Problem(kind="file", subject=path, message=error.message))
            continue
        blob = Descriptor(media_type="application/octet-stream", digest=digest, size=size)
        # Walking everything once more takes memory, and a clean store needs none of it.
        needed = reachable_digests(layout) if needed is None else needed
        if str(digest) in needed:
            graph.blobs[digest] = blob
        else:
            found.append(blob)
    return found, unknown_files, problems


def _unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
