"""ocitool bundle verify, and verify of a bundle: every byte of some files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ocitool.cli.options.bundles import opened_bundles, write_need
from ocitool.cli.output import Output
from ocitool.errors import IntegrityError, OcitoolError

if TYPE_CHECKING:
    from ocitool.bundles.trust import Trust

_NO = 3


def verify_bundles(
    files: Sequence[str], trust: "Trust", out: Output, *, need_out: str | None = None
) -> None:
    """Verify all bundles in some files and folders; the command ends with 3 unless all are sound.

    An error is raised only for a single file that is not there or no bundle.
    """
    from msgspec.structs import replace

    from ocitool.bundles.files import Unreadable
    from ocitool.cli import bundle_documents
    from ocitool.cli.render import bundle as words
    from ocitool.cli.render.console import safe
    from ocitool.operations.bundle.verify import verify_bundle

    unreadable: list[Unreadable] = []
    reports = []
    with out.working("verifying"), opened_bundles(files, out, unreadable) as found:
        for one in found:
            signer = trust.require(one)
            report = verify_bundle(one, observer=out.observer)
            if signer is not None:
                report = replace(report, signer=signer.identity)
            else:
                out.remark(words.unchecked(one))
            reports.append(report)
            out.lines(words.verified_lines(report, one.what))
    if not reports and len(unreadable) == 1 and _is_no_answer(unreadable[0].error):
        raise unreadable[0].error
    for file in unreadable:
        out.lines([f"unreadable: {safe(file.error.message)}"])
    view = bundle_documents.BUNDLE_VERIFIED.under(
        "bundles", unreadable=[bundle_documents.UNREADABLE(file) for file in unreadable]
    )
    out.document(reports, view)
    if reports:
        write_need(need_out, [report.need for report in reports], out)
    if unreadable or not all(report.sound for report in reports):
        raise typer.Exit(_NO)


def _is_no_answer(error: OcitoolError) -> bool:
    """Tell whether an error says more than that a bundle did not arrive whole."""
    from ocitool.bundles.head import NotABundle

    return isinstance(error, NotABundle) or not isinstance(error, IntegrityError)
