"""What a sync says: the table of a dry run, and the totals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import arrow, counted, fits, size, table
from ocitool.operations.push_report import Ending

if TYPE_CHECKING:
    from ocitool.bundles.sync.plan import PlanLine
    from ocitool.operations.sync import SyncedImage

_HEADER = ("SOURCE", "TARGET", "TO DO", "DIGEST", "RULE")


def pinned(images: "Sequence[SyncedImage]") -> list[str]:
    """Return the images that were copied, at their targets by digest."""
    return [one.pinned for one in images if one.is_changed]


def table_of(images: "Sequence[SyncedImage]") -> list[str]:
    """Return a table of what there is to do, with the rule that took each image.

    Where that is too wide for the terminal, each pair of repositories has a table of its own.
    """
    rows = [
        (
            one.line.source.name,
            str(one.line.destination),
            _to_do(one),
            one.line.digest.short,
            console.safe(one.line.rule),
        )
        for one in images
    ]
    width = console.terminal_width()
    if rows and (width is None or fits(_HEADER, rows, width, drop=(3,))):
        return table(_HEADER, rows, drop=(3,), width=width)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for one, row in zip(images, rows, strict=True):
        pair = f"{one.line.source.repository} {arrow()} {one.line.target.repository}"
        groups.setdefault(pair, []).append((_called(one.line), *row[2:]))
    return [line for pair, group in groups.items() for line in (pair, *_below(group, width or 80))]


def _called(line: "PlanLine") -> str:
    """Return what an image is called at its target, and before that at its source if it differs."""
    target = line.target.tag or line.digest.short
    source = line.source.tag or (line.source.digest or line.digest).short
    return target if source == target else f"{source} {arrow()} {target}"


def _below(rows: "Sequence[Sequence[str]]", width: int) -> list[str]:
    header = ("TAG", *_HEADER[2:])
    lines = table(header, rows, drop=(2,), shrink=(3,), width=width - 2)
    return [f"  {line}" for line in lines]


def _to_do(one: "SyncedImage") -> str:
    if not one.is_changed:
        return "there already"
    if one.existing is None:
        return "copy"
    return "move" if one.moved_from is not None else "attach"


def total(images: "Sequence[SyncedImage]", failed: int, *, is_dry: bool) -> str:
    """Return how many images were planned or copied, and how many are there already."""
    planned = sum(one.ending is Ending.PLANNED for one in images)
    changed = sum(one.is_changed for one in images)
    text = f"{counted(changed, 'image')} {'to copy' if is_dry else 'copied'}"
    if planned:
        repositories = len({one.line.target.repository for one in images})
        where = "1 repository" if repositories == 1 else f"{repositories} repositories"
        parts = [f"{counted(planned, 'image')} planned, for {where}"]
    elif is_dry:
        parts = [text, f"{len(images) - changed} there already"]
    else:
        sent = size(sum(one.transfer.stored_bytes for one in images))
        parts = [f"{text} ({sent})", f"{len(images) - changed} there already"]
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts)
