"""A bundle together with the place that has what it requires, as one source."""

from ocitool.concurrency import Together
from ocitool.image.content import Blob, Catalog, Inventory, Root, Source
from ocitool.oci import Descriptor


class Completed:
    """The images of a catalog; content that it lacks is read from another place. A `Catalog`."""

    def __init__(self, catalog: Catalog, other: Source) -> None:
        self._catalog = catalog
        self._other = other

    def roots(self) -> tuple[Root, ...]:
        """Return the images of the catalog."""
        return self._catalog.roots()

    def resolve(self, name: str) -> Root:
        """Return the image of the catalog with this name; NotFound."""
        return self._catalog.resolve(name)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether one of the two has the content."""
        return _has(self._catalog, descriptor) or _has(self._other, descriptor)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content from the catalog, else from the other place; NotFound."""
        place = self._other if self._is_elsewhere(descriptor) else self._catalog
        return place.open(descriptor)

    def _is_elsewhere(self, descriptor: Descriptor) -> bool:
        return not _has(self._catalog, descriptor) and _has(self._other, descriptor)

    def abort(self) -> None:
        """Make running transfers fail, in the place that supports it."""
        Together(self._catalog, self._other).abort()

    def resume(self) -> None:
        """Let new transfers begin after `abort`."""
        Together(self._catalog, self._other).resume()


def _has(place: Source, descriptor: Descriptor) -> bool:
    return isinstance(place, Inventory) and place.has(descriptor)
