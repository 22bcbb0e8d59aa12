"""set: labels, variables, commands and the like of an image, without a build."""

from collections.abc import Mapping

from msgspec import Struct, field

from ocitool.editing.parts import ImageParts
from ocitool.editing.settings import Settings, annotated, apply_settings, refuse_docker_annotations
from ocitool.errors import UsageError
from ocitool.image.choosing import PlatformImage
from ocitool.images.locations import Place
from ocitool.oci import Index
from ocitool.oci.document import encode
from ocitool.oci.members import members_of
from ocitool.operations.edit.images import Read, edit_images
from ocitool.operations.edit.report import Edit, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.running import Editing, run_edit


class IndexAnnotations(Struct, frozen=True, kw_only=True):
    """Annotations to set on an index, and those to remove."""

    added: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def apply(self, index: Index) -> tuple[bytes, str]:
        """Return the index with them, and its type; Refused for a docker list, which has none."""
        if self.added:
            refuse_docker_annotations(index.media_type, "the manifest list")
        fields = members_of(index.raw)
        annotated(fields, self.added, self.without)
        changed = fields != members_of(index.raw)
        return (encode(fields) if changed else index.raw), index.media_type


def set_image(
    source: str | Place,
    settings: Settings,
    options: EditOptions,
    access: PlaceAccess | None = None,
    *,
    on_index: IndexAnnotations | None = None,
) -> EditReport:
    """Change settings of an image, all platforms of an index or some; see `run_edit`.

    Settings that hold already change nothing: the digest is the same. UsageError for a new platform
    for several images, and for annotations of an index where there is none.
    """

    def change(parts: ImageParts, _: PlatformImage) -> ImageParts:
        return apply_settings(parts, settings, epoch=options.epoch, history=options.history)

    def work(read: Read, _: Editing) -> Edit:
        if settings.platform is not None and len(read.images(options.platforms)) > 1:
            raise UsageError(
                f"{read.root.called} has several images, which cannot all get one platform",
                hint="choose one with --platform",
            )
        document = read.closure.document(read.root.descriptor.digest)
        if on_index is not None and not isinstance(document, Index):
            raise UsageError(f"{read.root.called} is not an index, so it has no annotations of one")
        return edit_images(
            read,
            change,
            options.platforms,
            keep_attestations=options.keep_attestations,
            change_index=on_index.apply if on_index is not None else None,
        )

    return run_edit(source, options, access or PlaceAccess(), work)
