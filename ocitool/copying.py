"""load, save and copy: one verb between two places.

`load` brings everything a source offers into a layout, `save` writes images into one archive. Both
plan first, then move; what had to be converted or left behind is in the report.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ocitool.archive import ArchiveSource, archive_size, universal_tar
from ocitool.compression import Codec, Compressor
from ocitool.content import Catalog, Root, Shipment, Source
from ocitool.errors import IntegrityError, NotFound, UsageError
from ocitool.events import Observer
from ocitool.fsops import OutputFile
from ocitool.graph import (
    closure_of,
    images_of,
    read_config,
    root_subject,
    select_platform,
    subject_of,
)
from ocitool.layout import Layout, NameChange, Writing
from ocitool.layout.writing import refuse_moves
from ocitool.overlay import Overlay
from ocitool.recompress import COMPRESSIONS, KEEP, Conversion, Recompressor
from ocitool.spec import Descriptor, Digest, Platform, mediatype
from ocitool.subset import platforms_of, restrict
from ocitool.transfer import DEFAULT_JOBS, TransferReport, transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedImage:
    """One image that arrived: how it is called, what it is, and what is missing of it.

    `image_id` is the digest of the config, docker's image ID, when the image is for one platform.
    `label` is what the source called an image that has no full name.
    """

    names: tuple[str, ...]
    label: str | None
    digest: Digest
    media_type: str
    image_id: Digest | None
    platforms: tuple[Platform, ...]
    missing: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What a load, save or copy did. `attached` counts artifacts that came along."""

    images: tuple[CopiedImage, ...]
    attached: int = 0
    conversions: tuple[Conversion, ...] = ()
    moved: tuple[NameChange, ...] = ()
    transfer: TransferReport = field(default_factory=TransferReport)


