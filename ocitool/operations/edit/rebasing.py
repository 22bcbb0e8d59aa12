"""rebase: an image on a newer base, without building it again."""

from collections.abc import Iterator

from msgspec.structs import replace

from ocitool.editing.parts import ImageParts
from ocitool.editing.rebasing import NewBase, Rebased, rebase
from ocitool.errors import NotFound, Refused
from ocitool.image.choosing import PlatformImage, choose
from ocitool.images.locations import Place, PlaceKind, parse_place
from ocitool.images.lookup import full_name
from ocitool.oci import Digest, Reference
from ocitool.oci.annotations import BASE_DIGEST, BASE_NAME
from ocitool.operations.edit.images import Read, edit_images
from ocitool.operations.edit.places import beside
from ocitool.operations.edit.replaced import replaced_files
from ocitool.operations.edit.report import Edit, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.running import Editing, run_edit


def rebase_image(
    source: str | Place,
    new_base: str,
    options: EditOptions,
    access: PlaceAccess | None = None,
    *,
    old_base: str | None = None,
) -> EditReport:
    """Put an image, each of an index or some, on a new base; see `ocitool.editing.rebasing`.

    Without `old_base` it is what the annotations say, by digest; NotFound where they say nothing,
    or where it is gone. What the image deletes or replaces of its base is told where its layers
    can be read without fetching them.
    """

    def work(read: Read, editing: Editing) -> Edit:
        bases = _Bases(read, new_base, old_base, editing)
        remarks: dict[str, None] = {}

        def change(parts: ImageParts, image: PlatformImage) -> ImageParts:
            old, new = bases.old(parts, image), bases.new(image)
            rebased = rebase(parts, old, new, created=options.epoch, author=options.author)
            remarks.update(dict.fromkeys(_told(read, image, rebased)))
            remarks.update(
                dict.fromkeys(replaced_files(read, image, len(old.config.diff_ids), editing.tables))
            )
            return rebased.image

        edit = edit_images(
            read, change, options.platforms, keep_attestations=options.keep_attestations
        )
        return replace(edit, remarks=tuple(remarks))

    return run_edit(source, options, access or PlaceAccess(), work)


def _told(read: Read, image: PlatformImage, rebased: Rebased) -> Iterator[str]:
    where = f" of {image.platform}" if len(read.images()) > 1 else ""
    for one in rebased.conflicts:
        yield f"both the image and the new base changed {one}{where}: the image's stays"
    yield from rebased.remarks


class _Bases:
    """The old and the new base of images; each place is opened once."""

    def __init__(self, read: Read, new_base: str, old_base: str | None, editing: Editing) -> None:
        self._read = read
        self._editing = editing
        self._opened: dict[str, Read] = {}
        self._new_place = parse_place(new_base)
        self._old_place = parse_place(old_base) if old_base is not None else None

    def new(self, image: PlatformImage) -> NewBase:
        """Return the new base for the platform of an image."""
        found = self._open(self._new_place)
        names = [full_name(name) for name in found.root.names]
        return NewBase(
            image=_image_for(found, image),
            digest=found.root.descriptor.digest,
            name=names[0] if names else None,
        )

    def old(self, parts: ImageParts, image: PlatformImage) -> ImageParts:
        """Return the old base of an image."""
        place = self._old_place or self._noted(parts)
        try:
            return _image_for(self._open(place), image)
        except NotFound as error:
            if self._old_place is not None:
                raise
            raise NotFound(
                f"the old base that the annotations name is not there: {error.message}",
                hint="--old-base A names it; a copy by its digest would do",
            ) from error

    def _noted(self, parts: ImageParts) -> Place:
        """Return where the base is that the image notes; NotFound where it notes none."""
        document = self._read.closure.document(self._read.root.descriptor.digest)
        above = document.annotations if document is not None else {}
        for noted in (parts.manifest.annotations, above, parts.config.config.labels):
            if digest := noted.get(BASE_DIGEST):
                return _place_of(Digest.parse(digest), noted.get(BASE_NAME), self._new_place)
        raise NotFound(
            f"{self._read.root.called} does not say what it was built on",
            hint="--old-base A names it; `append --set-base` notes it in annotations",
        )

    def _open(self, place: Place) -> Read:
        found = self._opened.get(place.text)
        if found is None:
            opened = self._editing.open(place)
            self._read.source.add_place(opened.source)
            found = Read.of(self._read.source, opened.source, opened.root)
            self._opened[place.text] = found
        return found


def _place_of(digest: Digest, name: str | None, new_base: Place) -> Place:
    """Return the place of a base by its digest: where the new base is, or in its own repository."""
    if name is not None and new_base.kind is PlaceKind.REGISTRY:
        return parse_place(f"docker://{Reference.parse(name).repository}@{digest}")
    return beside(str(digest), new_base)


def _image_for(read: Read, image: PlatformImage) -> ImageParts:
    found = choose(read.images(), image.platform, called=read.root.called)
    if found.platform.normalized() != image.platform.normalized() and len(read.images()) > 1:
        raise Refused(f"{read.root.called} has no image for {image.platform} itself")
    return ImageParts(manifest=found.manifest, config=found.read_config(read.source))
