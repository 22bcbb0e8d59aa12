"""Looking into built images from memory."""

from typing import Any

from ocitool.image.content import Root
from ocitool.inside.image import Inside, look_inside
from tests.support.images import BuiltImage
from tests.support.sources import MemorySource


def looked_into(image: BuiltImage, **options: Any) -> Inside:
    """Look into an image in memory: all of each layer is read. `options` are of `look_inside`."""
    return look_inside(MemorySource(image), Root(descriptor=image.descriptor), **options)
