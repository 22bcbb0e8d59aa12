"""A place in memory, for tests of what only needs a source."""

from collections.abc import Mapping

from ocitool.errors import NotFound
from ocitool.image.content import Blob
from ocitool.oci import Descriptor, Digest
from tests.support.images import Built


class MemorySource:
    """A source that knows what it holds (`Inventory`) and notes what was opened."""

    def __init__(self, *built: Built) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.opened: list[Digest] = []
        for one in built:
            self.add(one.blobs)

    def add(self, blobs: Mapping[Digest, bytes]) -> None:
        """Hold more blobs."""
        self.blobs |= blobs

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether content of that digest and size is there."""
        return len(self.blobs.get(descriptor.digest, b"")) == descriptor.size

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content that verifies itself; NotFound when absent."""
        self.opened.append(descriptor.digest)
        data = self.blobs.get(descriptor.digest)
        if data is None:
            raise NotFound(f"blob {descriptor.digest} is missing from memory")
        return Blob.of(descriptor, data, where=f"blob {descriptor.digest.short}")
