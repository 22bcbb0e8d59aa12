"""The remarks about a push."""

from typing import TYPE_CHECKING

from ocitool.cli.render.columns import size
from ocitool.events import Outcome

if TYPE_CHECKING:
    from ocitool.operations.push_target import PushReport


def remarks(report: "PushReport") -> list[str]:
    """Return what a user should know about a push, one remark per line."""
    name = report.destination.familiar
    if report.ending == "skipped":
        return [f"{name} already exists and was not changed"]
    lines = []
    if report.ending == "present":
        lines.append(f"{name} is already there")
    if report.moved_from is not None:
        lines.append(f"{name} moved from {report.moved_from}")
    count = {
        outcome: [m for m in report.transfer.blobs if m.outcome is outcome] for outcome in Outcome
    }
    sent, mounted = count[Outcome.UPLOADED], count[Outcome.MOUNTED]
    if sent or mounted:
        bytes_sent = sum(moved.descriptor.size for moved in sent)
        parts = [f"{len(sent)} sent ({size(bytes_sent)})"]
        if mounted:
            parts.append(f"{len(mounted)} mounted from another repository")
        if count[Outcome.EXISTED]:
            parts.append(f"{len(count[Outcome.EXISTED])} already there")
        lines.append(f"{name}: {', '.join(parts)}")
    for conversion in report.conversions:
        if conversion.new == report.image.digest:
            kind = "had no manifest: one was made" if conversion.old is None else "was converted"
            lines.append(
                f"{name} {kind}, {conversion.layers} layers in {conversion.compression}; "
                f"its digest is {conversion.new}"
            )
    if report.attached:
        lines.append(f"{name}: {report.attached} attached artifacts were pushed too")
    return lines
