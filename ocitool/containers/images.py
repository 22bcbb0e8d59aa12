"""The image that a container was made from: by its digest, whatever its names point to now."""

from ocitool.containers.records import Container
from ocitool.editing.parts import ImageParts
from ocitool.errors import NotFound
from ocitool.image.content import Root
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.taking import require_layers
from ocitool.inside.toc_cache import TocCache
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, parse_manifest
from ocitool.oci.mediatype import OCI_MANIFEST
from ocitool.oci.reference import familiar
from ocitool.places.layout import Layout

_TABLES = "toc"


def image_descriptor(layout: Layout, container: Container) -> Descriptor:
    """Return the descriptor of the container's image; NotFound if the store has lost it."""
    digest = Digest.parse(container.manifest)
    size = layout.blob_size(digest)
    if size is None:
        raise NotFound(
            f"the image of container {container.name} is not in the store any more: {digest}",
            hint=f"`ocitool pull {familiar(container.image)}` may bring it back",
        )
    found = Descriptor(media_type=OCI_MANIFEST, digest=digest, size=size)
    with layout.open(found) as blob:
        manifest = parse_manifest(blob.read_all(DEFAULT_LIMITS.manifest_bytes), None)
    return Descriptor(media_type=manifest.media_type, digest=digest, size=size)


def read_parts(layout: Layout, container: Container) -> ImageParts:
    """Return the manifest and the configuration of the container's image, verified."""
    return ImageParts.read(layout, image_descriptor(layout, container))


def look_at_image(layout: Layout, container: Container, hashes: Hashes = Hashes.NONE) -> Inside:
    """Read the layers of the container's image; their tables are kept in the store."""
    inside = look_inside(
        layout,
        Root(descriptor=image_descriptor(layout, container), names=(container.image,)),
        hashes=hashes,
        cache=TocCache(layout.cache_folder(_TABLES)),
        observer=layout.observer,
    )
    require_layers(inside)
    return inside
