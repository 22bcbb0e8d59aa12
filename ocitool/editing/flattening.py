"""An image with all its layers made one."""

from typing import cast

from ocitool.editing.layers import NewEntry, NewLayer, append_entries
from ocitool.editing.parts import ImageParts
from ocitool.oci.members import CONFIG_ORDER, members_of, put


def with_one_layer(
    image: ImageParts,
    layer: NewLayer,
    *,
    created_by: str,
    created: str | None = None,
    author: str | None = None,
    keep_history: bool = False,
    history: bool = True,
) -> ImageParts:
    """Return an image with this layer in place of all of its own.

    Its history is one entry; with `keep_history` the entries of the former layers stand before it,
    as entries without a layer. Everything else stays.
    """
    config, manifest = members_of(image.config.raw), members_of(image.manifest.raw)
    cast("dict[str, object]", config["rootfs"])["diff_ids"] = []
    steps = cast("list[dict[str, object]]", config.get("history") or [])
    if "history" in config or steps:
        kept = [{**step, "empty_layer": True} for step in steps] if keep_history else []
        put(config, "history", kept, CONFIG_ORDER)
    manifest["layers"] = []
    bare = image.with_members(config=config, manifest=manifest)
    entry = NewEntry(created_by=created_by, layer=layer)
    return append_entries(bare, [entry], created=created, author=author, history=history)
