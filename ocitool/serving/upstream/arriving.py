"""Manifests that were fetched and whose image is not whole yet: kept in memory until it is.

Only then the image gets its name in the store, so `verify` finds no image with holes there. An
index is named with the first of its platforms that is whole.
"""

import threading
from collections.abc import Callable, Iterator

from ocitool.oci import Descriptor, Digest, Index, parse_manifest
from ocitool.serving.documents import DocumentFacts

_MOST = 2000
_MOST_BYTES = 64 << 20


class Arriving:
    """One manifest: its bytes, what it says, and the tags that name it."""

    def __init__(self, raw: bytes, facts: DocumentFacts) -> None:
        self.raw = raw
        self.facts = facts
        self.tags: set[str] = set()

    @property
    def listed(self) -> tuple[Descriptor, ...]:
        """The descriptors in it, with their sizes."""
        return listed_in(self.raw, self.facts.media_type)


def listed_in(raw: bytes, media_type: str | None) -> tuple[Descriptor, ...]:
    """Return the descriptors of a manifest or index."""
    document = parse_manifest(raw, media_type)
    if isinstance(document, Index):
        return document.manifests
    return (document.config, *document.layers)


class ArrivingManifests:
    """The manifests of all repositories. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Digest], Arriving] = {}
        self._lock = threading.Lock()

    def get(self, name: str, digest: Digest) -> Arriving | None:
        """Return a manifest of a repository."""
        return self._found.get((name, digest))

    def add(self, name: str, digest: Digest, arriving: Arriving) -> None:
        """Keep a manifest; the oldest are forgotten when there are too many."""
        with self._lock:
            self._found.setdefault((name, digest), arriving)
            size = sum(len(one.raw) for one in self._found.values())
            for key in list(self._found)[:-1]:
                if len(self._found) <= _MOST and size <= _MOST_BYTES:
                    break
                size -= len(self._found.pop(key).raw)

    def of(self, name: str) -> Iterator[tuple[Digest, Arriving]]:
        """Yield the manifests of a repository."""
        with self._lock:
            found = [(d, one) for (owner, d), one in self._found.items() if owner == name]
        yield from found

    def forget(self, name: str, digest: Digest) -> None:
        """Drop a manifest that is in the store now."""
        with self._lock:
            self._found.pop((name, digest), None)

    def is_whole(self, arriving: Arriving, has: Callable[[Digest], bool]) -> bool:
        """Tell whether an image has all that it needs, or an index a platform that is whole."""
        if arriving.facts.documents:
            return any(map(has, arriving.facts.documents))
        return all(map(has, arriving.facts.needed))

    def is_child(self, name: str, digest: Digest) -> bool:
        """Tell whether an index that is not in the store yet lists a manifest."""
        return any(digest in one.facts.documents for _, one in self.of(name))
