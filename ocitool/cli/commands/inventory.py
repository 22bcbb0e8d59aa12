"""ocitool inventory: what a place has, for bundles that are made out of its reach."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.options.bundles import bundle_target, opened_bundles
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.registry import REGISTRY, Jobs, registries
from ocitool.cli.output import PLAIN_OUTPUT, Output
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocitool.bundles.inventory import Have
    from ocitool.places.registry import RegistryOptions

Where = Annotated[
    str,
    typer.Argument(
        metavar="[PLACE]", help="store, oci:DIR, HOST[/PREFIX] of a registry, or a bundle's file."
    ),
]
Destination = Annotated[
    str | None, typer.Option("--output", "-o", metavar="F", help="The file to write (have.json).")
]
Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="NAME",
        help="Look into this repository below the prefix only; may be repeated.",
    ),
]
Unreferenced = Annotated[
    bool,
    typer.Option("--unreferenced", help="Also blobs of the store that no image needs (any more)."),
]


@with_options(out=PLAIN_OUTPUT, registry=REGISTRY)
def inventory(
    place: Where = "store",
    *,
    output: Destination = None,
    repository: Repositories = None,
    unreferenced: Unreferenced = False,
    jobs: Jobs = DEFAULT_JOBS,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """List the blobs that a place has (JSON), for `bundle create --have` on the other side.

    Nothing is changed. The same content gives the same bytes. Only the manifests in a registry are
    read; if it does not list its repositories, name them with --repository.
    """
    from ocitool.bundles.inventory import encode_value
    from ocitool.fsops import write_output

    with out.working("reading"):
        have = _read(place, repository or (), registry, jobs, out, unreferenced=unreferenced)
    data = encode_value(have)
    if output in (None, "-"):
        console.out_bytes(data)
        return
    write_output(str(output), data)
    blobs, images = counted(len(have.blobs), "blob"), counted(len(have.images), "image")
    out.summary([f"wrote {console.safe(str(output))}: {blobs} of {images}"])


def _read(
    text: str,
    repositories: "Sequence[str]",
    registry: "RegistryOptions",
    jobs: int,
    out: Output,
    *,
    unreferenced: bool,
) -> "Have":
    """Return what a place has; UsageError for one that cannot be asked for its blobs."""
    from ocitool.operations import inventory as reading

    if os.path.isfile(text):
        _refuse(text, repositories, unreferenced=unreferenced)
        with opened_bundles([text], out) as found:
            return reading.inventory_of_bundle(found[0])
    target = bundle_target(text, out)
    if target.below is not None:
        _refuse(text, (), unreferenced=unreferenced)
        with registries(registry, out.observer) as connected:
            return reading.inventory_of_registry(
                target.below,
                connected,
                repositories=repositories,
                jobs=jobs,
                observer=out.observer,
            )
    _refuse(text, repositories, unreferenced=False)
    if target.layout is None:
        raise UsageError(
            f"{text} does not tell which blobs it has",
            hint="take the inventory of the store, a layout, a registry or a bundle",
        )
    return _read_layout(target.layout, out, is_store=target.is_store, unreferenced=unreferenced)


def _read_layout(path: str, out: Output, *, is_store: bool, unreferenced: bool) -> "Have":
    """Return what a store or layout has; a store that nothing made yet has nothing."""
    from ocitool.bundles.inventory import Have
    from ocitool.operations.inventory import inventory_of_layout
    from ocitool.places.layout import Layout

    if is_store and not os.path.exists(path):
        out.observer.warn(f"the store {path!r} does not exist yet: it has nothing")
        return Have()
    with Layout.existing(path) as layout:
        return inventory_of_layout(layout, unreferenced=unreferenced, observer=out.observer)


def _refuse(text: str, repositories: "Sequence[str]", *, unreferenced: bool) -> None:
    """Raise UsageError for an option that a place does not take."""
    if repositories:
        raise UsageError(f"--repository is for registries, which {text!r} is not")
    if unreferenced:
        raise UsageError(f"--unreferenced is for stores and layouts, which {text!r} is not")
