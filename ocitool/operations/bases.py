"""The images of a store that others may have been built on."""

from collections.abc import Iterator

from ocitool.errors import OcitoolError
from ocitool.image.choosing import platform_images
from ocitool.image.graph import closure_of
from ocitool.inside.bases import Candidate
from ocitool.oci import Platform
from ocitool.places.layout import Layout


def store_bases(layout: Layout, platform: Platform) -> Iterator[Candidate]:
    """Yield the images with a name that are for a platform; those that cannot be read are left out.

    Only manifests and configurations are read.
    """
    for root in layout.roots():
        if not root.names:
            continue
        try:
            for image in platform_images(layout, closure_of(layout, root.descriptor)):
                if platform.normalized().rank(image.platform) is not None:
                    yield Candidate(
                        name=root.names[0],
                        digest=image.descriptor.digest,
                        config=image.read_config(layout),
                    )
        except OcitoolError:
            continue
