"""Unpacking the layers of an image into the root file system of a container."""

import os

from ocitool.containers.choosing import Chosen
from ocitool.errors import IntegrityError
from ocitool.fsops import Directory, describe_folder
from ocitool.image.layers import Extracted, Extraction, Keep
from ocitool.oci import ImageConfig, Limits, mediatype
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout

_ALL_USERS = "4294967295"
_EMPTY = "empty"


def is_root() -> bool:
    """Tell whether this process may chown to any user, make devices and mount overlays.

    False for root of a user namespace, in which only some users exist.
    """
    if os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            return lines.readline().split() == ["0", "0", _ALL_USERS]
    except OSError:
        return True


def tree_name(config: ImageConfig, *, rootless: bool) -> str:
    """Return the name of the unpacked tree; equal layers unpacked by the same user share it."""
    chain = config.chain_ids()
    name = chain[-1].hex if chain else _EMPTY
    return f"{name}-{os.geteuid()}" if rootless else name


def unpack_image(
    layout: Layout, chosen: Chosen, folder: Directory, *, rootless: bool, limits: Limits
) -> Extracted:
    """Unpack an image into an empty, private folder; every layer is verified on the way.

    What this user may not create is left out and counted. Raises what `Extraction` raises, and
    IntegrityError for an image whose layers do not match its config.
    """
    layers, diff_ids = chosen.manifest.layers, chosen.config.diff_ids
    if len(layers) != len(diff_ids):
        raise IntegrityError(
            f"{quoted(chosen.name)} has {len(layers)} layers, but its config {len(diff_ids)}"
        )
    keep = Keep(owners=not rootless, set_id=True, attributes=True, special=True)
    describe_folder(folder, mode=0o755)
    with Extraction(folder, keep=keep, limits=limits) as extraction:
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            if not mediatype.is_layer(layer.media_type):
                raise IntegrityError(
                    f"{quoted(chosen.name)} has a layer of the type {quoted(layer.media_type)}"
                )
            with layout.open(layer) as blob:
                extraction.layer(blob, diff_id, stored=layer.digest)
        return extraction.finish()
