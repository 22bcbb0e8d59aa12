"""ocitool rebase: an image on a newer base."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import EDITING, EditingOptions
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions

NewBase = Annotated[
    str,
    typer.Option(
        "--new-base",
        metavar="B",
        help="The image to put SRC on: docker://NAME, NAME, …",
        autocompletion=store_names,
    ),
]
OldBase = Annotated[
    str | None,
    typer.Option(
        "--old-base",
        metavar="A",
        help="The image that SRC was built on. Default: what its annotations name, by digest.",
        autocompletion=store_names,
    ),
]


@with_options(editing=EDITING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool rebase SRC --new-base B", "ocitool rebase SRC --new-base B")
def rebase(
    source: ImageSource,
    *,
    new_base: NewBase,
    old_base: OldBase = None,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Put the layers of an image on a newer base, without building it again.

    The old base must be below the image, compared by the unpacked layers. Settings that the image
    took from its old base become those of the new one; where both changed one, the image's stays
    and is listed. This is safe where the new base is a compatible version of the old one.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.rebasing import rebase_image

    edit(
        "rebasing",
        lambda access: rebase_image(source, new_base, editing.options, access, old_base=old_base),
        editing,
        out,
        registry,
        [source, new_base, old_base],
    )
