"""ocitool rm: names, and with the last one the image."""

from typing import Annotated

import typer

from ocitool.cli.options.shared import Json, Quiet, settings
from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size


def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Names or image IDs.")],
    *,
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Also what has several names, is pinned or in use."),
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Remove names and, with its last name, an image and the blobs that nothing else needs."""
    from ocitool.cli.render import texts
    from ocitool.containers import providers
    from ocitool.garbage import remove
    from ocitool.images.lookup import find_image

    options = settings(context)
    with options.open_store() as layout:
        found = [find_image(layout, name.removeprefix("store:")) for name in dict.fromkeys(names)]
        uses = [use for who in providers(["store"], layout=layout) for use in who.uses()]
        removal = remove(layout, found, force=force, uses=uses)
    if json:
        console.out_json(
            {
                "dropped": [change.name for change in removal.dropped],
                "images": [str(digest) for digest in removal.images],
                "blobs": [str(digest) for digest in removal.blobs],
                "freed": removal.freed,
            }
        )
        return
    if not (quiet or options.quiet):
        for change in removal.dropped:
            console.out(f"Untagged: {texts.familiar(change.name)}")
    for digest in removal.images:
        console.out(str(digest) if quiet or options.quiet else f"Deleted: {digest}")
    if removal.blobs:
        options.observer(quiet=quiet).remark(
            f"freed {size(removal.freed)} in {counted(len(removal.blobs), 'blob')}"
        )
