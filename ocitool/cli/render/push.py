"""What a push says: remarks, the table of names, and the totals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, stacked
from ocitool.cli.render.summary import done
from ocitool.operations.push_report import Ending
from ocitool.transfer.copy import TransferReport

if TYPE_CHECKING:
    from ocitool.operations.push_report import PushReport


def table_of(reports: "Sequence[PushReport]") -> list[str]:
    """Return a table of old and new names, with the digests where there is room for them."""
    rows = [
        (
            console.safe(report.name or report.image.label or "-"),
            str(report.destination),
            str(report.digest) if report.is_final else "-",
        )
        for report in reports
    ]
    width = console.terminal_width()
    return stacked(("FROM", "TO", "DIGEST"), rows, drop=(2,), width=width) if rows else []


def totals(reports: "Sequence[PushReport]") -> list[str]:
    """Return what was sent and how long it took: a line for each image, and one for several."""
    sent = [report for report in reports if report.ending is Ending.PUSHED]
    lines = [
        done(f"pushed {report.destination.familiar}", report.transfer, report.seconds)
        for report in sent
    ]
    if len(reports) > 1:
        moved = TransferReport(blobs=tuple(m for one in reports for m in one.transfer.blobs))
        seconds = sum(report.seconds for report in reports)
        lines.append(done(f"pushed {counted(len(sent), 'image')}", moved, seconds))
    return lines


def remarks(report: "PushReport") -> list[str]:
    """Return what a user should know about a push, one remark per line."""
    name = report.destination.familiar
    if report.ending is Ending.PLANNED:
        return []
    if report.ending is Ending.SKIPPED:
        return [f"{name} already exists and was not changed"]
    lines = []
    if report.ending is Ending.PRESENT:
        lines.append(f"{name} is already there")
    if report.moved_from is not None:
        lines.append(f"{name} moved from {report.moved_from}")
    for conversion in report.conversions:
        if conversion.new == report.image.digest:
            kind = "had no manifest: one was made" if conversion.old is None else "was converted"
            lines.append(
                f"{name} {kind}, {conversion.layers} layers in {conversion.compression}; "
                f"its digest is {conversion.new}"
            )
    if report.attached_new:
        what = "artifact was" if report.attached_new == 1 else "artifacts were"
        lines.append(f"{name}: {report.attached_new} attached {what} pushed too")
    return lines
