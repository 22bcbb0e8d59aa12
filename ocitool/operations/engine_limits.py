"""What an engine cannot hold, refused before anything is sent to it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.errors import Refused
from ocitool.image.content import PlannedImage
from ocitool.oci import Manifest
from ocitool.transfer.plan import is_attached

if TYPE_CHECKING:
    from ocitool.places.engine import Containerd, Engine

_MOST_LAYERS = 125
"""Of docker with its classic image store (`maxLayerDepth`)."""


def refuse_unfit(engine: "Engine | Containerd", images: Sequence[PlannedImage]) -> None:
    """Raise Refused for an image that the engine cannot hold.

    These are artifacts that are no images, such as Helm charts; images of another operating system
    than the engine's; and for docker with its classic store, images of more than 125 layers. The
    engine is only asked about itself if one of the last two is the case.
    """
    for image in images:
        if is_attached(image):
            continue
        called = image.root.called
        if image.featured is None:
            raise Refused(
                f"{called} is an artifact, which {engine.what} cannot hold",
                hint="copy it to a registry, a layout or an archive",
            )
        _refuse_system(engine, image, image.featured, called)
        _refuse_layers(engine, image.featured, called)


def _refuse_system(
    engine: "Engine | Containerd", image: PlannedImage, manifest: Manifest, called: str
) -> None:
    facts = image.configs.get(manifest.config.digest)
    wanted = facts.platform.os if facts is not None else ""
    if wanted in ("", "linux"):
        return
    own = engine.system().os
    if own and own != wanted:
        raise Refused(
            f"{called} is an image for {wanted}, and {engine.what} runs on {own}",
            hint=f"choose another platform with --platform, or an engine on {wanted}",
        )


def _refuse_layers(engine: "Engine | Containerd", manifest: Manifest, called: str) -> None:
    count = len(manifest.layers)
    if count > _MOST_LAYERS and engine.system().has_classic_store:
        raise Refused(
            f"{called} has {count} layers, and {engine.what} takes at most {_MOST_LAYERS}",
            hint="build it with fewer layers, or use podman or docker's containerd image store",
        )
