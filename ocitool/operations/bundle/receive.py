"""bundle load from a pipe: each blob is stored as it arrives, and stays if the pipe breaks."""

import functools
from collections.abc import Mapping as AnyMapping

from msgspec.structs import replace

from ocitool.bundles.mapping import Mapping
from ocitool.bundles.stream import BundleStream
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound
from ocitool.events import SILENT, Observer, Outcome
from ocitool.image.content import Blob, Root
from ocitool.oci import Descriptor, Digest
from ocitool.operations.bundle.check import (
    CheckReport,
    NotApplicable,
    Outside,
    check_of,
    check_report,
    layout_at,
    required_by,
)
from ocitool.operations.bundle.load import SAME_NAMES, Loaded, mapped_names, renamed
from ocitool.operations.load import load
from ocitool.places.archive.bundle import BundleList
from ocitool.places.layout import Layout, Writing
from ocitool.transfer.copy import TransferReport
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport


def receive_into_layout(
    stream: BundleStream,
    path: str,
    *,
    is_store: bool = False,
    mapping: Mapping = SAME_NAMES,
    clobber: bool = True,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> Loaded:
    """Load a bundle from a pipe into the store or layout at a path, without a copy in between.

    NotApplicable, before anything is written, when it lacks what the bundle was made without, and
    UsageError where `mapping` gives one name to two images. What has arrived before the pipe breaks
    stays, for the next delta to leave out, and no name changes.
    """
    listing = stream.head.listing
    required = required_by(listing)
    brought = [blob.descriptor for blob in listing.blobs]
    outside = Outside(required=tuple(required), lost=())
    _applicable(path, _check_at(stream, outside, path, jobs, observer))
    roots = renamed(listing.roots(), mapping)
    with (
        Layout.create(path, store=is_store, observer=observer) as layout,
        Writing(layout, keep=True) as writing,
    ):
        writing.announce([*required, *brought])
        # It may have been removed until now.
        absent = {blob.digest for blob in required if not layout.has(blob)}
        report = _applicable(path, check_report(stream, outside, absent))
        outcomes = _store_all(stream, writing, observer)
        copied = load(
            _Arrived(listing, layout),
            layout,
            TransferOptions(jobs=jobs),
            roots=roots,
            clobber=clobber,
            keep=True,
            observer=observer,
        )
    return Loaded(
        check=report,
        copied=_with_outcomes(copied, outcomes),
        mapped=mapped_names(stream, report, mapping),
    )


def _check_at(
    stream: BundleStream, outside: Outside, path: str, jobs: int, observer: Observer
) -> CheckReport:
    """Check a bundle against the store or layout at a path, where there may be none yet."""
    with layout_at(path if outside.all else None) as layout:
        return check_of(stream, outside, layout, jobs=jobs, observer=observer)


def _applicable(path: str, report: CheckReport) -> CheckReport:
    if not report.applies:
        raise NotApplicable(f"{path!r}", report)
    return report


def _store_all(stream: BundleStream, writing: Writing, observer: Observer) -> dict[Digest, Outcome]:
    outcomes = {}
    size = sum(blob.size for blob in stream.head.listing.blobs)
    with observer.work(f"reading {stream.what}", size):
        for blob in stream.blobs():
            watched = functools.partial(blob.watched, observer.advance)
            outcomes[blob.descriptor.digest] = writing.put(blob.descriptor, watched)
    return outcomes


def _with_outcomes(report: CopyReport, outcomes: AnyMapping[Digest, Outcome]) -> CopyReport:
    """Return the report with what was stored from the pipe: after that everything was there."""
    if report.transfer is None:
        return report
    blobs = [
        replace(moved, outcome=outcomes.get(moved.descriptor.digest, moved.outcome))
        for moved in report.transfer.blobs
    ]
    return replace(report, transfer=TransferReport(blobs=tuple(blobs)))


class _Arrived:
    """The images of a list whose blobs are all in a layout. A `Catalog`."""

    def __init__(self, listing: BundleList, layout: Layout) -> None:
        self._listing = listing
        self._layout = layout

    def roots(self) -> tuple[Root, ...]:
        """Return the images that the list names."""
        return self._listing.roots()

    def resolve(self, name: str) -> Root:
        """Return the image of a name; NotFound."""
        for root in self.roots():
            if name in root.names:
                return root
        raise NotFound(f"the bundle has no image {name!r}")

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the content is there."""
        return self._layout.has(descriptor)

    def open(self, descriptor: Descriptor) -> Blob:
        """Return content of the layout; NotFound."""
        return self._layout.open(descriptor)
