"""Images of a few members for tests that look inside: one list a layer, in every codec and form.

`file`, `gone` and `opaque` make members beside those of `root_files`. Equal arguments give equal
bytes, and so does the content of a file, which comes from its path unless a `text` is given.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.support.images import (
    CREATED,
    BuiltImage,
    Compression,
    as_json,
    build_image,
    describe,
    docker_archive,
    hybrid_archive,
    oci_archive,
    whiteout,
    write_layout,
)
from tests.support.root_files import Node, layer_of

CODECS: tuple[Compression, ...] = ("none", "gzip", "zstd")
Form = Literal["layout", "oci-archive", "docker-save", "docker29-save"]
FORMS: tuple[Form, ...] = ("layout", "oci-archive", "docker-save", "docker29-save")
NAME = "docker.io/library/small:1"


def file(path: str, size: int, text: str | None = None, **options: Any) -> Node:
    """Return a file of `size` bytes: `text` over and over, by default the path and a newline."""
    pattern = (f"{path}\n" if text is None else text).encode("utf-8", "surrogateescape")
    return Node(path=path, data=(pattern * (size // len(pattern) + 1))[:size], **options)


def gone(path: str, **options: Any) -> Node:
    """Return the whiteout of a path."""
    return Node(path=whiteout(path), **options)


def opaque(path: str, **options: Any) -> Node:
    """Return the marker that hides what lower layers have in a folder; "" is the root."""
    return Node(path=f"{path}/.wh..wh..opq" if path else ".wh..wh..opq", **options)


def small_image(
    *layers: Iterable[Node],
    codec: Compression = "none",
    steps: Sequence[str] | None = None,
    config: Mapping[str, object] | None = None,
    **options: Any,
) -> BuiltImage:
    """Build an image of these layers, the lowest first; `options` are those of `build_image`.

    `steps` are the instructions of its history, one a layer.
    """
    history = None
    if steps is not None:
        history = [{"created": CREATED, "created_by": step} for step in steps]
    tars = [layer_of(*layer) for layer in layers]
    return build_image(tars, compression=codec, history=history, config=config, **options)


_UNREADABLE = {
    "encrypted": "application/vnd.oci.image.layer.v1.tar+encrypted",
    "foreign": "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "not_a_layer": "application/vnd.example.odd",
}


def with_unread_layer(image: BuiltImage, kind: str, number: int = 2) -> BuiltImage:
    """Return the image with a layer that cannot be read, for the reason that `kind` names."""
    layer = image.layers[number - 1]
    blobs = dict(image.blobs)
    if kind in ("missing", "foreign"):
        del blobs[layer.digest]
    elif kind == "damaged":
        blobs[layer.digest] = b"\xff" * layer.size
    if kind not in _UNREADABLE:
        return dataclasses.replace(image, blobs=blobs)
    manifest = json.loads(image.manifest)
    manifest["layers"][number - 1]["mediaType"] = _UNREADABLE[kind]
    data = as_json(manifest)
    descriptor = describe(data, image.descriptor.media_type)
    return dataclasses.replace(
        image, descriptor=descriptor, blobs={**blobs, descriptor.digest: data}
    )


def write_image(
    folder: Path, image: BuiltImage, form: Form = "layout", *, name: str = NAME
) -> Path:
    """Write the image as a file or folder below `folder`, which must exist, and return its path.

    `docker-save` holds the layers uncompressed whatever the image's codec is, as Docker does it.
    """
    if form == "layout":
        return write_layout(folder / "layout", {name: image})
    path = folder / f"{form}.tar"
    if form == "oci-archive":
        path.write_bytes(oci_archive({name: image}))
    elif form == "docker-save":
        path.write_bytes(docker_archive({name: image}))
    else:
        path.write_bytes(hybrid_archive({name: image}))
    return path
