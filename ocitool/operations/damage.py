"""Which image, layer and build step a piece of damage belongs to."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import OcitoolError
from ocitool.image.content import Catalog, Root
from ocitool.image.graph import Visit, children, read_config, read_document, walk
from ocitool.oci import Descriptor, Digest, HistoryEntry, Index, Manifest, mediatype
from ocitool.operations.hashing import Problem


class _Part(Struct, frozen=True, kw_only=True):
    """A blob as a part of an image. `part` is what it is, such as "layer 2 of 5"."""

    root: Root
    subject: str
    image: str
    part: str
    layer: int | None = None
    created_by: str | None = None


def locate(
    source: Catalog, roots: Sequence[Root], problems: Sequence[Problem]
) -> tuple[list[Problem], set[Digest]]:
    """Return the problems with the image that each is in, and the digests of damaged roots.

    The images are read once more for that: a sound place pays nothing.
    """
    subjects = {problem.subject for problem in problems}
    found: dict[str, list[_Part]] = {}
    for root in roots if subjects else ():
        for part in _parts(source, root, subjects):
            found.setdefault(part.subject, []).append(part)
    damaged = {part.root.descriptor.digest for parts in found.values() for part in parts}
    return [_named(problem, found.get(problem.subject, [])) for problem in problems], damaged


def _named(problem: Problem, parts: Sequence[_Part]) -> Problem:
    if not parts:
        return problem
    first = parts[0]
    return replace(
        problem,
        image=first.image,
        part=first.part,
        layer=first.layer,
        created_by=first.created_by,
        other_images=len({part.image for part in parts}) - 1,
    )


def _parts(source: Catalog, root: Root, subjects: AbstractSet[str]) -> Iterator[_Part]:
    """Yield what is among the subjects of all that a root reaches."""
    documents: dict[Digest, Manifest | Index] = {}

    def read(visit: Visit[Descriptor]) -> list[tuple[Descriptor, bool]]:
        if not mediatype.is_document(visit.node.media_type):
            return []
        try:
            document = read_document(source, visit.node)
        except OcitoolError:
            return []
        documents[visit.node.digest] = document
        return children(document) if isinstance(document, Index) else []

    for descriptor in walk(read, [root.descriptor], lambda _visit, _error: None):
        platform = f" ({descriptor.platform})" if descriptor.platform is not None else ""
        image = root.called + platform
        document = documents.get(descriptor.digest)
        if str(descriptor.digest) in subjects:
            kind = "the index" if mediatype.is_index(descriptor.media_type) else "the manifest"
            yield _Part(root=root, subject=str(descriptor.digest), image=image, part=kind)
        if isinstance(document, Manifest):
            yield from _parts_of_image(source, root, image, document, subjects)


def _parts_of_image(
    source: Catalog, root: Root, image: str, manifest: Manifest, subjects: AbstractSet[str]
) -> Iterator[_Part]:
    config = str(manifest.config.digest)
    if config in subjects:
        yield _Part(root=root, subject=config, image=image, part="the configuration")
    hit = [n for n, layer in enumerate(manifest.layers) if str(layer.digest) in subjects]
    steps = _steps(source, manifest) if hit else ()
    for position in hit:
        step = steps[position] if position < len(steps) else None
        yield _Part(
            root=root,
            subject=str(manifest.layers[position].digest),
            image=image,
            part=f"layer {position + 1} of {len(manifest.layers)}",
            layer=position + 1,
            created_by=(step.created_by or step.comment) if step is not None else None,
        )


def _steps(source: Catalog, manifest: Manifest) -> tuple[HistoryEntry | None, ...]:
    try:
        return read_config(source, manifest).layer_history()
    except OcitoolError:
        return ()
