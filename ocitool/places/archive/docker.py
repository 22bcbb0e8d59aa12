"""manifest.json of a docker archive: which files make which image.

Docker's own reader, in Go, ignores the case of keys in this document, and some builders write them
in lower case. This reader ignores it too.
"""

from collections.abc import Mapping

from msgspec import Struct

from ocitool.errors import LimitExceeded, MalformedDocument, UsageError
from ocitool.oci import Reference
from ocitool.oci.document import as_object, decode_array, strings
from ocitool.oci.document import string as required_string
from ocitool.oci.limits import DEFAULT_LIMITS, Limits
from ocitool.oci.quoting import quoted

MANIFEST_FILE = "manifest.json"
# crane writes this tag for an image that it was given by digest.
_NO_TAG = "i-was-a-digest"


class DockerImage(Struct, frozen=True, kw_only=True):
    """One entry of manifest.json: paths of its files and full names, in its order.

    `refused` are tags that are not names, each with what is wrong with it.
    """

    position: int
    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]
    refused: Mapping[str, str] = {}


def parse_docker_manifest(
    data: bytes, *, what: str, limits: Limits = DEFAULT_LIMITS
) -> tuple[DockerImage, ...]:
    """Decode manifest.json. MalformedDocument when it is null, empty or wrong, LimitExceeded."""
    if data.strip() == b"null":
        raise MalformedDocument(f"{what} is null: the archive holds no image")
    values = decode_array(data, what=what, limit=limits.docker_manifest_bytes)
    if not values:
        raise MalformedDocument(f"{what} is empty: the archive holds no image")
    if len(values) > limits.index_descriptors:
        raise LimitExceeded(
            f"{what} lists {len(values)} images, more than {limits.index_descriptors}"
        )
    images = tuple(_image(value, position, what) for position, value in enumerate(values))
    layers = sum(len(image.layers) for image in images)
    if layers > limits.docker_layers:
        raise LimitExceeded(f"{what} lists {layers} layers, more than {limits.docker_layers}")
    return images


def _image(value: object, position: int, what: str) -> DockerImage:
    path = f"{what}: [{position}]"
    entry = _fold_keys(as_object(value, path), path)
    names, refused = _names(strings(entry, "repotags", path))
    return DockerImage(
        position=position,
        config=required_string(entry, "config", path),
        layers=strings(entry, "layers", path),
        names=names,
        refused=refused,
    )


def _fold_keys(entry: Mapping[str, object], path: str) -> dict[str, object]:
    folded: dict[str, object] = {}
    for key, value in entry.items():
        lower = key.casefold()
        if lower in folded:
            raise MalformedDocument(f"{path} has the key {quoted(key)} in two spellings")
        folded[lower] = value
    return folded


def _names(tags: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the full names that tags stand for, and the tags that are not names."""
    names: dict[str, None] = {}
    refused: dict[str, str] = {}
    for tag in tags:
        try:
            reference = Reference.parse(tag)
        except UsageError as error:
            refused[tag] = error.message
            continue
        if reference.tag != _NO_TAG:
            names[reference.name] = None
    return tuple(names), refused
