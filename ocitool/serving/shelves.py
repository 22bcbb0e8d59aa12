"""What is served: stores, layouts, archives, each as offers and the bytes behind digests."""

import os
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ocitool.errors import LimitExceeded, NotFound
from ocitool.fsops import translated
from ocitool.image.content import Root, synthesized_images
from ocitool.image.entries import arrange, entry_root
from ocitool.oci import Descriptor, Digest
from ocitool.oci.annotations import REPOSITORIES, full_name
from ocitool.places.archive import ArchiveSource, FolderSource
from ocitool.places.layout import Layout
from ocitool.serving.messages import FilePart


class Offer(Struct, frozen=True, kw_only=True):
    """A manifest that a place offers by itself.

    `names` are full references; `label` is a tag without a repository; `repositories` are those to
    which it was pushed.
    """

    descriptor: Descriptor
    names: tuple[str, ...] = ()
    label: str | None = None
    repositories: tuple[str, ...] = ()


Content = FilePart | bytes


class Shelf(Protocol):
    """A place that is served. Thread-safe."""

    what: str
    """What the user calls the place."""
    layout: Layout | None
    """The layout that can be written to; None for what is only read."""
    remarks: Sequence[str]
    """What was made or left out to serve it."""
    requires: Sequence[Digest]
    """The blobs that its images need, and that are left to another place."""

    @property
    def is_cut(self) -> bool:
        """Whether bytes that were there when it was opened are gone, as of a file that was cut."""

    def offers(self) -> Sequence[Offer]:
        """Return what the place offers now; the same object as long as that does not change."""

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob; None if it is not here."""

    def content(self, digest: Digest) -> Content:
        """Return a blob, not verified, from now on whatever happens to its name.

        NotFound if it is not here.
        """


class LayoutShelf:
    """A store or a layout directory, as it is at the moment of each request."""

    is_cut = False

    def __init__(self, layout: Layout) -> None:
        self.layout: Layout | None = layout
        self._layout = layout
        self.what = layout.path
        self.remarks: Sequence[str] = ()
        self.requires: Sequence[Digest] = ()
        self._made: dict[Digest, bytes] = {}
        self._seen: tuple[tuple[Descriptor, ...], Sequence[Offer]] = ((), ())

    def offers(self) -> Sequence[Offer]:
        """Return the entries of index.json."""
        entries = self._layout.index().entries
        seen, offers = self._seen
        if seen is not entries:
            offers = self._stored(entries) if self._layout.is_store else self._arranged(entries)
            self._seen = (entries, offers)
        return offers

    def _stored(self, entries: Sequence[Descriptor]) -> Sequence[Offer]:
        # Names of a store are full: there is nothing else to find out.
        return [
            Offer(
                descriptor=entry,
                names=(name,) if (name := full_name(entry.annotations, entry.digest)) else (),
                repositories=repositories_of(entry),
            )
            for entry in entries
        ]

    def _arranged(self, entries: Sequence[Descriptor]) -> Sequence[Offer]:
        arranged = arrange(list(map(entry_root, entries)), join_nameless=True)
        self._made = dict(arranged.indexes)
        return [_offer(root) for root in arranged.roots]

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob; None if it is not here."""
        made = self._made.get(digest)
        return len(made) if made is not None else self._layout.blob_size(digest)

    def content(self, digest: Digest) -> Content:
        """Return a blob; NotFound if it is not here."""
        made = self._made.get(digest)
        if made is not None:
            return made
        file, size = self._layout.open_blob(digest)
        return FilePart(file, 0, size)


class ArchiveShelf:
    """An archive, a bundle or a folder, as it was when it was opened."""

    layout: Layout | None = None

    def __init__(self, source: ArchiveSource | FolderSource, what: str) -> None:
        self.what = what
        self._source = source
        self._offers = [_offer(root) for root in source.roots()]
        made = synthesized_images(source)
        self.remarks: Sequence[str] = [
            f"{root.called} has no manifest in {what}: one was made, {root.descriptor.digest}"
            for root in source.roots()
            if root.descriptor.digest in made
        ]
        self.requires: Sequence[Digest] = ()
        if isinstance(source, ArchiveSource) and source.bundle is not None:
            self.requires = [Digest.parse(one.digest) for one in source.bundle.requires]

    @property
    def is_cut(self) -> bool:
        """Whether the file has become shorter since it was opened."""
        return isinstance(self._source, ArchiveSource) and self._source.is_cut

    def offers(self) -> Sequence[Offer]:
        """Return the images of the archive."""
        return self._offers

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob; None if it is not here."""
        return self._source.size_of(digest)

    def content(self, digest: Digest) -> Content:
        """Return a blob; NotFound if it is not here."""
        found = self._source.located(digest)
        if found is None:
            raise NotFound(f"blob {digest} is missing from {self.what!r}")
        return found if isinstance(found, bytes) else FilePart(*found)


def _offer(root: Root) -> Offer:
    return Offer(
        descriptor=root.descriptor,
        names=root.names,
        label=root.label,
        repositories=repositories_of(root.descriptor),
    )


def repositories_of(entry: Descriptor) -> tuple[str, ...]:
    """Return the repositories to which an entry of index.json was pushed."""
    return tuple(entry.annotations.get(REPOSITORIES, "").split())


def read_content(content: Content, limit: int) -> bytes:
    """Return a blob in memory, and close it; LimitExceeded beyond `limit` bytes."""
    if isinstance(content, bytes):
        return content
    try:
        if content.length > limit:
            raise LimitExceeded(f"it is {content.length} bytes; the limit here is {limit}")
        with translated("read", "a manifest"):
            return os.pread(content.file, content.length, content.offset)
    finally:
        content.close()
