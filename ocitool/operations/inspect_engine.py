"""What an engine knows of an image, asked through its API: no layer is read."""

import json
import re
from collections.abc import Mapping, Sequence

from ocitool.errors import MalformedDocument, Unavailable
from ocitool.image.instructions import step_words
from ocitool.images.listing import engine_time
from ocitool.images.lookup import full_name
from ocitool.oci import Digest, ImageConfig
from ocitool.operations.inspect import ImageReport, LayerReport, step_reports
from ocitool.places.engine import Engine

_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MAKES_LAYER = re.compile(
    r"\s*(?:/bin/sh -c #\(nop\)\s+)?(?:ADD|COPY|WORKDIR|RUN)\b|/bin/sh -c (?!#)"
)
_CONFIG_KEYS = {
    "Architecture": "architecture",
    "Os": "os",
    "OsVersion": "os.version",
    "Variant": "variant",
    "Created": "created",
    "Author": "author",
    "Config": "config",
}


def inspect_engine(engine: Engine, name: str) -> ImageReport:
    """Describe an image of an engine; `name` may be an ID. NotFound if the engine has none.

    Sizes are those of the engine, uncompressed. Where its history does not say which step made
    which layer, layers have no step.
    """
    image, history = engine.describe(name)
    if not isinstance(image, dict) or not isinstance(history, list) or not image.get("Id"):
        raise Unavailable(f"{engine.what} did not describe the image {name}")
    try:
        return _report(engine.endpoint.kind, image, history)
    except MalformedDocument as error:
        raise Unavailable(
            f"{engine.what} did not describe the image {name}: {error.message}"
        ) from error


def _report(kind: str, image: Mapping[str, object], history: Sequence[object]) -> ImageReport:
    rootfs = image.get("RootFS")
    found = rootfs.get("Layers") if isinstance(rootfs, dict) else None
    layers = found if isinstance(found, list) else []
    count = len(layers)
    steps = [step for step in reversed(history) if isinstance(step, dict)]
    made = _layers_made(steps, count)
    config = _config(image, layers, steps, made)
    sizes = [_size(step) for step, has_layer in zip(steps, made, strict=True) if has_layer]
    known = sizes if len(sizes) == count else [0] * count
    digest, image_id = _identity(image)
    total = image.get("Size")
    return ImageReport(
        names=tuple(n for tag in _texts(image.get("RepoTags")) if (n := full_name(tag))),
        label=None,
        digest=digest,
        media_type=_media_type(image),
        index_digest=None,
        index_media_type=None,
        image_id=image_id,
        platform=config.platform,
        created=config.created,
        size=total if type(total) is int else sum(known),
        unpacked=None,
        config=config,
        layers=_layers(config, known),
        steps=step_reports(config),
        engine=kind,
    )


def _layers(config: ImageConfig, sizes: Sequence[int]) -> tuple[LayerReport, ...]:
    return tuple(
        LayerReport(
            number=number,
            digest=diff_id,
            diff_id=diff_id,
            media_type=_PLAIN_LAYER,
            size=size,
            file_bytes=size,
            instruction=step_words(step) if step else None,
            created_by=step.created_by if step else None,
            created=step.created if step else None,
        )
        for number, (diff_id, size, step) in enumerate(
            zip(config.diff_ids, sizes, config.layer_history(), strict=True), 1
        )
    )


def _layers_made(steps: Sequence[Mapping[str, object]], count: int) -> list[bool]:
    """Tell for each step whether it made a layer; the API leaves that out.

    A step with bytes did. Of the others those may have that usually do, if the sum is right.
    """
    certain = [_size(step) > 0 for step in steps]
    if sum(certain) == count:
        return certain
    likely = [
        sure or _MAKES_LAYER.match(str(step.get("CreatedBy"))) is not None
        for sure, step in zip(certain, steps, strict=True)
    ]
    return likely if sum(likely) == count else [False] * len(steps)


def _config(
    image: Mapping[str, object],
    layers: Sequence[object],
    steps: Sequence[Mapping[str, object]],
    made: Sequence[bool],
) -> ImageConfig:
    """Return the configuration as the engine tells it; it is not the one that has a digest."""
    document = {ours: image[key] for key, ours in _CONFIG_KEYS.items() if image.get(key)}
    history = [
        {
            "created": engine_time(step.get("Created")),
            "created_by": str(step.get("CreatedBy") or ""),
            "comment": str(step.get("Comment") or ""),
            "empty_layer": not has_layer,
        }
        for step, has_layer in zip(steps, made, strict=True)
    ]
    document |= {"rootfs": {"type": "layers", "diff_ids": list(layers)}, "history": history}
    return ImageConfig.parse(json.dumps(document).encode(), what="the engine's description")


def _identity(image: Mapping[str, object]) -> tuple[Digest | None, Digest | None]:
    """Return the digest of the manifest, or of the index, and the image ID, if they are told.

    Docker's containerd store calls an image by its digest, and describes it by a descriptor.
    """
    identity = _digest(image.get("Id"))
    if isinstance(image.get("Descriptor"), dict):
        return identity, None
    digests = [_digest(text.rpartition("@")[2]) for text in _texts(image.get("RepoDigests"))]
    return next(iter(digests), None), identity


def _media_type(image: Mapping[str, object]) -> str:
    descriptor = image.get("Descriptor")
    return str(descriptor.get("mediaType") or "") if isinstance(descriptor, dict) else ""


def _digest(value: object) -> Digest | None:
    text = str(value)
    try:
        return Digest.parse(text if ":" in text else f"sha256:{text}")
    except MalformedDocument:
        return None


def _size(step: Mapping[str, object]) -> int:
    size = step.get("Size")
    return size if type(size) is int else 0


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []
