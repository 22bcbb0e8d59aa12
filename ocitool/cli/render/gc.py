"""The text about a garbage collection."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console, texts
from ocitool.cli.render.columns import age, counted, size, table

if TYPE_CHECKING:
    from ocitool.garbage import Explanation, GarbageImage, KeptImage, Plan, Swept, Undone

_NONE = "<none>"


def plan_lines(plan: "Plan", asked: Sequence[str]) -> list[str]:
    """Return the plan as text: what is removed and why, what is kept and what uses it.

    `asked` are the names of the providers that were asked for containers.
    """
    now = dt.datetime.now(dt.UTC)
    lines: list[str] = []
    if plan.images:
        header = ["IMAGE", "DIGEST", "LOST ITS NAME", "FREES", "REASON"]
        rows = [_image_row(image, now) for image in plan.images]
        lines += table(header, rows, right=(3,), shrink=(0, 4), width=console.terminal_width())
    loose = [blob for blob in plan.blobs if blob.image is None]
    if loose:
        total = sum(blob.size for blob in loose)
        lines.append(f"{counted(len(loose), 'blob')} that no image needs, {size(total)}")
        lines += [f"  {blob.digest}  {size(blob.size)}" for blob in loose]
    for leftover in plan.leftovers:
        what = f"{console.safe(leftover.path)}, {size(leftover.size)}"
        lines.append(f"left behind: {what}: {leftover.reason}")
    lines += [_kept_line(kept) for kept in plan.kept]
    if not plan.is_empty:
        who = ", ".join(console.safe(name) for name in asked) or "none"
        lines.append(f"asked for containers: {who}")
    return lines + _remarks(plan) + [_total(plan)]


def _image_row(image: "GarbageImage", now: dt.datetime) -> list[str]:
    lost = age(image.lost, now) if image.lost else "-"
    return [
        _called(image.names, image.former),
        image.digest.short,
        lost,
        size(image.size),
        "it lost its name" if image.lost else console.safe(image.reason),
    ]


def _called(names: Iterable[str], former: str | None) -> str:
    familiar = ", ".join(texts.familiar(name) for name in names)
    if familiar:
        return familiar
    return f"{_NONE} was {texts.familiar(former)}" if former is not None else _NONE


def _kept_line(kept: "KeptImage") -> str:
    from ocitool.containers.uses import describe_uses

    who = describe_uses(kept.holders) if kept.holders else kept.reason
    called = _called(kept.names, kept.former)
    return f"kept: {called} {kept.digest.short}: {console.safe(who)}"


def _remarks(plan: "Plan") -> list[str]:
    lines = [f"unknown, and left alone: {console.safe(path)}" for path in plan.unknown_files]
    if plan.young:
        lines.append(f"{counted(plan.young, 'blob')} not old enough to be removed")
    if plan.absent:
        lines.append(
            f"not here, which is harmless: {counted(plan.absent, 'blob')} of sparse indexes"
        )
    return lines


def _total(plan: "Plan") -> str:
    if plan.is_empty:
        text = "no garbage"
    else:
        text = f"garbage: {counted(len(plan.images), 'image')}, {counted(len(plan.blobs), 'blob')}"
        text += f", {size(plan.size)}"
    if plan.waiting.runs:
        waiting = size(plan.waiting.size)
        if plan.images or plan.blobs:
            text += f"; {waiting} already in the trash will be deleted for good"
        else:
            text += f"; {waiting} already in the trash"
    return text


def unused_lines(plan: "Plan") -> list[str]:
    """Return what `gc -a` would free, if anything."""
    if not plan.images:
        return []
    count = counted(len(plan.images), "image")
    return [f"`ocitool gc -a` would also remove {count} that nothing uses: {size(plan.size)}"]


def swept_lines(swept: "Swept") -> list[str]:
    """Return what a sweep did as text."""
    lines = []
    if swept.images or swept.blobs:
        lines.append(
            f"removed {counted(len(swept.images), 'image')} and "
            f"{counted(len(swept.blobs), 'blob')}: {size(swept.waiting)} moved to the trash"
        )
        lines.append("  `ocitool gc --undo` restores them, `ocitool gc --purge` frees the space")
    if swept.leftovers:
        lines.append(f"removed {counted(swept.leftovers, 'leftover')} of killed processes")
    if swept.freed or swept.emptied:
        lines.append(f"freed {size(swept.freed)}")
    if swept.spared:
        lines.append(f"{swept.spared} of what was planned are in use now and were kept")
    return lines or ["nothing to remove"]


def undone_lines(undone: "Undone") -> list[str]:
    """Return as text what was restored."""
    count = f"{counted(len(undone.images), 'image')} and {counted(undone.blobs, 'blob')}"
    lines = [f"restored {count} that were removed at {undone.time}"]
    lines += [f"Tagged: {texts.familiar(name)}" for name in undone.names]
    lines += [
        f"{texts.familiar(change.name)} still names {change.new}; "
        f"the image it named before, {change.old}, was restored without it"
        for change in undone.kept
    ]
    return lines + [
        f"image {digest} has a missing or damaged blob and stays in the trash: "
        "load or pull it, then undo again"
        for digest in undone.lost
    ]


def explanation_lines(found: "Explanation") -> list[str]:
    """Return as text why a blob is kept or removed."""
    called = ", ".join(texts.familiar(name) for name in found.names)
    lines = [f"{found.digest}: {found.state}: {console.safe(found.reason)}"]
    for depth, digest in enumerate(found.path):
        title = f"  {called}" if depth == 0 and called else ""
        lines.append(f"{'  ' * depth}{'-> ' if depth else ''}{digest}{title}")
    return lines
