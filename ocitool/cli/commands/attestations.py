"""ocitool attestations: what BuildKit puts beside the images of an index."""

from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.editing import LEAVING, TAKING, EditingOptions
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.sources import ImageSource
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.parsing import SourceFirst, command_group

if TYPE_CHECKING:
    from ocitool.places.registry import RegistryOptions

Unwrap = Annotated[
    bool, typer.Option("--unwrap", help="Where one image is left, take it out of the index.")
]

attestations = command_group(SourceFirst)


@attestations.command("keep")
@with_options(editing=LEAVING, out=OUTPUT, registry=REGISTRY)
def keep(
    source: ImageSource, *, editing: EditingOptions, out: Output, registry: "RegistryOptions"
) -> None:
    """List the attestations of an image and change nothing; with -t copy it as it is."""
    _edit("keep", source, editing, out, registry)


@attestations.command("drop")
@with_options(editing=TAKING, out=OUTPUT, registry=REGISTRY)
def drop(
    source: ImageSource,
    *,
    unwrap: Unwrap = False,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Drop the attestations from an index; its images keep their digests."""
    _edit("drop", source, editing, out, registry, unwrap=unwrap)


@attestations.command("to-referrers")
@with_options(editing=TAKING, out=OUTPUT, registry=REGISTRY)
def to_referrers(
    source: ImageSource,
    *,
    unwrap: Unwrap = False,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Attach each attestation to its image, so that registries list it, instead of in the index.

    The statements keep their bytes. Each becomes an artifact with a subject, whose type tells what
    the statement is about.
    """
    _edit("to-referrers", source, editing, out, registry, unwrap=unwrap)


def _edit(
    action: str,
    source: str,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
    *,
    unwrap: bool = False,
) -> None:
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.attestations import AttestationAction, edit_attestations

    chosen = AttestationAction(action)
    edit(
        "changing attestations",
        lambda access: edit_attestations(source, chosen, editing.options, access, unwrapped=unwrap),
        editing,
        out,
        registry,
        [source],
    )
