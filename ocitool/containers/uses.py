"""Which containers use which image: what containers say about their images, matched to a layout."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from ocitool.errors import UsageError
from ocitool.image.content import Root
from ocitool.image.graph import closure_of
from ocitool.images.summaries import image_summaries
from ocitool.oci import Digest, Reference
from ocitool.places.layout import Layout
from ocitool.places.layout.reflog import events

SHORTEST_ID = 12
"""A shorter prefix does not count as a digest: it could also be a name."""
_CLAIM = re.compile(r"(?:(sha256|sha512):)?([0-9a-f]{12,128})")


class ContainerUse(Struct, frozen=True, kw_only=True):
    """One container, running or stopped, and what it says about its image.

    `provider` is where it was found: "store", "docker", "podman", "docker:FILE" and so on.
    A container that uses several images, such as one with an image volume, is one use for each.
    `digests` are digests of a config, manifest or index, or at least 12 of their first hex digits.
    `names` are image names as the provider writes them, also `repository@digest`.
    """

    provider: str
    id: str
    name: str
    state: str
    digests: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class ContainerProvider(Protocol):
    """A source of containers: the store, an engine, a file that another tool printed."""

    @property
    def name(self) -> str:
        """The value of `ContainerUse.provider`."""

    def uses(self) -> list[ContainerUse]:
        """Return every container, also stopped ones; Refused if it cannot answer.

        No answer must never count as "no containers".
        """


def containers_by_image(
    layout: Layout, uses: Iterable[ContainerUse]
) -> Mapping[Digest, tuple[ContainerUse, ...]]:
    """Return the containers that use each root, by the root's digest.

    A container matches by the digest of a config, manifest or index, and by `repository@digest`.
    It matches by name only if the layout has none of its digests, because the name may have moved
    since the container was made. A container that gives no digest uses every image here that ever
    had its name. Raises what reading the layout raises.
    """
    containers = list(uses)
    if not containers:
        return {}
    known = _Known(layout)
    found: dict[Digest, dict[tuple[str, ...], ContainerUse]] = {}
    for use in containers:
        for digest in known.roots_of(use):
            # A container that was described twice, such as by a name and by a digest, is one.
            same = (use.provider, use.id, use.name)
            found.setdefault(digest, {}).setdefault(same, use)
    return {digest: tuple(holders.values()) for digest, holders in found.items()}


class _Known:
    """The roots of a layout, found by anything that a container may say about its image."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._roots = layout.roots()
        self._digests = _Prefixes()
        self._names: dict[str, set[Digest]] = {}
        self._summaries = image_summaries(layout, self._roots)
        for root in self._roots:
            digest = root.descriptor.digest
            self._digests.add(str(digest), digest)
            for child in self._summaries[digest].children:
                self._digests.add(child, digest)
            for name in root.names:
                self._names.setdefault(name, set()).add(digest)
        self._former: dict[str, set[Digest]] | None = None
        self._blobs: _Prefixes | None = None
        self._inner: dict[Digest, set[Digest]] | None = None

    def roots_of(self, use: ContainerUse) -> set[Digest]:
        """Return the roots that the container may be using."""
        references = [found for name in use.names if (found := as_reference(name)) is not None]
        claims = [*use.digests, *use.names, *(str(r.digest) for r in references if r.digest)]
        by_digest = set().union(*(self._claimed(claim) for claim in claims))
        if by_digest:
            return by_digest
        held = set().union(*(self._names.get(r.name, set()) for r in references))
        if not use.digests:
            held |= set().union(*(self._had_name(r.name) for r in references))
        return held

    def _had_name(self, name: str) -> set[Digest]:
        if self._former is None:
            control = self._layout.control
            here = {str(root.descriptor.digest): root.descriptor.digest for root in self._roots}
            self._former = {}
            for event in events(control) if control is not None else ():
                for digest in (event.old, event.new):
                    if digest is not None and digest in here:
                        self._former.setdefault(event.name, set()).add(here[digest])
        return self._former.get(name, set())

    def _claimed(self, claim: str) -> set[Digest]:
        match = _CLAIM.fullmatch(claim)
        if match is None:
            return set()
        return self._digests.find(*match.groups()) or self._deeper(*match.groups())

    def _deeper(self, algorithm: str | None, hex_digits: str) -> set[Digest]:
        """Look for indexes inside indexes. Rare, so only for digests of blobs of the layout."""
        if self._blobs is None:
            self._blobs = _Prefixes()
            for digest in self._layout.blob_digests():
                self._blobs.add(str(digest), digest)
        found: set[Digest] = set()
        for digest in self._blobs.find(algorithm, hex_digits):
            found |= self._inner_documents().get(digest, set())
        return found

    def _inner_documents(self) -> dict[Digest, set[Digest]]:
        if self._inner is None:
            self._inner = {}
            for root in self._roots:
                if self._summaries[root.descriptor.digest].kind == "index":
                    self._add_documents(root, self._inner)
        return self._inner

    def _add_documents(self, root: Root, inner: dict[Digest, set[Digest]]) -> None:
        for descriptor, _ in closure_of(self._layout, root.descriptor).documents:
            inner.setdefault(descriptor.digest, set()).add(root.descriptor.digest)


class _Prefixes:
    """Digests, found by a prefix of their hex digits."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, str, Digest]] = []
        self._sorted = True

    def add(self, digest: str, root: Digest) -> None:
        algorithm, _, hex_digits = digest.partition(":")
        self._entries.append((hex_digits, algorithm, root))
        self._sorted = False

    def find(self, algorithm: str | None, prefix: str) -> set[Digest]:
        if not self._sorted:
            self._entries.sort()
            self._sorted = True
        found = set()
        position = bisect_left(self._entries, (prefix,))
        while position < len(self._entries) and self._entries[position][0].startswith(prefix):
            _, own, root = self._entries[position]
            if algorithm in (None, own):
                found.add(root)
            position += 1
        return found


def as_reference(name: str) -> Reference | None:
    """Return an image name as a reference; None if it is not one."""
    try:
        return Reference.parse(name)
    except UsageError:
        return None


def describe_uses(uses: Sequence[ContainerUse]) -> str:
    """Describe the containers for a message, such as `container web (docker, exited)`."""
    return ", ".join(f"container {use.name} ({use.provider}, {use.state})" for use in uses)
