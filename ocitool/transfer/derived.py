"""Images that were made from others here: new documents and layers, all else where it was."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from ocitool.errors import NotFound
from ocitool.image.content import Catalog, Closure, InRepository, Root, Source
from ocitool.oci import Descriptor, Digest
from ocitool.transfer.layered import LayeredSource


class DerivedImages(LayeredSource):
    """New images as a source: their documents in memory, new layers in `scratch`.

    `bases` are what they were made from. Everything else is read from the one of these whose image
    has it: see `add_base`.
    """

    def __init__(self, bases: Iterable[Catalog], scratch: Source | None = None) -> None:
        self.bases = tuple(bases)
        super().__init__(*([scratch] if scratch is not None else []), *self.bases)
        self._held: dict[Digest, Catalog] = {}
        self._roots: tuple[Root, ...] = ()

    def roots(self) -> tuple[Root, ...]:
        """Return the new images, and what is attached to them."""
        return self._roots

    def set_roots(self, roots: Sequence[Root]) -> None:
        """Offer these images."""
        self._roots = tuple(roots)

    def resolve(self, name: str) -> Root:
        """Return the image that is called `name`; NotFound when there is none."""
        for root in self._roots:
            if name in (*root.names, root.label, str(root.descriptor.digest)):
                return root
        raise NotFound(f"there is no image {name!r} among the new ones")

    def add_place(self, catalog: Catalog) -> None:
        """Take another catalog as a base."""
        self.bases = (*self.bases, catalog)

    def add_base(self, catalog: Catalog, closure: Closure) -> None:
        """Note which of the bases has all that an image needs."""
        for descriptor in closure.descriptors:
            self._held.setdefault(descriptor.digest, catalog)
        for descriptor, document in closure.documents:
            self.keep(descriptor.digest, document.raw)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is new, or was seen in one of the bases."""
        return descriptor.digest in self._held or super().has(descriptor)

    def held_in(self, domain: str, path: str) -> AbstractSet[Digest]:
        """Return the digests that are in a repository of a registry already, as bases show."""
        return {
            digest
            for digest, base in self._held.items()
            if isinstance(base, InRepository) and base.location == (domain, path)
        }

    def base_of(self, digest: Digest) -> Catalog | None:
        """Return the base that a digest is read from; None for a new one."""
        return self._held.get(digest)

    def _place_of(self, descriptor: Descriptor) -> Source:
        return self._held.get(descriptor.digest) or super()._place_of(descriptor)


def bases_of(catalog: Catalog) -> tuple[Catalog, ...]:
    """Return the places that the content of a catalog is read from in the end."""
    return catalog.bases if isinstance(catalog, DerivedImages) else (catalog,)
