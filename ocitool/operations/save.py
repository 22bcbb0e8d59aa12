"""save: images into one archive, to a file, a pipe or an engine."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound, UsageError
from ocitool.events import Observer
from ocitool.formats.compression import Codec, Compressor
from ocitool.fsops import OutputFile, scratch_folder
from ocitool.image.choosing import best, platform_images
from ocitool.image.content import Blob, Catalog, PlannedImage, Root, Source, synthesized_images
from ocitool.image.graph import read_config
from ocitool.image.layers import unpacked
from ocitool.image.wholeness import described
from ocitool.oci import Descriptor, Digest, Manifest, Platform, mediatype
from ocitool.places.archive import PlainImage, PlainLayer, archive_size, docker_tar, universal_tar
from ocitool.places.layout import Layout, Writing
from ocitool.transfer.plan import (
    CopyReport,
    check_names,
    drop_orphans,
    is_attached,
    make_report,
    plan_images,
    select_platforms,
)
from ocitool.transfer.recompress import COMPRESSIONS, KEEP, Conversion, Recompressor

UNIVERSAL, DOCKER, OCI = "universal", "docker", "oci"
FORMS = (UNIVERSAL, DOCKER, OCI)
_NOT_WRITTEN = (".xz", ".txz", ".bz2", ".tbz", ".tbz2", ".lz4", ".lzma", ".7z", ".zip")


class Packing(Struct, frozen=True, kw_only=True):
    """How images go into an archive.

    `platforms` takes these of an index only. `featured` is the platform that readers see who know
    one: docker. `strict` refuses an index that lacks some of its children. `form` is one of FORMS:
    universal (an OCI layout and a docker archive at once), docker (before version 25: plain
    layers), oci. `compression` is one of COMPRESSIONS; converted layers are kept in the folder
    `scratch` meanwhile.
    """

    platforms: tuple[Platform, ...] = ()
    featured: Platform | None = None
    strict: bool = False
    form: str = UNIVERSAL
    compression: str = KEEP
    scratch: str | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"there is no type {self.form!r}: {', '.join(FORMS)}")
        if self.compression not in COMPRESSIONS:
            raise UsageError(
                f"there is no compression {self.compression!r}: {', '.join(COMPRESSIONS)}"
            )
        if self.form == DOCKER and self.compression not in (KEEP, "none"):
            raise UsageError("the docker type holds plain layers; it cannot be compressed")


class Packed(Struct, frozen=True, kw_only=True):
    """An archive that is planned: its pieces, made as they are read, and what is in it."""

    pieces: Iterator[bytes]
    report: CopyReport


@contextlib.contextmanager
def packed(
    source: Catalog,
    roots: Sequence[Root],
    packing: Packing | None = None,
    *,
    observer: Observer | None = None,
) -> Iterator[Packed]:
    """Plan an archive of some images; the same images give the same bytes.

    Artifacts of the source that are attached to one of the images go along. An index that lacks
    children is packed with a warning. Every blob is verified as its piece is made.
    """
    chosen = packing or Packing()
    watcher = observer or Observer()
    before = planned = plan_images(source, roots, strict=chosen.strict)
    place: Source = source
    if chosen.platforms:
        planned, place = select_platforms(chosen.platforms, planned, source)
    check_names(source, planned, watcher)
    for image in planned:
        for child in image.closure.missing:
            watcher.warn(f"{image.root.called} is saved without {described(child)}")
    with contextlib.ExitStack() as scratch:
        conversions = _made_up(source, planned)
        if chosen.compression != KEEP and chosen.form != DOCKER:
            recompressor = scratch.enter_context(_recompressor(place, chosen, watcher))
            planned, conversions = recompressor.images(planned, chosen.compression)
            place = recompressor.layered
        planned = drop_orphans(before, planned, watcher)
        wanted = chosen.platforms[0] if chosen.platforms else chosen.featured
        planned = [_featuring(place, image, wanted) for image in planned]
        pieces = _pieces(source, place, planned, chosen.form, watcher)
        yield Packed(pieces=pieces, report=make_report(place, planned, conversions=conversions))


def save(
    source: Catalog,
    roots: Sequence[Root],
    write: Callable[[bytes], object],
    packing: Packing | None = None,
    *,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images as one archive, through `write`, in one pass. See `packed`."""
    with packed(source, roots, packing, observer=observer) as archive:
        for piece in archive.pieces:
            write(piece)
        return archive.report


