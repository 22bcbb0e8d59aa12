"""ocitool convert: the same image in another form."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import words
from ocitool.cli.elsewhere import says_where_else
from ocitool.cli.options.editing import CONVERTING, EditingOptions
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions

Oci = Annotated[bool, typer.Option("--oci", help="Write the manifests in OCI's format.")]
Docker = Annotated[bool, typer.Option("--docker", help="Write the manifests in docker's format.")]
Drop = Annotated[
    bool,
    typer.Option(
        "--drop", help="Leave out what docker's format cannot hold: annotations, subject."
    ),
]
LayerCompression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="gzip|zstd|none",
        autocompletion=words("gzip", "zstd", "none"),
        help="Compress all layers like this.",
    ),
]


@with_options(editing=CONVERTING, out=OUTPUT, registry=REGISTRY)
@says_where_else("ocitool convert SRC", "ocitool convert SRC")
def convert(
    source: ImageSource,
    *,
    oci: Oci = False,
    docker: Docker = False,
    drop: Drop = False,
    compression: LayerCompression = None,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Convert an image to docker's or OCI's format, or to another compression.

    The configuration, and with it the image ID, stays. What docker's format cannot hold is refused,
    or left out with --drop. Layers of zstd make an OCI image.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.converting import Form, convert_image

    if oci and docker:
        raise UsageError("--oci and --docker exclude each other")
    form = Form(docker=docker if oci or docker else None, drop=drop, compression=compression)
    edit(
        "converting",
        lambda access: convert_image(source, form, editing.options, access),
        editing,
        out,
        registry,
        [source],
    )
