"""Unpacking the layers of an image into the root file system of a container."""

import contextlib
import os
from collections.abc import Iterator

from ocitool.containers.choosing import Chosen
from ocitool.errors import IntegrityError, LimitExceeded
from ocitool.fsops import Directory, describe_folder
from ocitool.image.layers import Extracted, Extraction, Keep
from ocitool.oci import Digest, ImageConfig, Limits, mediatype
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar
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

    What this user may not create is left out and counted. Raises what `Extraction` raises, with the
    layer, and IntegrityError for an image whose layers do not match its config.
    """
    layers, diff_ids = chosen.manifest.layers, chosen.config.diff_ids
    if len(layers) != len(diff_ids):
        raise IntegrityError(
            f"{quoted(chosen.name)} has {len(layers)} layers, but its config {len(diff_ids)}"
        )
    keep = Keep(owners=not rootless, set_id=True, attributes=True, special=True)
    describe_folder(folder, mode=0o755)
    with Extraction(folder, keep=keep, limits=limits) as extraction:
        for number, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True), 1):
            if not mediatype.is_layer(layer.media_type):
                raise IntegrityError(
                    f"{quoted(chosen.name)} has a layer of the type {quoted(layer.media_type)}"
                )
            called = f"layer {number} of {len(layers)} of {quoted(familiar(chosen.name))}"
            with _told(called, layer.digest, chosen), layout.open(layer) as blob:
                extraction.layer(blob, diff_id, stored=layer.digest)
        return extraction.finish()


@contextlib.contextmanager
def _told(called: str, digest: Digest, chosen: Chosen) -> Iterator[None]:
    """Name the layer in what is found wrong with it in the block, and say what to do."""
    try:
        yield
    except LimitExceeded:
        raise
    except IntegrityError as error:
        name = familiar(chosen.name)
        hint = (
            f"`ocitool verify {name}` tells if it is damaged here; if it is not, the image was "
            "made like this: build it anew"
        )
        message = f"{called} ({digest.short}): {error.message}"
        raise type(error)(message, hint=error.hint or hint) from error
