"""What `ocitool copy` prints of a copy to a place that is not a registry."""

from typing import TYPE_CHECKING

from ocitool.cli.attempts import Attempts
from ocitool.cli.options.transfer import Sending
from ocitool.cli.output import Output
from ocitool.images.locations import PlaceKind

if TYPE_CHECKING:
    from ocitool.images.locations import Place
    from ocitool.transfer.pipeline import TransferOptions
    from ocitool.transfer.report import CopyReport


def show_copied(
    report: "CopyReport",
    target: "Place",
    sending: Sending,
    options: "TransferOptions",
    attempts: Attempts,
    out: Output,
) -> None:
    """Print what was copied to a place that is not a registry."""
    from ocitool.cli import documents
    from ocitool.cli.render import texts
    from ocitool.cli.render.summary import done

    if sending.digestfile is not None and not attempts.failed:
        texts.write_digests(sending.digestfile, [image.digest for image in report.images])
    stored = target.kind in (PlaceKind.STORE, PlaceKind.LAYOUT)
    failed = [documents.FAILURE(one) for one in attempts.failed]
    fields = documents.STORED if stored else documents.SAVED
    view = fields.beside(destination=target.text, failed=failed)
    if target.path != "-":
        out.result(report, text=texts.digests, view=view)
    out.remark(texts.remarks(report, into_store=target.kind is PlaceKind.STORE))
    what = f"copied to {target.text}"
    if target.kind is PlaceKind.STORE:
        what = f"copied to the store as {target.name}"
    if stored:
        out.summary([done(what, report.transfer, out.seconds)])
    else:
        out.summary([texts.saved(what, report, out.seconds, options.changed_by)])
