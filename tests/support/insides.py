"""Looking into built images, from memory and from a layout."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocitool.image.content import Root
from ocitool.images.opening import open_source
from ocitool.inside.image import Inside, look_inside
from tests.support.images import BuiltImage
from tests.support.small_images import write_image
from tests.support.sources import MemorySource


def looked_into(image: BuiltImage, **options: Any) -> Inside:
    """Look into an image in memory: all of each layer is read. `options` are of `look_inside`."""
    return look_inside(MemorySource(image), Root(descriptor=image.descriptor), **options)


@contextlib.contextmanager
def looked_into_layout(folder: Path, image: BuiltImage, **options: Any) -> Iterator[Inside]:
    """Write an image as a layout below a folder and look into that: plain layers by headers."""
    with open_source(str(write_image(folder, image))) as opened:
        yield look_inside(opened.source, opened.root, **options)
