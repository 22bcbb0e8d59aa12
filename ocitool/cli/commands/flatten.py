"""ocitool flatten: all layers of an image as one."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import EDITING, EditingOptions, layer_compression
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions

KeepHistory = Annotated[
    bool,
    typer.Option("--keep-history", help="Keep the former history, as steps without a layer."),
]
LayerCompression = Annotated[
    str,
    typer.Option(
        "--compression",
        metavar="gzip|zstd|none",
        autocompletion=words("gzip", "zstd", "none"),
        help="How the layer is compressed.",
    ),
]


@with_options(editing=EDITING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool flatten SRC", "ocitool flatten SRC")
def flatten(
    source: ImageSource,
    *,
    keep_history: KeepHistory = False,
    compression: LayerCompression = "gzip",
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Make one layer of all layers of an image: the files that a container would see.

    What later layers delete or replace is gone. Owners, modes, times, links, devices and extended
    attributes are kept. The same files always give the same layer. Settings stay as they are.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.flattening import flatten_image

    codec = layer_compression(compression)
    edit(
        "flattening",
        lambda access: flatten_image(
            source, editing.options, access, keep_history=keep_history, compression=codec
        ),
        editing,
        out,
        registry,
        [source],
    )
