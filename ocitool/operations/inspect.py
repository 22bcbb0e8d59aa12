"""What an image is, in one value: identity, configuration, layers and the steps that made them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.events import SILENT, Observer
from ocitool.image.attached import is_attestation
from ocitool.image.choosing import ChosenImage, choose_image
from ocitool.image.content import Root, Source, as_promised
from ocitool.image.instructions import step_words
from ocitool.image.wholeness import is_absent_foreign
from ocitool.inside.measures import LayerMeasure, WasteMeasure
from ocitool.inside.scanning import TableCache
from ocitool.oci import (
    Descriptor,
    Digest,
    HistoryEntry,
    ImageConfig,
    Manifest,
    Platform,
)
from ocitool.operations.measuring import Measured, Measures, measure_image
from ocitool.places.layout import Cache


class LayerReport(Struct, frozen=True, kw_only=True):
    """One layer, the lowest first. Sizes are bytes: as stored, as a tar, and of its files.

    `tar_size`, `file_bytes` and `entries` are None if the layer was not or could not be read;
    `problem` says why. `instruction` is the build step in Dockerfile words, `created_by` as
    the config has it.
    """

    number: int
    digest: Digest
    diff_id: Digest | None
    media_type: str
    size: int
    tar_size: int | None = None
    file_bytes: int | None = None
    entries: int | None = None
    instruction: str | None = None
    created_by: str | None = None
    created: str | None = None
    problem: str | None = None
    is_stored: bool = True

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the layer, for `list_layer`."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)


class StepReport(Struct, frozen=True, kw_only=True):
    """One step of the history, the oldest first. `layer` is the number of the layer it made."""

    instruction: str
    created_by: str
    created: str | None
    comment: str
    layer: int | None


class PlatformReport(Struct, frozen=True, kw_only=True):
    """One image of an index, and its size in bytes as stored; None when it is absent."""

    platform: Platform | None
    digest: Digest
    size: int | None


class ImageReport(Struct, frozen=True, kw_only=True):
    """All that `inspect` shows of one image.

    `digest` is the manifest's, `index_digest` that of the index it was chosen from, `image_id`
    the config's. `platforms` lists all images of that index, `attestations` is the number of its
    attestations. `unpacked` is the sum of the layers' tar sizes, or None. `waste` is None unless
    all layers were looked into.
    `other_names` are what other tools called the image besides `names` or `label`.
    `engine` is docker or podman for an image that an engine described: its sizes are uncompressed,
    and `digest` or `image_id` is None if the engine does not tell it.
    """

    names: tuple[str, ...]
    label: str | None
    digest: Digest | None
    media_type: str
    index_digest: Digest | None
    index_media_type: str | None
    image_id: Digest | None
    platform: Platform
    created: str | None
    size: int
    unpacked: int | None
    config: ImageConfig
    layers: tuple[LayerReport, ...]
    steps: tuple[StepReport, ...]
    platforms: tuple[PlatformReport, ...] = ()
    attestations: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None
    waste: WasteMeasure | None = None
    other_names: tuple[str, ...] = ()


def inspect(
    source: Source,
    root: Root,
    *,
    platform: Platform | None = None,
    required: bool = False,
    measure: bool = True,
    cache: Cache | None = None,
    tables: TableCache | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> ImageReport:
    """Describe one image; from an index, the image for `platform`, or else the first one.

    `measure` reads each layer once to find its unpacked sizes; `cache` keeps them for the next
    time, and `tables` what is in the layers. A layer that cannot be read is reported with its
    problem, not raised.
    """
    source = as_promised(source)
    chosen = choose_image(source, root, platform, required=required)
    config = chosen.image.read_config(source)
    manifest = chosen.image.manifest
    measures = Measures(layers={}, waste=None)
    if measure:
        measures = measure_image(
            source, chosen.image, cache=cache, tables=tables, jobs=jobs, observer=observer
        )
    absent = {x.digest for x in manifest.layers if is_absent_foreign(source, x)}
    layers = _layers(manifest, config, measures.layers, absent)
    return _report(chosen, config, layers, measures.waste)


def _report(
    chosen: ChosenImage,
    config: ImageConfig,
    layers: tuple[LayerReport, ...],
    waste: WasteMeasure | None,
) -> ImageReport:
    root, index, manifest = chosen.root, chosen.index, chosen.image.manifest
    unique = {layer.digest: layer.size for layer in layers if layer.is_stored}
    return ImageReport(
        names=root.names,
        label=root.label,
        other_names=root.other_names,
        digest=chosen.image.descriptor.digest,
        media_type=chosen.image.descriptor.media_type,
        index_digest=root.descriptor.digest if index else None,
        index_media_type=root.descriptor.media_type if index else None,
        image_id=manifest.config.digest,
        platform=chosen.image.platform,
        created=config.created,
        size=chosen.image.descriptor.size + manifest.config.size + sum(unique.values()),
        unpacked=_total([layer.tar_size for layer in layers]),
        waste=waste,
        config=config,
        layers=layers,
        steps=step_reports(config),
        platforms=_platforms(chosen) if index else (),
        attestations=sum(map(is_attestation, index.manifests)) if index else 0,
        annotations=manifest.annotations,
    )


def _layers(
    manifest: Manifest,
    config: ImageConfig,
    measures: Mapping[Digest, Measured],
    absent: AbstractSet[Digest],
) -> tuple[LayerReport, ...]:
    steps = config.layer_history()
    reports = []
    for position, layer in enumerate(manifest.layers):
        step = steps[position] if position < len(steps) else None
        diff_id = config.diff_ids[position] if position < len(config.diff_ids) else None
        report = _layer(position + 1, layer, diff_id, step, measures.get(layer.digest))
        reports.append(replace(report, is_stored=layer.digest not in absent))
    return tuple(reports)


def _layer(
    number: int,
    layer: Descriptor,
    diff_id: Digest | None,
    step: HistoryEntry | None,
    measure: Measured | None,
) -> LayerReport:
    sizes = measure if isinstance(measure, LayerMeasure) else None
    return LayerReport(
        number=number,
        digest=layer.digest,
        diff_id=diff_id,
        media_type=layer.media_type,
        size=layer.size,
        tar_size=measure if isinstance(measure, int) else sizes.tar_size if sizes else None,
        file_bytes=sizes.file_bytes if sizes else None,
        entries=sizes.entries if sizes else None,
        instruction=step_words(step) if step else None,
        created_by=step.created_by if step else None,
        created=step.created if step else None,
        problem=measure if isinstance(measure, str) else _mismatch(sizes, diff_id),
    )


def _mismatch(sizes: LayerMeasure | None, diff_id: Digest | None) -> str | None:
    if sizes is None or diff_id is None or diff_id.algorithm != "sha256":
        return None
    if sizes.diff_id == str(diff_id):
        return None
    return f"it unpacks to {sizes.diff_id}, not to its diff ID"


def step_reports(config: ImageConfig) -> tuple[StepReport, ...]:
    """Return the history of a configuration, step by step."""
    return tuple(
        StepReport(
            instruction=step_words(entry),
            created_by=entry.created_by,
            created=entry.created,
            comment=entry.comment,
            layer=None if layer is None else layer + 1,
        )
        for entry, layer in config.history_steps()
    )


def _platforms(chosen: ChosenImage) -> tuple[PlatformReport, ...]:
    present = [
        PlatformReport(
            platform=image.platform,
            digest=image.descriptor.digest,
            size=image.descriptor.size
            + image.manifest.config.size
            + sum(layer.size for layer in image.manifest.layers),
        )
        for image in chosen.images
    ]
    absent = [
        PlatformReport(platform=child.platform, digest=child.digest, size=None)
        for child in chosen.closure.missing
        if not is_attestation(child)
    ]
    return tuple(present + absent)


def _total(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
