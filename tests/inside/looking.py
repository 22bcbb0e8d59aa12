"""Looking into small images, for the tests of this folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocitool.images.opening import open_source
from ocitool.inside.duplicates import hash_doubtful
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.sizing import SizeReport, measure
from tests.support.images import BuiltImage
from tests.support.small_images import Form, write_image


@contextmanager
def looking(
    folder: Path, image: BuiltImage, form: Form = "layout", **options: Any
) -> Iterator[Inside]:
    """Yield what is in an image, which is written below `folder` and open in the block."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_image(folder, image, form)
    with open_source(str(path)) as opened:
        yield look_inside(opened.source, opened.root, **options)


def sizes_of(folder: Path, image: BuiltImage, form: Form = "layout") -> SizeReport:
    """Return all sizes of an image, which is written below `folder`."""
    with looking(folder, image, form, hashes=Hashes.DOUBTFUL) as inside:
        hash_doubtful(inside, duplicates=True)
        return measure(inside, top=None, duplicates=True)
