"""Edit each image of what was read: its documents, and those of the indexes that list it."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, cast

from msgspec.structs import replace

from ocitool.editing.parts import ImageParts
from ocitool.errors import NotFound
from ocitool.image.attached import attested, is_attestation
from ocitool.image.choosing import PlatformImage, choose, platform_images
from ocitool.image.content import Catalog, Closure, Root
from ocitool.image.graph import closure_of, kind_of
from ocitool.oci import Descriptor, Digest, Index, Manifest, Platform, parse_manifest
from ocitool.oci.children import list_anew
from ocitool.operations.edit.report import Edit, EditedImage
from ocitool.transfer.derived import DerivedImages

Change = Callable[[ImageParts, PlatformImage], ImageParts]
"""Makes another image of one; the same where there is nothing to change."""
ChangeIndex = Callable[[Index], tuple[bytes, str]]
"""Makes the bytes and the type of another index of the one whose children are new already."""


class Read(NamedTuple):
    """What was read to be edited, as one source with what is made of it."""

    source: DerivedImages
    catalog: Catalog
    root: Root
    closure: Closure

    @classmethod
    def of(cls, source: DerivedImages, catalog: Catalog, root: Root) -> "Read":
        """Read all documents below a root of one of the bases."""
        closure = closure_of(catalog, root.descriptor)
        source.add_base(catalog, closure)
        return cls(source, catalog, root, closure)

    def images(self, wanted: Sequence[Platform] = ()) -> tuple[PlatformImage, ...]:
        """Return its images, or those for some platforms; NotFound lists what there is."""
        found = platform_images(self.source, self.closure)
        if not found:
            document = self.closure.document(self.root.descriptor.digest)
            raise NotFound(f"{self.root.called} is not an image{kind_of(document)}")
        called, absent = self.root.called, self.closure.missing
        chosen = {choose(found, one, called=called, absent=absent) for one in wanted}
        return tuple(one for one in found if not wanted or one in chosen)


def edit_images(
    read: Read,
    change: Change,
    platforms: Sequence[Platform] = (),
    *,
    keep_attestations: bool = False,
    change_index: ChangeIndex | None = None,
    each_index: bool = False,
    changed_before: Collection[Digest] = (),
) -> Edit:
    """Change the images that were read, all or those for some platforms.

    The other children of an index keep their bytes, its order and annotations stay. Attestations
    of changed images no longer describe them: they are left out, or kept beside the new images.
    The same holds for those of `changed_before`, images that are new already. `change_index` is for
    the index that was read, with `each_index` also for those in it.
    """
    editor = _Editor(
        read,
        change,
        read.images(platforms),
        keep_attestations=keep_attestations,
        changed_before=changed_before,
        change_index=change_index if each_index else None,
    )
    new = editor.edit()
    if change_index is not None and not each_index:
        new = _with_index(read, new, change_index)
    descriptor = replace(new, annotations=read.root.descriptor.annotations, platform=None)
    root = replace(read.root, descriptor=descriptor)
    read.source.set_roots([root])
    return Edit(
        source=read.source,
        root=root,
        old=read.root.descriptor.digest,
        images=tuple(editor.reports),
        renamed=editor.renamed | {read.root.descriptor.digest: new},
        attestations=tuple(editor.attestations),
        keeps_attestations=keep_attestations,
    )


class _Editor:
    def __init__(
        self,
        read: Read,
        change: Change,
        chosen: Sequence[PlatformImage],
        *,
        keep_attestations: bool,
        changed_before: Collection[Digest],
        change_index: ChangeIndex | None,
    ) -> None:
        self._read = read
        self._change = change
        self._chosen = {image.descriptor.digest: image for image in chosen}
        self._keep = keep_attestations
        self._changed_before = changed_before
        self._change_index = change_index
        self.renamed: dict[Digest, Descriptor] = {}
        self.reports: list[EditedImage] = []
        self.attestations: list[Digest] = []

    def edit(self) -> Descriptor:
        """Make the new documents, children first; return the root's descriptor."""
        root = self._read.root.descriptor
        for descriptor, document in self._read.closure.documents:
            if isinstance(document, Index):
                self._index(descriptor, document)
            elif descriptor.digest in self._chosen:
                self._image(document, self._chosen[descriptor.digest])
        return self.renamed.get(root.digest, root)

    def _image(self, manifest: Manifest, image: PlatformImage) -> None:
        source = self._read.source
        parts = ImageParts(manifest=manifest, config=image.read_config(source))
        new = self._change(parts, image)
        old, descriptor = image.descriptor.digest, new.descriptor
        if descriptor.digest != old:
            source.add(new.config.raw, new.manifest.config.media_type)
            source.add(new.manifest.raw, new.manifest.media_type)
            if new.config.platform != parts.config.platform:
                descriptor = replace(descriptor, platform=new.config.platform)
            self.renamed[old] = descriptor
        self.reports.append(
            EditedImage(
                platform=new.config.platform.normalized()
                if descriptor.platform
                else image.platform,
                old=old,
                new=descriptor.digest,
                image_id=new.manifest.config.digest,
            )
        )

    def _index(self, descriptor: Descriptor, index: Index) -> None:
        stale = attestations_of(index, [*self.renamed, *self._changed_before])
        self.attestations += stale
        dropped = () if self._keep else stale
        raw, media_type = list_anew(index, self.renamed, without=dropped)
        if self._change_index is not None:
            listed = parse_manifest(raw, media_type)
            raw, media_type = self._change_index(cast("Index", listed))
        if raw != index.raw:
            self.renamed[descriptor.digest] = self._read.source.add(raw, media_type)


def attestations_of(index: Index, images: Collection[Digest]) -> list[Digest]:
    """Return BuildKit's attestations in an index that are about some images."""
    texts = {str(digest) for digest in images}
    return [
        child.digest
        for child in index.manifests
        if is_attestation(child) and attested(child) in texts
    ]


def _with_index(read: Read, new: Descriptor, change: ChangeIndex) -> Descriptor:
    document = closure_of(read.source, new).document(new.digest)
    if not isinstance(document, Index):
        return new
    return read.source.add(*change(document))
