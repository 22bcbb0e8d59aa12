"""A source that reads documents from memory, and everything else from other sources."""

from ocitool.concurrency import Together
from ocitool.image.content import Blob, Inventory, OpenRange, Ranged, Source
from ocitool.oci import Descriptor, Digest


class LayeredSource:
    """A source that looks for content in memory first, then in some places in order."""

    def __init__(self, *places: Source) -> None:
        self._places = places
        # Checked only once: this `isinstance` takes longer than looking for a blob.
        self._inventories = [place if isinstance(place, Inventory) else None for place in places]
        self._documents: dict[Digest, bytes] = {}

    def add(self, raw: bytes, media_type: str) -> Descriptor:
        """Keep a new document and return its descriptor."""
        digest = Digest.of(raw)
        self._documents[digest] = raw
        return Descriptor(media_type=media_type, digest=digest, size=len(raw))

    def keep(self, digest: Digest, raw: bytes) -> None:
        """Keep a document that was read and verified, so that it is not read again."""
        self._documents[digest] = raw

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a document or one of the places holds the content."""
        if descriptor.digest in self._documents:
            return True
        return any(place is None or place.has(descriptor) for place in self._inventories)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content from the first place that has it."""
        raw = self._documents.get(descriptor.digest)
        if raw is not None:
            where = f"manifest {descriptor.digest.short}"
            return Blob.of(descriptor, raw, where=where)
        return self._place_of(descriptor).open(descriptor)

    def ranges(self, descriptor: Descriptor) -> OpenRange | None:
        """Return how to read parts of a blob from the place that has it, if that supports it."""
        if descriptor.digest in self._documents:
            return None
        place = self._place_of(descriptor)
        return place.ranges(descriptor) if isinstance(place, Ranged) else None

    def abort(self) -> None:
        """Make running transfers fail, in the places that support it."""
        Together(*self._places).abort()

    def resume(self) -> None:
        """Let new transfers begin after `abort`."""
        Together(*self._places).resume()

    def _place_of(self, descriptor: Descriptor) -> Source:
        for place, inventory in zip(self._places[:-1], self._inventories, strict=False):
            if inventory is None or inventory.has(descriptor):
                return place
        return self._places[-1]
