"""ocitool tag and untag: names of images in the store."""

from typing import Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import JSON_OUTPUT, Output, nothing


@with_options(out=JSON_OUTPUT)
def tag(
    source: Annotated[
        str,
        typer.Argument(metavar="SRC", help="A name or an image ID.", autocompletion=store_names),
    ],
    names: Annotated[list[str], typer.Argument(metavar="NEW…", help="The new names.")],
    *,
    out: Output,
) -> None:
    """Give an image more names; names that another image has are moved, which is reported."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.images.lookup import find_image
    from ocitool.operations import tag as tagging

    full = list(dict.fromkeys(texts.full(name) for name in names))
    with out.options.open_store() as layout:
        found = find_image(layout, source.removeprefix("store:"))
        changes = tagging.tag(layout, found.root, full)
    tagged = {"digest": found.root.descriptor.digest, "names": full}
    out.result(changes, text=nothing, view=documents.CHANGE.under("changed", **tagged))
    out.remark(
        f"{texts.familiar(change.name)} moved from {change.old} to {change.new}"
        for change in changes
        if change.old is not None
    )


@with_options(out=JSON_OUTPUT)
def untag(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Names to remove.", autocompletion=store_names),
    ],
    *,
    out: Output,
) -> None:
    """Remove names but keep the images; an image without a name is shown as <none>."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.places import layout as layouts
    from ocitool.places.layout.index import entry_names, separate_names

    with out.options.open_store() as layout:
        # In a layout of another tool, the name of an image may be only a tag; in a store it is
        # one only where such a tool wrote it beside the full name.
        names_of = separate_names if layout.is_store else entry_names
        labels = {name for entry in layout.index().entries for name in names_of(entry)}
        given = [name.removeprefix("store:") for name in names]
        full = [name if name in labels else texts.full(name) for name in given]
        changes = layouts.untag(layout, list(dict.fromkeys(full)))
    out.result(
        changes,
        text=lambda changes: [f"Untagged: {texts.familiar(change.name)}" for change in changes],
        view=documents.CHANGE.under("changed"),
    )
