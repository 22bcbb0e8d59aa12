"""save: images into one archive, to a file, a pipe or an engine."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import UsageError
from ocitool.events import Observer
from ocitool.formats.compression import Codec, Compressor
from ocitool.fsops import OutputFile
from ocitool.image.choosing import best
from ocitool.image.content import Blob, Catalog, PlannedImage, Root, synthesized_images
from ocitool.image.layers import unpacked
from ocitool.oci import Descriptor, Platform, mediatype
from ocitool.places.archive import archive_size, docker_size, docker_tar, universal_tar
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.plan import is_attached
from ocitool.transfer.platforms import planned_manifests
from ocitool.transfer.report import Conversion, CopyReport

UNIVERSAL, DOCKER, OCI = "universal", "docker", "oci"
FORMS = (UNIVERSAL, DOCKER, OCI)
NOT_WRITTEN = (".xz", ".txz", ".bz2", ".tbz", ".tbz2", ".lz4", ".lzma", ".7z", ".zip")


class Packed(Struct, frozen=True, kw_only=True):
    """A planned archive: its pieces, made while they are read, and the report on its images."""

    pieces: Iterator[bytes]
    images: tuple[PlannedImage, ...]
    report: CopyReport


def check_form(form: str, compression: str | None) -> None:
    """Raise UsageError unless an archive can have this form and this compression."""
    if form not in FORMS:
        raise UsageError(f"there is no type {form!r}: {', '.join(FORMS)}")
    if form == DOCKER and compression not in (None, mediatype.KEEP, "none"):
        raise UsageError("the docker type holds plain layers; it cannot be compressed")


def check_file_name(path: str) -> None:
    """Raise UsageError for a name that promises a compression that is not written here."""
    if path.endswith(NOT_WRITTEN):
        raise UsageError(
            f"{path!r} has the name of a file that is not written here",
            hint="use .tar, .tar.gz or .tar.zst",
        )


@contextlib.contextmanager
def pack(
    source: Catalog,
    roots: Sequence[Root],
    options: TransferOptions | None = None,
    *,
    form: str = UNIVERSAL,
    featured: Platform | None = None,
    observer: Observer | None = None,
) -> Iterator[Packed]:
    """Plan an archive of some images; the same images give the same bytes.

    `form` is one of FORMS: universal (an OCI layout and a docker archive at once), docker (before
    version 25: plain layers), oci. `featured` is the platform for readers that know only one:
    docker. Artifacts of the source that are attached to one of the images are added. An index that
    lacks children is packed with a warning. Every blob is verified as its piece is made.
    """
    pipeline = Pipeline(source, options, observer)
    check_form(form, pipeline.options.compression)
    pipeline.plan(roots)
    pipeline.warn_of_missing("saved")
    with contextlib.ExitStack() as scratch:
        if pipeline.options.changes_compression and form != DOCKER:
            scratch.enter_context(pipeline.convert_in_scratch())
        else:
            pipeline.conversions = [
                Conversion(old=None, new=image.root.descriptor.digest, layers=0, compression="keep")
                for image in pipeline.synthesized
            ]
            pipeline.drop_orphans()
        wanted = next(iter(pipeline.options.platforms), featured)
        pipeline.images = [feature(image, wanted) for image in pipeline.images]
        layers = ("none",) if form == DOCKER else _layer_compressions(pipeline.images)
        yield Packed(
            pieces=_pieces(pipeline, form),
            images=tuple(pipeline.images),
            report=replace(pipeline.report(), layer_compression=layers),
        )


def save(
    source: Catalog,
    roots: Sequence[Root],
    write: Callable[[bytes], object],
    options: TransferOptions | None = None,
    *,
    form: str = UNIVERSAL,
    featured: Platform | None = None,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images as one archive, through `write`, in one pass. See `pack`."""
    with pack(source, roots, options, form=form, featured=featured, observer=observer) as archive:
        written = 0
        for piece in archive.pieces:
            write(piece)
            written += len(piece)
        return replace(archive.report, written=written)


def save_file(
    source: Catalog,
    roots: Sequence[Root],
    path: str,
    options: TransferOptions | None = None,
    *,
    form: str = UNIVERSAL,
    featured: Platform | None = None,
    observer: Observer | None = None,
) -> CopyReport:
    """Write images to a file that appears whole or not at all. See `pack`.

    A name that ends in .gz, .tgz, .zst or .tzst compresses the whole file; UsageError for one that
    promises another compression.
    """
    compressor = _outer_compressor(path)
    output = OutputFile(path)
    try:
        write = output.write if compressor is None else _compressing(compressor, output)
        report = save(
            source, roots, write, options, form=form, featured=featured, observer=observer
        )
        if compressor is not None:
            output.write(compressor.flush())
        output.publish()
    finally:
        output.close()
    return replace(report, written=output.written)


def _pieces(pipeline: Pipeline, form: str) -> Iterator[bytes]:
    _verify_synthesized(pipeline)
    observer, images = pipeline.observer, pipeline.images
    if form == DOCKER:
        from ocitool.transfer.docker_form import plain_images

        plain = plain_images(pipeline.origin, pipeline.source, images, observer)
        return _watched(docker_tar(plain), docker_size(plain), observer)
    _warn_of_zstd(images, observer)

    def open_blob(descriptor: Descriptor) -> Blob:
        return pipeline.source.open(descriptor).watched(observer.advance)

    pieces = universal_tar(images, open_blob, docker=form == UNIVERSAL)
    return _watched(pieces, archive_size(images), observer)


def _layer_compressions(images: Sequence[PlannedImage]) -> tuple[str, ...]:
    """Return how the layers of the images are compressed, by their types; each word once."""
    types = {
        layer.media_type
        for image in images
        if not is_attached(image)
        for one in planned_manifests(image)
        for layer in one.manifest.layers
    }
    return tuple(sorted({mediatype.declared_compression(one) or "other" for one in types}))


def _watched(pieces: Iterator[bytes], size: int, observer: Observer) -> Iterator[bytes]:
    with observer.work("saving", size):
        yield from pieces


def _verify_synthesized(pipeline: Pipeline) -> None:
    """Verify the diff IDs of compressed layers of images whose manifest was made here."""
    synthesized = synthesized_images(pipeline.origin)
    for image in pipeline.images:
        origin = synthesized.get(image.root.descriptor.digest)
        for layer in origin.layers if origin is not None else ():
            if layer.codec is not Codec.NONE:
                with pipeline.origin.open(layer.descriptor) as blob:
                    for _ in unpacked(blob, layer.diff_id, stored=layer.descriptor.digest):
                        pass


def feature(image: PlannedImage, wanted: Platform | None) -> PlannedImage:
    """Choose the platform of an image for readers that know only one; nothing for artifacts."""
    if is_attached(image):
        return image
    images = planned_manifests(image)
    if not images:
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
    check_file_name(path)
    return None


def _compressing(compressor: Compressor, output: OutputFile) -> Callable[[bytes], None]:
    return lambda data: output.write(compressor.compress(data))
