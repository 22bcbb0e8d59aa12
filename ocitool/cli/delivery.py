"""Where an archive goes: to stdout, into a file, or into an engine."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.errors import UsageError

if TYPE_CHECKING:
    from ocitool.cli.output import Output
    from ocitool.events import Observer
    from ocitool.image.content import Catalog, Root
    from ocitool.images.locations import Place
    from ocitool.oci import Platform
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


def check_destination(target: "Place", out: "Output") -> None:
    """Refuse what would put a tar on a terminal, or a tar and JSON into one stream."""
    if target.path != "-":
        return
    if console.is_terminal(sys.stdout):
        raise UsageError(
            "a tar is not written to a terminal", hint="use -o FILE, or pipe it into a command"
        )
    if out.is_json:
        raise UsageError("--json and the tar cannot both go to stdout", hint="use -o FILE")


def deliver(
    source: "Catalog",
    roots: "Sequence[Root]",
    target: "Place",
    options: "TransferOptions",
    observer: "Observer",
    *,
    form: str = "universal",
    featured: "Platform | None" = None,
) -> "CopyReport":
    """Write images to a place that takes archives; return what went there."""
    from ocitool.images.locations import ENGINES
    from ocitool.images.opening import engine_of
    from ocitool.operations import save as saving

    if target.kind in ENGINES:
        with (
            engine_of(target) as engine,
            saving.pack(
                source, roots, options, form=form, featured=featured, observer=observer
            ) as archive,
        ):
            for line in engine.load(archive.pieces):
                observer.remark(f"{target.kind}: {line}")
            return archive.report
    if target.path == "-":
        return saving.save(
            source,
            roots,
            console.out_bytes,
            options,
            form=form,
            featured=featured,
            observer=observer,
        )
    return saving.save_file(
        source, roots, target.path, options, form=form, featured=featured, observer=observer
    )
