"""ocitool tag and untag: names of images in the store."""

from typing import Annotated

import typer

from ocitool.cli.options.shared import Json, settings
from ocitool.cli.render import console


def tag(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="A name or an image ID.")],
    names: Annotated[list[str], typer.Argument(metavar="NEW…", help="The new names.")],
    *,
    json: Json = False,
) -> None:
    """Give an image more names. A name that another image has moves, and that is said."""
    from ocitool.cli.render import texts
    from ocitool.images.lookup import find_image
    from ocitool.operations import tag as tagging

    options = settings(context)
    full = list(dict.fromkeys(texts.full(name) for name in names))
    with options.open_store() as layout:
        found = find_image(layout, source.removeprefix("store:"))
        changes = tagging.tag(layout, found.root, full)
    if json:
        console.out_json(
            {
                "digest": str(found.root.descriptor.digest),
                "names": full,
                "changed": [texts.change_json(change) for change in changes],
            }
        )
        return
    for change in changes:
        if change.old is not None:
            options.observer().remark(
                f"{texts.familiar(change.name)} moved from {change.old} to {change.new}"
            )


def untag(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Names to drop.")],
    *,
    json: Json = False,
) -> None:
    """Drop names and keep their images, which are <none> when it was the last one."""
    from ocitool.cli.render import texts
    from ocitool.places import layout as layouts
    from ocitool.places.layout.index import entry_names

    options = settings(context)
    with options.open_store() as layout:
        # In a layout of another tool a tag alone may be all that an image is called.
        entries = () if layout.is_store else layout.index().entries
        labels = {name for entry in entries for name in entry_names(entry)}
        given = [name.removeprefix("store:") for name in names]
        full = [name if name in labels else texts.full(name) for name in given]
        changes = layouts.untag(layout, list(dict.fromkeys(full)))
    if json:
        console.out_json({"changed": [texts.change_json(change) for change in changes]})
        return
    for change in changes:
        name = change.name if change.name in labels else texts.familiar(change.name)
        console.out(f"Untagged: {console.safe(name)}")
