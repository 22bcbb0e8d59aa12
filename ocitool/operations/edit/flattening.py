"""flatten: all layers of an image as one, with what a container would see."""

from ocitool.editing.flattening import with_one_layer
from ocitool.editing.layers import NewLayer
from ocitool.editing.parts import ImageParts
from ocitool.editing.storing import store_tar
from ocitool.image.choosing import PlatformImage
from ocitool.image.content import Root
from ocitool.images.locations import Place
from ocitool.inside.image import look_inside
from ocitool.inside.kept import KeptTars
from ocitool.inside.taking import require_layers
from ocitool.inside.tarring import sorted_tar
from ocitool.oci.mediatype import Compression
from ocitool.operations.edit.images import Read, edit_images
from ocitool.operations.edit.report import Edit, EditOptions, EditReport, PlaceAccess
from ocitool.operations.edit.running import Editing, run_edit


def flatten_image(
    source: str | Place,
    options: EditOptions,
    access: PlaceAccess | None = None,
    *,
    keep_history: bool = False,
    compression: Compression = "gzip",
) -> EditReport:
    """Make one layer of all layers of an image, or of each image of an index; see `run_edit`.

    The layer is the tar that `export --sorted` writes: no whiteouts, hard links on names that are
    still there, owners, modes, times and attributes kept. The same tree gives the same layer.
    """

    def work(read: Read, editing: Editing) -> Edit:
        def change(parts: ImageParts, image: PlatformImage) -> ImageParts:
            return with_one_layer(
                parts,
                _one_layer(read, image, editing, compression),
                created_by=f"ocitool flatten {image.descriptor.digest}",
                created=options.epoch,
                author=options.author,
                keep_history=keep_history,
                history=options.history,
            )

        return edit_images(
            read, change, options.platforms, keep_attestations=options.keep_attestations
        )

    return run_edit(source, options, access or PlaceAccess(), work)


def _one_layer(
    read: Read, image: PlatformImage, editing: Editing, compression: Compression
) -> NewLayer:
    scratch, observer = editing.options.scratch, editing.access.observer
    with KeptTars(scratch) as kept:
        inside = look_inside(
            read.catalog,
            Root(descriptor=image.descriptor),
            jobs=editing.options.jobs,
            observer=observer,
            cache=editing.tables,
            keep=kept,
        )
        require_layers(inside)
        pieces = sorted_tar(inside, inside.tree.find(""), "", scratch=scratch)
        with observer.busy("writing the layer"):
            return store_tar(editing.scratch, pieces, compression)
