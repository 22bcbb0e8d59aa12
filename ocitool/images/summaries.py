"""What a list of images shows of each, read once per image and remembered.

A summary is keyed by the root's digest, so it can never become stale; only a sparse index, whose
missing children may arrive later, is summed up anew every time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from ocitool.errors import OcitoolError
from ocitool.image.attached import declared_subject
from ocitool.image.content import Root, Source, as_promised
from ocitool.image.graph import closure_of, images_of, read_config
from ocitool.oci import Descriptor, Digest, Manifest
from ocitool.places.layout import Cache, Layout

CACHE_KIND = "summaries"
_WRITTEN_AT_ONCE = 1000


class ImageSummary(Struct, frozen=True, kw_only=True):
    """A root in a line. `size` is bytes as stored, every blob once; times are as written.

    `children` are the manifest and config digests of its images. `layer_sizes` are those of
    `layers`; `parts` are the sizes of all that is under the root besides, children included.
    `kind` is "image", "index" or "artifact"; `problem` says why it could not be read. Digests
    are text here, for a summary is what is kept in JSON.
    """

    kind: str
    image_ids: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    created: str | None = None
    size: int = 0
    layers: tuple[str, ...] = ()
    layer_sizes: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    artifact_type: str | None = None
    missing: int = 0
    problem: str | None = None


def image_summaries(layout: Layout, roots: Sequence[Root]) -> dict[Digest, ImageSummary]:
    """Return the summary of every root, from the cache where it is known."""
    cache = layout.cache(CACHE_KIND)
    found: dict[Digest, ImageSummary] = {}
    fresh: dict[str, object] = {}
    for root in roots:
        digest = root.descriptor.digest
        summary = _recall(cache, digest)
        if summary is None:
            summary = summarize(layout, root)
            if not summary.missing and not summary.problem:
                fresh[str(digest)] = msgspec.to_builtins(summary)
            if len(fresh) == _WRITTEN_AT_ONCE:
                cache.update(fresh)
                fresh = {}
        found[digest] = summary
    cache.update(fresh)
    return found


def _recall(cache: Cache, digest: Digest) -> ImageSummary | None:
    value = cache.get(str(digest))
    if value is None:
        return None
    try:
        summary = msgspec.convert(value, ImageSummary)
    except msgspec.ValidationError:
        return None
    # Earlier versions noted no sizes.
    complete = len(summary.layers) == len(summary.layer_sizes) and summary.parts
    return summary if complete else None


def summarize(source: Source, root: Root) -> ImageSummary:
    """Read a root's manifests and configs; a damaged one gives a summary with a problem."""
    source = as_promised(source)
    try:
        closure = closure_of(source, root.descriptor)
        images = images_of(closure)
        configs = [read_config(source, manifest) for _, manifest in images]
    except OcitoolError as error:
        return ImageSummary(kind="image", size=root.descriptor.size, problem=error.message)
    document = closure.document(root.descriptor.digest)
    layers = {str(layer.digest): layer.size for _, m in images for layer in m.layers}
    subject = declared_subject(root, document)
    return ImageSummary(
        kind=_kind(root, images, subject),
        image_ids=_unique(str(manifest.config.digest) for _, manifest in images),
        children=_unique(
            str(digest)
            for child, manifest in images
            for digest in (child.digest, manifest.config.digest)
        ),
        platforms=tuple(
            str((descriptor.platform or config.platform).normalized())
            for (descriptor, _), config in zip(images, configs, strict=True)
        ),
        created=configs[0].created if configs else None,
        size=closure.size,
        layers=tuple(layers),
        layer_sizes=tuple(layers.values()),
        parts={
            text: descriptor.size
            for descriptor in closure.descriptors
            if (text := str(descriptor.digest)) not in layers
            and descriptor.digest != root.descriptor.digest
        },
        labels=dict(configs[0].config.labels) if configs else {},
        subject=subject,
        artifact_type=getattr(document, "effective_artifact_type", None) if not images else None,
        missing=len(closure.missing),
    )


def _kind(root: Root, images: Sequence[tuple[Descriptor, Manifest]], subject: str | None) -> str:
    """Return artifact, image or index."""
    if not images or subject is not None:
        return "artifact"
    return "image" if images[0][0].digest == root.descriptor.digest else "index"


def unique_sizes(
    roots: Sequence[Root], summaries: Mapping[Digest, ImageSummary]
) -> dict[Digest, int]:
    """Return how many bytes each image alone occupies."""
    counts = Counter(text for root in roots for text in blob_sizes(root, summaries))
    return {
        root.descriptor.digest: sum(
            size for text, size in blob_sizes(root, summaries).items() if counts[text] == 1
        )
        for root in roots
    }


def blob_sizes(root: Root, summaries: Mapping[Digest, ImageSummary]) -> dict[str, int]:
    """Return the size of every blob of an image, by its digest, the root's own included."""
    summary = summaries[root.descriptor.digest]
    layers = dict(zip(summary.layers, summary.layer_sizes, strict=True))
    return {str(root.descriptor.digest): root.descriptor.size, **summary.parts, **layers}


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
