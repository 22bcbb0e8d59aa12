"""ocitool index: several images as one, for several platforms."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names, words
from ocitool.cli.options.editing import ADDING, INDEXING, EditingOptions, pairs
from ocitool.cli.options.expand import with_options
from ocitool.cli.options.quantities import parse_seconds
from ocitool.cli.options.registry import REGISTRY
from ocitool.cli.options.shared import one_platform, platforms
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.parsing import command_group
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.oci import Platform
    from ocitool.operations.edit.indexes import Listing
    from ocitool.places.registry import RegistryOptions

_PLATFORM, _GIVEN = "platform", "given"

Destination = Annotated[
    str, typer.Argument(metavar="DST", help="Where the index goes: docker://NAME, NAME, …")
]
Existing = Annotated[
    str,
    typer.Argument(
        metavar="IDX", help="The index: docker://NAME, NAME, …", autocompletion=store_names
    ),
]
Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SRC…]",
        help="Images or indexes, in any place. A digest alone is an image in the repository of "
        "the index.",
    ),
]
Which = Annotated[
    list[str],
    typer.Argument(metavar="PLATFORM|DIGEST…", help="Which images to remove."),
]
Digests = Annotated[
    str | None,
    typer.Option(
        "--digests",
        metavar="DIR",
        help="A folder whose file names are the digests of images in the repository of the index.",
    ),
]
DigestFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--from-digestfiles",
        "--digestfile",
        metavar="F…",
        help="Files that `push --digestfile` wrote, or folders of them. Lines are DIGEST or "
        "NAME@DIGEST.",
    ),
]
ForOne = Annotated[
    str | None,
    typer.Option("--platform", metavar="P", help="The platform of the only image of SRC."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Of two images for one platform take the later one.")
]
Order = Annotated[
    str,
    typer.Option(
        "--order",
        metavar="platform|given",
        autocompletion=words(_PLATFORM, _GIVEN),
        help="Order of the images in the index.",
    ),
]
Expect = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="P,…",
        help="The platforms that the index must have; with others the exit code is 3.",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait", metavar="T", help="Wait so long for images that a registry does not show yet."
    ),
]
Annotations = Annotated[
    list[str] | None,
    typer.Option("--annotation", metavar="K=V", help="Annotation of the index."),
]

index = command_group()


@index.command("create")
@with_options(editing=INDEXING, out=OUTPUT, registry=REGISTRY)
def create(
    destination: Destination,
    sources: Sources = None,
    *,
    digests: Digests = None,
    from_digestfiles: DigestFiles = None,
    platform: ForOne = None,
    replace: Replace = False,
    order: Order = _PLATFORM,
    expect: Expect = None,
    wait: Wait = None,
    annotation: Annotations = None,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Make an index of images, as the last step of builds for several platforms.

    Images come from any place, also from indexes, whose attestations come along. The index is the
    same in whatever order the images are named. Images that are in the registry of DST already
    are mounted.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.indexes import create_index

    listing = _listing(platform, expect, wait, annotation, replace=replace, order=order)
    texts = _texts(sources, digests, from_digestfiles)
    edit(
        "making the index",
        lambda access: create_index(destination, texts, listing, editing.options, access),
        editing,
        out,
        registry,
        [destination, *_places(texts)],
    )


@index.command("add")
@with_options(editing=ADDING, out=OUTPUT, registry=REGISTRY)
def add(
    existing: Existing,
    sources: Sources = None,
    *,
    digests: Digests = None,
    from_digestfiles: DigestFiles = None,
    platform: ForOne = None,
    replace: Replace = False,
    expect: Expect = None,
    wait: Wait = None,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Add images to an index; without -t the name of the index moves to the new one.

    In a registry the index is read again after it was written, and extended anew where another
    client has overwritten it meanwhile. For builds on several machines `index create` is safer.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.indexes import add_to_index

    listing = _listing(platform, expect, wait, None, replace=replace, order=_PLATFORM)
    texts = _texts(sources, digests, from_digestfiles)
    if not texts:
        raise UsageError("no image to add is given", hint="ocitool index add IDX SRC…")
    edit(
        "adding to the index",
        lambda access: add_to_index(existing, texts, listing, editing.options, access),
        editing,
        out,
        registry,
        [existing, *_places(texts)],
    )


@index.command("remove")
@with_options(editing=ADDING, out=OUTPUT, registry=REGISTRY)
def remove(
    existing: Existing,
    which: Which,
    *,
    editing: EditingOptions,
    out: Output,
    registry: "RegistryOptions",
) -> None:
    """Remove images, with their attestations, from an index.

    Without -t the name of the index moves to the new one. The images themselves stay in the place.
    """
    from ocitool.cli.editing import edit
    from ocitool.operations.edit.indexes import remove_from_index

    wanted = [_platform_or_digest(text) for text in which]
    edit(
        "removing from the index",
        lambda access: remove_from_index(existing, wanted, editing.options, access),
        editing,
        out,
        registry,
        [existing],
    )


def _listing(
    platform: str | None,
    expect: str | None,
    wait: str | None,
    annotation: list[str] | None,
    *,
    replace: bool,
    order: str,
) -> "Listing":
    from ocitool.operations.edit.indexes import Listing

    if order not in (_PLATFORM, _GIVEN):
        raise UsageError(f"--order {order!r} is not one of {_PLATFORM}, {_GIVEN}")
    return Listing(
        wait=parse_seconds(wait) if wait is not None else 0.0,
        platform=one_platform(platform),
        replacing=replace,
        as_given=order == _GIVEN,
        expected=platforms(expect),
        annotations=pairs(annotation, "--annotation"),
    )


def _places(texts: list[str]) -> list[str]:
    """Return the sources that are places by themselves, and no digests."""
    return [text for text in texts if not text.startswith(("sha256:", "sha512:"))]


def _platform_or_digest(text: str) -> "Platform | str":
    from ocitool.oci import Digest, Platform

    if text.startswith(("sha256:", "sha512:")):
        return str(Digest.parse(text))
    return Platform.parse(text)


def _texts(sources: list[str] | None, digests: str | None, files: list[str] | None) -> list[str]:
    """Return the sources, those of digest files among them."""
    from ocitool.cli.digest_files import digests_named, read_digest_files

    given = list(sources or ())
    if files:
        # A pattern such as digests/* that the shell has expanded: the first file is the option's.
        more = [text for text in given if os.path.isfile(text)]
        given = [text for text in given if text not in more]
        given += read_digest_files([*files, *more])
    return given + (digests_named(digests) if digests is not None else [])
