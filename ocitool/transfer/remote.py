"""The images of a repository as a source, with their attached artifacts."""

from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from ocitool.errors import NotFound, OcitoolError
from ocitool.image.content import Blob, OpenRange, Root
from ocitool.image.graph import closure_of
from ocitool.oci import Descriptor, Digest, Index, Platform, Reference, mediatype, parse_manifest
from ocitool.oci.limits import KIBIBYTE
from ocitool.places.layout import Layout
from ocitool.places.registry import Repository
from ocitool.places.registry.referrers import cosign_tags, find_referrers
from ocitool.transfer.layered import LayeredSource
from ocitool.transfer.platforms import select_in_index

_SMALL = 256 * KIBIBYTE


class RemoteImages:
    """The images of a repository, as a source that reads what a layout has from that layout.

    `subjects` tells of each artifact that `add_attached` found what it is attached to.
    """

    def __init__(self, repository: Repository, layout: Layout | None = None) -> None:
        self.repository = repository
        self._layout = layout
        self._layered = LayeredSource(*([layout] if layout is not None else []), repository)
        self.asked: set[str] = set()
        """Where `add_attached` looked: api, fallback-tag, cosign-tags."""
        self.left_out: list[tuple[Digest, Digest]] = []
        """What is listed as attached and is not there: the subject, and the artifact."""
        self._attached: list[Root] = []
        self.subjects: dict[Digest, Digest] = {}
        self._small: dict[Digest, bytes] = {}

    @property
    def location(self) -> tuple[str, str]:
        """The registry's domain, and the path of the repository."""
        return self.repository.host.domain, self.repository.session.path

    def roots(self) -> tuple[Root, ...]:
        """Return the images that were named, and the artifacts found by `add_attached`."""
        return (*self.repository.roots(), *self._attached)

    def resolve(self, name: str) -> Root:
        """Return the image with a full name, tag or digest; NotFound when there is none."""
        return self.repository.resolve(name)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is available."""
        return self._layered.has(descriptor)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content as a stream that verifies itself.

        A config is needed before it is stored, so it is kept in memory and fetched only once.
        """
        if not mediatype.is_image_config(descriptor.media_type) or descriptor.size > _SMALL:
            return self._layered.open(descriptor)
        raw = self._small.get(descriptor.digest)
        if raw is None:
            with self._layered.open(descriptor) as blob:
                raw = self._small[descriptor.digest] = blob.read_all(_SMALL)
        return Blob.of(descriptor, raw, where=f"config {descriptor.digest.short}")

    def ranges(self, descriptor: Descriptor) -> OpenRange | None:
        """Return how to read parts of a blob."""
        return self._layered.ranges(descriptor)

    def abort(self) -> None:
        """Make running transfers fail."""
        self._layered.abort()

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""
        self._layered.resume()

    def find(self, reference: Reference) -> Root:
        """Return the image that a reference names, by a HEAD request if that is enough.

        The digest in the headers is trusted only if that manifest is here already; otherwise the
        manifest is fetched.
        """
        found = self.repository.head(reference)
        if found is None or not self._is_known(found):
            found = self.repository.fetch(reference)
        return Root(descriptor=found, names=(reference.name,))

    def _is_known(self, descriptor: Descriptor) -> bool:
        if self._layout is not None and self._layout.has(descriptor):
            return True
        return self.repository.raw(descriptor.digest) is not None

    def narrow(self, root: Root, platforms: Sequence[Platform]) -> Root | None:
        """Return the part of an index for these platforms, using only the index.

        None if it does not give the platforms of its images: then each image must be read.
        """
        with self.open(root.descriptor) as blob:
            raw = blob.read_all(self.repository.session.limits.manifest_bytes)
        document = parse_manifest(raw, root.descriptor.media_type)
        if not isinstance(document, Index):
            return None
        chosen = select_in_index(self._layered, document, platforms, called=root.called)
        if chosen is None:
            return None
        annotations = root.descriptor.annotations
        return replace(root, descriptor=replace(chosen, annotations=annotations))

    def select(
        self, roots: Sequence[Root], platforms: Sequence[Platform]
    ) -> tuple[Sequence[Root], Sequence[Platform]]:
        """Select platforms using only the indexes if possible; return those that are left to do."""
        narrowed = [self.narrow(root, platforms) for root in roots] if platforms else []
        found = [root for root in narrowed if root is not None]
        return (found, ()) if found and len(found) == len(roots) else (roots, platforms)

    def add_attached(
        self, roots: Sequence[Root], tags: Collection[str] | None = None
    ) -> list[Root]:
        """Find the artifacts attached to images and their platforms; return those with a tag.

        `tags` are all tags of the repository where they are known: others are not asked for.
        """
        tagged: list[Root] = []
        waiting = [digest for root in roots for digest in _documents(self, root)]
        seen: set[Digest] = set(waiting)
        while waiting:
            subject = waiting.pop()
            found = find_referrers(self.repository, subject)
            self.asked |= {"fallback-tag" if found.is_by_tag else "api", "cosign-tags"}
            for descriptor in found.entries:
                if descriptor.digest not in seen and self._is_there(descriptor, subject):
                    self.subjects[descriptor.digest] = subject
                    self._attached.append(Root(descriptor=replace(descriptor, platform=None)))
                    seen.add(descriptor.digest)
                    waiting.append(descriptor.digest)
            for tag, descriptor in cosign_tags(self.repository, subject, tags):
                name = f"{self.repository.known_as}:{tag}"
                tagged.append(Root(descriptor=descriptor, names=(name,)))
                if descriptor.digest not in seen:
                    # An SBOM may be signed, too.
                    seen.add(descriptor.digest)
                    waiting.append(descriptor.digest)
        return tagged

    def _is_there(self, descriptor: Descriptor, subject: Digest) -> bool:
        """Tell whether the registry still has what it lists; warn where it has not."""
        if self._is_known(descriptor):
            return True
        repository = self.repository
        named = Reference(repository.host.domain, repository.session.path, None, descriptor.digest)
        try:
            repository.fetch(named)
        except NotFound:
            repository.session.registries.warn(
                f"{repository.name} lists {descriptor.digest} as attached to {subject.short}, and "
                "does not have it: left out"
            )
            self.left_out.append((subject, descriptor.digest))
            return False
        except OcitoolError:
            # Of another kind than those that can be read; what becomes of it shows later.
            return True
        return True


def _documents(source: RemoteImages, root: Root) -> Iterator[Digest]:
    for descriptor, _ in closure_of(source, root.descriptor).documents:
        yield descriptor.digest
