"""What a garbage collection would remove, why, and what stays although it has no name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from ocitool.containers.uses import ContainerUse
from ocitool.garbage.choice import Choice
from ocitool.garbage.reachable import Reachable
from ocitool.garbage.roots import RootEntry, root_entries
from ocitool.oci import Descriptor, Digest
from ocitool.places.layout.index import IndexFile
from ocitool.places.layout.leftovers import Leftover
from ocitool.places.layout.pins import Pin
from ocitool.places.layout.trash import TrashContents


class GarbageImage(Struct, frozen=True, kw_only=True):
    """A root to remove. `former` is a name that it lost at `lost` (RFC 3339 UTC).

    `kind` is "image" or "attached"; `size` are the bytes of the blobs that are removed with it,
    and other images to remove may need some of these too.
    """

    digest: Digest
    kind: str
    names: tuple[str, ...]
    former: str | None
    lost: str | None
    size: int
    reason: str


class GarbageBlob(Struct, frozen=True, kw_only=True):
    """A blob to remove, its size in bytes, and the first image that has it, or None."""

    digest: Digest
    size: int
    image: Digest | None

    @property
    def reason(self) -> str:
        """Why it is garbage."""
        if self.image is None:
            return "no image needs it"
        return f"only images to remove need it, such as {self.image.short}"


class KeptImage(Struct, frozen=True, kw_only=True):
    """An image that would go if `reason` did not hold it: a pin, containers, a command, a rule."""

    digest: Digest
    names: tuple[str, ...]
    former: str | None
    reason: str
    holders: tuple[ContainerUse, ...] = ()


class Facts(Struct, frozen=True, kw_only=True):
    """What a plan was made from, so that applying it can tell what has changed since.

    `unlisted` are images that index.json does not list any more, but the reflog knows. `unfinished`
    are blobs that the last run was to move, and was killed before it did.
    """

    index: IndexFile
    unlisted: tuple[Descriptor, ...]
    unfinished: frozenset[str]
    reachable: Reachable
    pins: tuple[Pin, ...]
    uses: tuple[ContainerUse, ...]
    subjects: Mapping[str, str]
    contents: Mapping[str, frozenset[str]]

    def roots(self, index: IndexFile) -> dict[str, RootEntry]:
        """Return the roots of an index.json, and of what it does not list."""
        return root_entries(self.entries(index))

    def entries(self, index: IndexFile) -> tuple[Descriptor, ...]:
        """Return the entries of an index.json, and what it does not list."""
        listed = {entry.digest for entry in index.entries}
        return (*index.entries, *(d for d in self.unlisted if d.digest not in listed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is removed and what stays. `unknown_files` are of no known form, and stay.

    `young` blobs are not old enough to go, `absent` ones children of sparse indexes. `waiting` is
    what is in the trash already.
    """

    path: str
    choice: Choice
    images: tuple[GarbageImage, ...]
    blobs: tuple[GarbageBlob, ...]
    leftovers: tuple[Leftover, ...]
    kept: tuple[KeptImage, ...]
    unknown_files: tuple[str, ...]
    young: int
    absent: int
    waiting: TrashContents
    facts: Facts = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """The bytes of the blobs to remove."""
        return sum(blob.size for blob in self.blobs)

    @property
    def is_empty(self) -> bool:
        """Tell whether there is no garbage."""
        return not (self.images or self.blobs or self.leftovers)