def save_file(
    source: Catalog,
    roots: Sequence[Root],
    path: str,
    packing: Packing | None = None,
    *,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images to a file that appears whole or not at all. See `packed`.

    A name that ends in .gz, .tgz, .zst or .tzst compresses the whole file; UsageError for one that
    promises another compression.
    """
    compressor = _outer_compressor(path)
    output = OutputFile(path)
    try:
        write = output.write if compressor is None else _compressing(compressor, output)
        report = save(source, roots, write, packing, observer=observer)
        if compressor is not None:
            output.write(compressor.flush())
        output.publish()
    finally:
        output.close()
    return report


def _made_up(source: Catalog, planned: Sequence[PlannedImage]) -> list[Conversion]:
    """Return which images have a manifest only because one was made; their layers stay."""
    synthesized = synthesized_images(source)
    digests = [image.root.descriptor.digest for image in planned]
    return [
        Conversion(old=None, new=digest, layers=0, compression=KEEP)
        for digest in digests
        if digest in synthesized
    ]


@contextlib.contextmanager
def _recompressor(place: Source, packing: Packing, observer: Observer) -> Iterator[Recompressor]:
    """Give converted layers a layout of their own, for as long as the archive is written."""
    with (
        scratch_folder(packing.scratch) as folder,
        Layout.create(f"{folder}/layout") as layout,
        Writing(layout, durable=False) as writing,
    ):
        yield Recompressor(place, writing, jobs=DEFAULT_JOBS, observer=observer)


def _pieces(
    source: Catalog, place: Source, planned: Sequence[PlannedImage], form: str, observer: Observer
) -> Iterator[bytes]:
    _check_made_up(source, planned)
    if form == DOCKER:
        return docker_tar(_plain_images(source, place, planned, observer))
    _warn_of_zstd(planned, observer)

    def open_blob(descriptor: Descriptor) -> Blob:
        return place.open(descriptor).watched(observer.advance)

    pieces = universal_tar(planned, open_blob, docker=form == UNIVERSAL)
    return _watched(pieces, archive_size(planned), observer)


def _watched(pieces: Iterator[bytes], size: int, observer: Observer) -> Iterator[bytes]:
    observer.begin("saving", size)
    try:
        yield from pieces
    finally:
        observer.end()


def _check_made_up(source: Catalog, planned: Sequence[PlannedImage]) -> None:
    """Verify the diff IDs of compressed layers for which no manifest of the archive vouches."""
    synthesized = synthesized_images(source)
    for image in planned:
        origin = synthesized.get(image.root.descriptor.digest)
        for layer in origin.layers if origin is not None else ():
            if layer.codec is not Codec.NONE:
                with source.open(layer.descriptor) as blob:
                    for _ in unpacked(blob, layer.diff_id, stored=layer.descriptor.digest):
                        pass


def _plain_images(
    source: Catalog, place: Source, planned: Sequence[PlannedImage], observer: Observer
) -> list[PlainImage]:
    sizes = _TarSizes(source, place, observer)
    images: dict[Digest, PlainImage] = {}
    for image in planned:
        if image.featured is None:
            if not is_attached(image):
                raise NotFound(f"{image.root.called} holds no image that docker could load")
            continue
        listed = platform_images(place, image.closure)
        if len(listed) > 1:
            chosen = next(one for one in listed if one.manifest == image.featured)
            observer.warn(f"{image.root.called} is saved for {chosen.platform} only")
        plain = _plain_image(place, image, image.featured, sizes, observer)
        known = images.get(plain.config_digest)
        names = (*(known.names if known else ()), *plain.names)
        images[plain.config_digest] = replace(plain, names=tuple(dict.fromkeys(names)))
    return list(images.values())


def _plain_image(
    place: Source, image: PlannedImage, manifest: Manifest, sizes: "_TarSizes", observer: Observer
) -> PlainImage:
    config = read_config(place, manifest)
    layers = tuple(
        PlainLayer(
            diff_id=diff_id,
            size=sizes.of(layer, diff_id),
            read=functools.partial(_tar_of, place, layer, diff_id, observer),
        )
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    )
    return PlainImage(
        names=image.root.names,
        config_digest=manifest.config.digest,
        config=config,
        layers=layers,
    )


def _tar_of(
    place: Source, layer: Descriptor, diff_id: Digest, observer: Observer
) -> Iterator[bytes]:
    with place.open(layer).watched(observer.advance) as blob:
        yield from unpacked(blob, diff_id, stored=layer.digest)


class _TarSizes:
    """How long the tar of a layer is: a header says so before the data can be written."""

    def __init__(self, source: Catalog, place: Source, observer: Observer) -> None:
        self._place = place
        self._observer = observer
        self._cache = source.cache("layers") if isinstance(source, Layout) else None
        self._known: dict[Digest, int] = {}

    def of(self, layer: Descriptor, diff_id: Digest) -> int:
        """Return the size in bytes: remembered, or found by unpacking once."""
        if layer.digest == diff_id:
            return layer.size
        fact = self._cache.get(str(layer.digest)) if self._cache is not None else None
        size = fact.get("tar_size") if isinstance(fact, dict) else None
        if isinstance(size, int):
            return size
        if layer.digest not in self._known:
            parts = _tar_of(self._place, layer, diff_id, self._observer)
            self._known[layer.digest] = sum(map(len, parts))
        return self._known[layer.digest]


def _featuring(source: Source, image: PlannedImage, wanted: Platform | None) -> PlannedImage:
    images = platform_images(source, image.closure)
    if not images or is_attached(image):
        return image
    found = best(images, wanted) if wanted is not None else None
    return replace(image, featured=(found or images[0]).manifest)


def _warn_of_zstd(planned: Sequence[PlannedImage], observer: Observer) -> None:
    for image in planned:
        layers = image.featured.layers if image.featured is not None else ()
        types = {layer.media_type for layer in layers}
        if types & {mediatype.OCI_LAYER_ZSTD, mediatype.DOCKER_LAYER_ZSTD}:
            observer.warn(
                f"{image.root.called} has zstd layers: docker before version 23 cannot load it"
            )


def _outer_compressor(path: str) -> Compressor | None:
    if path.endswith((".gz", ".tgz")):
        return Compressor(Codec.GZIP)
    if path.endswith((".zst", ".tzst")):
        return Compressor(Codec.ZSTD)
    if path.endswith(_NOT_WRITTEN):
        raise UsageError(
            f"{path!r} has the name of a file that is not written here",
            hint="use .tar, .tar.gz or .tar.zst",
        )
    return None


def _compressing(compressor: Compressor, output: OutputFile) -> Callable[[bytes], None]:
    return lambda data: output.write(compressor.compress(data))
