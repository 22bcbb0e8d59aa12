"""ocitool append: layers on top of an image."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import EDITING, EditingOptions, layer_compression
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.operations.edit.appending import Appending
    from ocitool.places.registry import RegistryOptions

Layers = Annotated[
    list[str],
    typer.Argument(
        metavar="LAYER…", help="A tar, plain or compressed, a folder whose content is packed, or -."
    ),
]
LayerCompression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="gzip|zstd|none",
        autocompletion=words("gzip", "zstd", "none"),
        help="How folders and plain tars are compressed. Default: zstd on top of zstd, else gzip.",
    ),
]
Owner = Annotated[
    str, typer.Option("--owner", metavar="UID:GID", help="Owner of what is packed from folders.")
]
Devices = Annotated[bool, typer.Option("--allow-devices", help="Take devices into the layer, too.")]
Message = Annotated[
    str, typer.Option("--message", metavar="TEXT", help="Comment of the entries in the history.")
]
SetBase = Annotated[
    bool,
    typer.Option("--set-base", help="Note SRC as the base image in annotations, for `rebase`."),
]


@with_options(editing=EDITING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool append SRC LAYER", "ocitool append SRC LAYER")
def append(
    source: ImageSource,
    layers: Layers,
    *,
    compression: LayerCompression = None,
    owner: Owner = "0:0",
    allow_devices: Devices = False,
    message: Message = "",
    set_base: SetBase = False,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Put layers on top of an image, in any place, or on each image of an index.

    Compressed tars keep their bytes. Folders are packed so that the same files give the same
    layer: sorted, with one owner, and with times up to SOURCE_DATE_EPOCH. Paths that lead out of
    a layer are refused.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.appending import append_layers

    appending = _appending(
        compression, owner, devices=allow_devices, message=message, set_base=set_base
    )
    edit(
        "appending",
        lambda access: append_layers(source, layers, appending, editing.options, access),
        editing,
        out,
        registry,
        [source],
    )


def _appending(
    compression: str | None, owner: str, *, devices: bool, message: str, set_base: bool
) -> "Appending":
    from ocitool.cli.options.times import source_date_epoch
    from ocitool.operations.edit.appending import Appending

    user, _, group = owner.partition(":")
    if not (user.isdecimal() and (group or user).isdecimal()):
        raise UsageError(f"--owner {owner!r} is not UID:GID in numbers")
    return Appending(
        compression=None if compression is None else layer_compression(compression),
        owner=(int(user), int(group or user)),
        newest=source_date_epoch(),
        devices=devices,
        message=message,
        set_base=set_base,
    )