def load(
    source: Catalog,
    layout: Layout,
    *,
    roots: Sequence[Root] | None = None,
    name: str | None = None,
    platforms: Sequence[Platform] = (),
    compression: str | None = None,
    clobber: bool = True,
    strict: bool = False,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> CopyReport:
    """Bring images into a layout, all of them or none.

    `roots` chooses among what the source offers (default: everything). `name` replaces the names
    of the one image there is. `compression` None keeps what has a manifest and compresses other
    layers with gzip; otherwise one of COMPRESSIONS. `clobber` False refuses to move a name.
    `strict` refuses an index whose children are not all there.
    """
    if compression is not None and compression not in COMPRESSIONS:
        raise UsageError(f"there is no compression {compression!r}: {', '.join(COMPRESSIONS)}")
    watcher = observer or Observer()
    chosen = source.roots() if roots is None else tuple(roots)
    shipments = [
        Shipment(root=root, closure=closure_of(source, root.descriptor)) for root in chosen
    ]
    place: Source = source
    shipments = [_checked(source, shipment, strict=strict) for shipment in shipments]
    if platforms:
        shipments, place = _restricted(source, shipments, platforms)
    if name is not None:
        shipments = _renamed(shipments, name)
    if not clobber:
        _refuse_known_moves(source, layout, shipments, compression)
    with Writing(layout, clobber=clobber) as writing:
        recompressor = Recompressor(place, writing, jobs=jobs, observer=watcher)
        shipments, conversions = _converted(source, shipments, recompressor, compression)
        place = recompressor.overlay
        moved_bytes = transfer(
            place,
            writing,
            [_labelled(shipment, layout) for shipment in shipments],
            settled=recompressor.settled,
            jobs=jobs,
            observer=watcher,
        )
    attached = [shipment for shipment in shipments if _is_attached(shipment)]
    return CopyReport(
        images=tuple(_report(place, s) for s in shipments if s not in attached),
        attached=len(attached),
        conversions=tuple(conversions),
        moved=tuple(writing.changes),
        transfer=moved_bytes,
    )


def save(
    source: Catalog,
    roots: Sequence[Root],
    write: Callable[[bytes], object],
    *,
    platforms: Sequence[Platform] = (),
    featured: Platform | None = None,
    strict: bool = False,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images as one universal tar, through `write`, in one pass.

    The same input gives the same bytes. `featured` is the platform that readers of manifest.json
    see of an index: docker knows one. Artifacts of the source that are attached to a chosen image
    go along. An index that lacks children is written with a warning, or refused when `strict`.
    """
    watcher = observer or Observer()
    shipments = [
        Shipment(root=root, closure=closure_of(source, root.descriptor))
        for root in dict.fromkeys(roots)
    ]
    shipments = [_checked(source, shipment, strict=strict) for shipment in shipments]
    shipments += _attached_to(source, shipments)
    place: Source = source
    if platforms:
        shipments, place = _restricted(source, shipments, platforms)
    for shipment in shipments:
        for child in shipment.closure.missing:
            watcher.warn(f"{_called(shipment.root)} is saved without {_describe(child)}")
    wanted = platforms[0] if platforms else featured
    shipments = [_featuring(place, shipment, wanted) for shipment in shipments]
    _warn_of_zstd(shipments, watcher)
    watcher.begin("saving", archive_size(shipments))
    try:
        for piece in universal_tar(
            shipments, lambda descriptor: place.open(descriptor).watched(watcher.advance)
        ):
            write(piece)
    finally:
        watcher.end()
    attached = [shipment for shipment in shipments if _is_attached(shipment)]
    return CopyReport(
        images=tuple(_report(place, s) for s in shipments if s not in attached),
        attached=len(attached),
    )


def _checked(source: Source, shipment: Shipment, *, strict: bool) -> Shipment:
    """Raise unless the images of a closure can be used: configs that fit their layers."""
    closure = shipment.closure
    images = images_of(closure)
    if closure.missing and (strict or not images):
        listed = ", ".join(_describe(child) for child in closure.missing)
        raise NotFound(
            f"{_called(shipment.root)} is incomplete: {listed} is missing",
            hint="save it again where it came from, with all its platforms",
        )
    for descriptor, manifest in images:
        config = read_config(source, manifest)
        if len(config.diff_ids) != len(manifest.layers):
            raise IntegrityError(
                f"manifest {descriptor.digest.short} of {_called(shipment.root)} lists "
                f"{len(manifest.layers)} layers, but its config has {len(config.diff_ids)} "
                "diff IDs"
            )
    return shipment


def _restricted(
    source: Source, shipments: Sequence[Shipment], platforms: Sequence[Platform]
) -> tuple[list[Shipment], Source]:
    overlay = Overlay(source)
    images = [shipment for shipment in shipments if not _is_attached(shipment)]
    restricted = [restrict(overlay, shipment, platforms) for shipment in images]
    held = {d.digest for shipment in restricted for d, _ in shipment.closure.documents}
    attached = [shipment for shipment in shipments if _is_attached(shipment)]
    # An artifact may be attached to an artifact, so look again until nothing is added.
    while fresh := [shipment for shipment in attached if _subject(shipment) in held]:
        attached = [shipment for shipment in attached if shipment not in fresh]
        held |= {shipment.root.descriptor.digest for shipment in fresh}
        restricted += fresh
    return restricted, overlay


def _renamed(shipments: Sequence[Shipment], name: str) -> list[Shipment]:
    images = [shipment for shipment in shipments if not _is_attached(shipment)]
    if len(images) != 1:
        raise UsageError(
            f"one name cannot be given to {len(images)} images",
            hint="load them first, then name each with `ocitool tag`",
        )
    renamed = replace(images[0], root=replace(images[0].root, names=(name,), label=None))
    return [renamed if shipment is images[0] else shipment for shipment in shipments]


def _refuse_known_moves(
    source: Catalog, layout: Layout, shipments: Sequence[Shipment], compression: str | None
) -> None:
    """Refuse early where the digest is known before anything is converted."""
    if compression not in (None, KEEP):
        return
    origins = source.origins if isinstance(source, ArchiveSource) else {}
    present = {name: root.descriptor.digest for root in layout.roots() for name in root.names}
    changes = [
        NameChange(name=name, old=present[name], new=shipment.root.descriptor.digest)
        for shipment in shipments
        if shipment.root.descriptor.digest not in origins
        for name in shipment.root.names
        if present.get(name) not in (None, shipment.root.descriptor.digest)
    ]
    refuse_moves(changes, layout.path)


def _labelled(shipment: Shipment, layout: Layout) -> Shipment:
    """Let a bare tag be the name where names need no repository: in a layout not our own."""
    root = shipment.root
    if layout.own or root.names or root.label is None:
        return shipment
    return replace(shipment, root=replace(root, names=(root.label,)))


def _converted(
    source: Catalog,
    shipments: list[Shipment],
    recompressor: Recompressor,
    compression: str | None,
) -> tuple[list[Shipment], list[Conversion]]:
    """Convert what must be: images without a manifest, and all of them when asked."""
    origins = source.origins if isinstance(source, ArchiveSource) else {}
    made_up = [s for s in shipments if s.root.descriptor.digest in origins]
    conversions: list[Conversion] = []
    converted: dict[Digest, Shipment] = {}
    if made_up:
        jobs_for = [
            (shipment.root, manifest, read_config(source, manifest).diff_ids)
            for shipment in made_up
            for _, manifest in images_of(shipment.closure)
        ]
        new, done = recompressor.made_up(jobs_for, compression)
        conversions += done
        converted |= {
            old.root.descriptor.digest: moved for old, moved in zip(made_up, new, strict=True)
        }
    others = [s for s in shipments if s not in made_up]
    if compression not in (None, KEEP):
        new, done = recompressor.images(others, str(compression))
        conversions += done
        converted |= {
            old.root.descriptor.digest: moved for old, moved in zip(others, new, strict=True)
        }
    moved = [converted.get(s.root.descriptor.digest, s) for s in shipments]
    return moved, conversions


def _attached_to(source: Catalog, shipments: Sequence[Shipment]) -> list[Shipment]:
    """Return the source's nameless roots whose subject is in one of the closures."""
    held = {d.digest for shipment in shipments for d, _ in shipment.closure.documents}
    subjects = {
        root: subject
        for root in source.roots()
        if not root.names
        and root.label is None
        and root.descriptor.digest not in held
        and (subject := root_subject(source, root)) is not None
    }
    found: list[Shipment] = []
    # An artifact may be attached to an artifact, so look again until nothing is added.
    while fresh := [root for root, subject in subjects.items() if subject in held]:
        for root in fresh:
            del subjects[root]
            shipment = Shipment(root=root, closure=closure_of(source, root.descriptor))
            held |= {descriptor.digest for descriptor, _ in shipment.closure.documents}
            found.append(shipment)
    return found


def _subject(shipment: Shipment) -> Digest | None:
    root = shipment.root
    return subject_of(root, shipment.closure.document(root.descriptor.digest))


def _is_attached(shipment: Shipment) -> bool:
    """Tell whether a root is an artifact that lives with its subject, and no image."""
    return not shipment.root.names and _subject(shipment) is not None


def _featuring(source: Source, shipment: Shipment, wanted: Platform | None) -> Shipment:
    images = images_of(shipment.closure)
    if not images or _is_attached(shipment):
        return shipment
    found = select_platform(source, shipment.closure, wanted) if wanted is not None else None
    return replace(shipment, featured=(found or images[0])[1])


def _warn_of_zstd(shipments: Sequence[Shipment], observer: Observer) -> None:
    for shipment in shipments:
        types = {
            layer.media_type for layer in (shipment.featured.layers if shipment.featured else ())
        }
        if mediatype.OCI_LAYER_ZSTD in types or mediatype.DOCKER_LAYER_ZSTD in types:
            observer.warn(
                f"{_called(shipment.root)} has zstd layers: docker before version 23 cannot load it"
            )


def _report(source: Source, shipment: Shipment) -> CopiedImage:
    images = images_of(shipment.closure)
    single = len(images) == 1 and images[0][0].digest == shipment.root.descriptor.digest
    return CopiedImage(
        names=shipment.root.names,
        label=shipment.root.label,
        digest=shipment.root.descriptor.digest,
        media_type=shipment.root.descriptor.media_type,
        image_id=images[0][1].config.digest if single else None,
        platforms=platforms_of(source, shipment.closure),
        missing=shipment.closure.missing,
    )


def _called(root: Root) -> str:
    return root.names[0] if root.names else root.label or f"image {root.descriptor.digest.short}"


def _describe(child: Descriptor) -> str:
    platform = f" ({child.platform})" if child.platform is not None else ""
    return f"{child.digest.short}{platform}"


def save_file(
    source: Catalog,
    roots: Sequence[Root],
    path: str,
    *,
    platforms: Sequence[Platform] = (),
    featured: Platform | None = None,
    strict: bool = False,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images to a file that appears whole or not at all; otherwise as `save`.

    A name that ends in .gz, .tgz, .zst or .tzst compresses the whole file.
    """
    output = OutputFile(path)
    try:
        compressor = _outer_compressor(path)
        write = output.write if compressor is None else _compressing(compressor, output)
        report = save(
            source,
            roots,
            write,
            platforms=platforms,
            featured=featured,
            strict=strict,
            observer=observer,
        )
        if compressor is not None:
            output.write(compressor.flush())
        output.publish()
    finally:
        output.close()
    return report


def _outer_compressor(path: str) -> Compressor | None:
    if path.endswith((".gz", ".tgz")):
        return Compressor(Codec.GZIP)
    if path.endswith((".zst", ".tzst")):
        return Compressor(Codec.ZSTD)
    return None


def _compressing(compressor: Compressor, output: OutputFile) -> Callable[[bytes], None]:
    return lambda data: output.write(compressor.compress(data))
