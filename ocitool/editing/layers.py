"""New layers on an image: manifest, diff IDs and history grow together (config.md, "rootfs")."""

from collections.abc import Mapping, Sequence
from typing import cast

from msgspec import Struct, field

from ocitool.editing.parts import ImageParts, set_created
from ocitool.oci import Descriptor, Digest, mediatype
from ocitool.oci.family import use_family
from ocitool.oci.mediatype import Compression
from ocitool.oci.members import CONFIG_ORDER, members_of, put, put_or_drop


class NewLayer(Struct, frozen=True, kw_only=True):
    """A layer to add: digest and size of its stored bytes, and how these are compressed.

    `diff_id` is the digest of its tar.
    """

    digest: Digest
    size: int
    diff_id: Digest
    compression: Compression
    annotations: Mapping[str, str] = field(default_factory=dict)


class NewEntry(Struct, frozen=True, kw_only=True):
    """An entry for the history of an image: of one layer, or (None) of a change without one."""

    created_by: str
    comment: str = ""
    author: str = ""
    layer: NewLayer | None = None


def append_entries(
    parts: ImageParts,
    entries: Sequence[NewEntry],
    *,
    created: str | None = None,
    author: str | None = None,
    history: bool = True,
) -> ImageParts:
    """Return an image with new layers on top, and for each entry one in its history.

    `created` is the time of the image and of the new entries, as in RFC 3339; with None the image
    keeps its own, and the entries carry the same. `author` is that of the image, and of entries
    without one. Without `history`, and where it does not tell of all layers, it gets no entry: none
    is made up for the old layers. Layers get the media types of the manifest's family; one of zstd
    makes an OCI image of a docker one. The same arguments give the same bytes.
    """
    layers = [entry.layer for entry in entries if entry.layer is not None]
    config, manifest = members_of(parts.config.raw), members_of(parts.manifest.raw)
    set_created(config, created)
    if author is not None:
        put_or_drop(config, "author", author, CONFIG_ORDER)
    _extend_rootfs(config, layers)
    if parts.has_full_history and history:
        when = created or parts.config.created
        old = cast("list[object]", config.get("history") or [])
        new = [_entry_json(entry, when, author or "") for entry in entries]
        if new:
            put(config, "history", [*old, *new], CONFIG_ORDER)
    if layers:
        _extend_layers(manifest, parts, layers)
    return parts.with_members(config=config, manifest=manifest)


def _extend_rootfs(config: dict[str, object], layers: Sequence[NewLayer]) -> None:
    if layers:
        rootfs = cast("dict[str, object]", config["rootfs"])
        old = cast("list[object]", rootfs.get("diff_ids") or [])
        rootfs["diff_ids"] = [*old, *(str(layer.diff_id) for layer in layers)]


def _extend_layers(
    manifest: dict[str, object], parts: ImageParts, layers: Sequence[NewLayer]
) -> None:
    is_docker = parts.manifest.media_type == mediatype.DOCKER_MANIFEST
    if is_docker and any(layer.compression == "zstd" for layer in layers):
        use_family(manifest, docker=False)
        is_docker = False
    old = cast("list[object]", manifest["layers"] or [])
    manifest["layers"] = [*old, *(layer_json(layer, docker=is_docker) for layer in layers)]


def layer_json(layer: NewLayer, *, docker: bool) -> dict[str, object]:
    """Return the descriptor of a new layer, as in a manifest of this family."""
    return Descriptor(
        media_type=mediatype.layer_type(layer.compression, docker=docker),
        digest=layer.digest,
        size=layer.size,
        annotations=layer.annotations,
    ).to_json()


def _entry_json(entry: NewEntry, created: str | None, author: str) -> dict[str, object]:
    fields = {
        "created": created,
        "created_by": entry.created_by,
        "author": entry.author or author,
        "comment": entry.comment,
    }
    result: dict[str, object] = {key: value for key, value in fields.items() if value}
    return result if entry.layer is not None else {**result, "empty_layer": True}
