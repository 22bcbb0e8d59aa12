"""The text about an edit: the new digests, and what became of what belonged to the old image."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import counted, size, table

if TYPE_CHECKING:
    from ocitool.operations.edit.report import EditReport


def lines(report: "EditReport") -> list[str]:
    """Return the result: where it is by its digest, or what it would be."""
    if report.delivered:
        return [console.safe(one.pinned) for one in report.delivered]
    if not report.dry_run:
        return [str(report.new)]
    rows = [
        (str(one.platform), one.old.short, one.new.short if one.changed else "unchanged")
        for one in report.images
    ]
    return [*table(("PLATFORM", "OLD", "NEW"), rows), str(report.new)]


def remarks(report: "EditReport") -> Iterator[str]:
    """Yield what a user should know about an edit."""
    if not (report.changed or report.keeps_attestations):
        yield f"nothing to change: the digest stays {report.new.short}"
    yield from map(console.safe, report.remarks)
    yield from _attestations(report)
    yield from _attached(report)
    for one in report.delivered:
        if one.moved_from is not None:
            yield f"{console.safe(one.destination)} moved from {one.moved_from}"


def _attestations(report: "EditReport") -> Iterator[str]:
    if not report.attestations:
        return
    what = counted(len(report.attestations), "attestation")
    if not report.keeps_attestations:
        yield f"{what} of BuildKit left out of the index:"
    elif report.changed:
        yield f"{what} of BuildKit kept; the digests in the text are those of the old images:"
    else:
        yield f"{what} of BuildKit:"
    yield from (f"  {digest}" for digest in report.attestations)


def _attached(report: "EditReport") -> Iterator[str]:
    left = [one for one in report.attached if one.copied_as is None]
    for one in report.attached:
        if one.copied_as is not None:
            yield f"{one.kind} {one.digest.short} copied as {one.copied_as}"
    if left:
        yield "the image has another digest, so these stay attached to the old one:"
    for one in left:
        tag = f" ({console.safe(one.tag)})" if one.tag else ""
        yield f"  {one.kind} {one.digest}{tag} of {one.subject.short}"


def summary(report: "EditReport", seconds: float) -> Iterator[str]:
    """Yield one line about what was sent to each destination, and how long it took."""
    from ocitool.cli.render.summary import duration

    for one in report.delivered:
        sent = f"{counted(one.sent_blobs, 'blob')}, " if one.sent_blobs else ""
        sent = f"{sent}{size(one.sent_bytes)}" if one.sent_bytes else "all blobs were there"
        yield f"wrote {console.safe(one.destination)}  {sent}, {duration(seconds)}"
