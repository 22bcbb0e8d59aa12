"""ocitool rm: remove names, and with its last name an image."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.cli.completing import store_names
from ocitool.cli.options.expand import with_options
from ocitool.cli.output import OUTPUT, Output
from ocitool.cli.render.columns import counted, size

if TYPE_CHECKING:
    from ocitool.garbage import Removal

_TRASH = "  `ocitool gc --undo` brings them back, `ocitool gc --purge` frees the space"


@with_options(out=OUTPUT)
def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME…", help="Names or image IDs.", autocompletion=store_names),
    ],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            "-f",
            help="Also remove images that have several names, are pinned or are in use.",
        ),
    ] = False,
    out: Output,
) -> None:
    """Remove names. An image that has no name left is removed, with the blobs that only it needs.

    What is removed waits in the trash, as after `gc`: `gc --undo` brings it back, and `gc --purge`
    frees its space.
    """
    from ocitool.cli import documents
    from ocitool.containers.providers import find_providers
    from ocitool.garbage import remove
    from ocitool.images.lookup import find_images

    with out.options.open_store() as layout:
        found = find_images(layout, (name.removeprefix("store:") for name in dict.fromkeys(names)))
        uses = [use for who in find_providers(["store"], layout=layout) for use in who.uses()]
        removal = remove(layout, found, force=force, uses=uses)
    out.result(
        removal,
        text=_lines,
        ids=lambda removal: map(str, removal.images),
        view=documents.REMOVED,
    )
    if removal.images:
        blobs = counted(len(removal.blobs), "blob")
        out.remark([f"{size(removal.waiting)} in {blobs} wait in the trash", _TRASH])


def _lines(removal: "Removal") -> Iterator[str]:
    from ocitool.cli.render import texts

    for change in removal.dropped:
        yield f"Untagged: {texts.familiar(change.name)}"
    for digest in removal.images:
        yield f"Deleted: {digest}"
