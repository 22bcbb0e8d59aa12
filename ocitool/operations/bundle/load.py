"""bundle load: a bundle into a store, an engine or registries, or nothing of it at all."""

import contextlib
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from ocitool.bundles.completed import Completed
from ocitool.bundles.files import BundleSet
from ocitool.bundles.mapping import Below, MappedImage, Mapping, destinations
from ocitool.bundles.stream import BundleStream
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import IntegrityError, NotFound, OcitoolError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Catalog, Root
from ocitool.images.locations import Place
from ocitool.oci import Digest, Platform, Reference
from ocitool.operations.bundle.check import (
    RULES,
    CheckReport,
    NotApplicable,
    Outside,
    Readable,
    check_at,
    check_of,
    check_report,
    damaged_in,
    loadable,
    open_beside,
    outside_of,
    required_by,
)
from ocitool.operations.bundle.mending import can_be_mended, mending
from ocitool.operations.bundle.parts import store_blobs, store_pieces
from ocitool.operations.bundle.registry_check import RegistryCheck
from ocitool.operations.deliver import deliver
from ocitool.operations.load import load
from ocitool.operations.push import OnFailure, push
from ocitool.operations.push_report import Ending, OnExisting, PushReport
from ocitool.places.layout import Layout, Writing
from ocitool.places.layout.quarantine import set_aside
from ocitool.places.registry import Registries
from ocitool.places.registry.known_blobs import KnownBlobs
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport

SAME_NAMES = Mapping()
_THERE = (Ending.PUSHED, Ending.PRESENT)


class Loaded(Struct, frozen=True, kw_only=True):
    """A bundle that was loaded; `check` names the images that could not be, and why.

    `mapped` says what each name of the bundle became. `kept_bytes` were stored of images that
    are not whole: the other volumes complete them, in a later run too.
    """

    check: CheckReport
    copied: CopyReport | None = None
    kept_bytes: int = 0
    pushed: tuple[PushReport, ...] = ()
    mapped: tuple[MappedImage, ...] = ()


@mending
def load_into_layout(
    bundle: BundleSet,
    path: str,
    *,
    is_store: bool = False,
    beside: Sequence[BundleSet] = (),
    mapping: Mapping = SAME_NAMES,
    clobber: bool = True,
    jobs: int = DEFAULT_JOBS,
    dry_run: bool = False,
    observer: Observer = SILENT,
) -> Loaded:
    """Load a bundle into the store or layout at a path, which is made if it is absent.

    NotApplicable, before anything is written, when it lacks what the bundle was made without. If
    volumes are missing, the images that need none of them are loaded, and the blobs of the others
    are stored, so that volumes may come one by one. Images get the names that `mapping` gives them:
    UsageError, before anything is written, where two would meet. What a run that failed has stored
    is found by the next one. With `dry_run` it is only checked. `beside` are bundles that are
    loaded too: they give what this one does not bring.
    """
    with open_beside(bundle, beside) as archive:
        outside = outside_of(bundle.head.listing, archive)
        report = check_at(bundle, path, beside=beside, jobs=jobs, observer=observer)
        renamed(_whole(f"{path!r}", report, archive.roots()), mapping)
        if dry_run:
            return Loaded(check=report)
        with Layout.create(path, store=is_store, observer=observer) as layout:
            _set_damage_aside(layout, bundle, archive, jobs, observer)
            work = _Work(bundle, archive, outside, mapping, jobs, observer)
            return work.write(layout, report, clobber=clobber)


class _Work(Struct, frozen=True):
    """A bundle that is loaded into a layout, with what else is to be read."""

    bundle: BundleSet
    archive: Readable
    outside: Outside
    mapping: Mapping
    jobs: int
    observer: Observer

    def write(self, layout: Layout, report: CheckReport, *, clobber: bool) -> Loaded:
        """Load the images that are whole, and store what is here of the others."""
        with Writing(layout, keep=True) as lease:
            # From here on nothing removes what is relied upon; it may have been until now.
            lease.announce(self.outside.all)
            pieces = store_pieces(self.bundle, report, lease, self.observer)
            report = _without_removed(self.bundle, self.outside, report, layout, pieces.completed)
            roots = _whole(f"{layout.path!r}", report, self.archive.roots())
            copied = load(
                Completed(self.archive, layout),
                layout,
                TransferOptions(jobs=self.jobs),
                roots=renamed(roots, self.mapping),
                clobber=clobber,
                keep=True,
                observer=self.observer,
            )
            kept = store_blobs(
                self.bundle, self.archive, report, lease, jobs=self.jobs, observer=self.observer
            )
        return Loaded(
            check=report,
            copied=copied,
            kept_bytes=kept + pieces.size,
            mapped=mapped_names(self.bundle, report, self.mapping),
        )


def _set_damage_aside(
    layout: Layout, bundle: BundleSet, archive: Readable, jobs: int, observer: Observer
) -> None:
    """Set aside what the place has damaged of that which others bring for this bundle.

    What is there is not stored again, so it would be relied upon.
    """
    brought = [blob for blob in required_by(bundle.head.listing) if archive.has(blob)]
    damaged = damaged_in(layout, brought, jobs, observer)
    if damaged:
        set_aside(layout, damaged)


def _without_removed(
    bundle: BundleSet,
    outside: Outside,
    report: CheckReport,
    layout: Layout,
    completed: frozenset[Digest] = frozenset(),
) -> CheckReport:
    """Return the report with the blobs that were removed since it was made.

    Those that were `completed` from parts are lacking no more.
    """
    damaged = {Digest.parse(blob.digest) for blob in report.lacking if blob.is_damaged}
    lacking = {Digest.parse(blob.digest) for blob in report.lacking} - completed
    lacking |= {blob.digest for blob in outside.all if not layout.has(blob)}
    return check_report(bundle, outside, lacking, damaged)


@mending
def load_into_engine(
    bundle: BundleSet,
    engine: Place,
    *,
    layout: Layout | None = None,
    beside: Sequence[BundleSet] = (),
    mapping: Mapping = SAME_NAMES,
    featured: Platform | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> Loaded:
    """Load a bundle into an engine. What it does not bring is taken from a layout, if there is one.

    NotApplicable when that lacks something: an engine cannot be asked for single blobs.
    """
    with open_beside(bundle, beside) as archive, contextlib.ExitStack() as lease:
        outside = outside_of(bundle.head.listing, archive)
        report = check_of(bundle, outside, layout, jobs=jobs, observer=observer)
        what = "an engine takes whole images, and the store"
        roots = renamed(_loadable(what, report, archive.roots()), mapping)
        source: Catalog = archive
        if layout is not None and outside.all:
            lease.enter_context(Writing(layout, keep=True)).announce(outside.all)
            report = _without_removed(bundle, outside, report, layout)
            roots = renamed(_loadable(what, report, archive.roots()), mapping)
            source = Completed(archive, layout)
        copied = deliver(
            source, roots, engine, TransferOptions(jobs=jobs), featured=featured, observer=observer
        )
    return Loaded(check=report, copied=copied, mapped=mapped_names(bundle, report, mapping))


@mending
def load_into_registry(
    bundle: BundleSet,
    mapping: Below | Mapping,
    registries: Registries,
    *,
    beside: Sequence[BundleSet] = (),
    known: KnownBlobs | None = None,
    on_existing: OnExisting = OnExisting.SAME,
    on_failure: OnFailure | None = None,
    jobs: int = DEFAULT_JOBS,
    dry_run: bool = False,
    observer: Observer = SILENT,
) -> Loaded:
    """Load a bundle into repositories of a registry; each blob is sent at most once.

    NotApplicable, before anything is written, when the registry lacks what the bundle was made
    without. With `dry_run` that is checked and nothing is sent.
    """
    failures = _Failures(on_failure, can_be_mended=can_be_mended(bundle, beside))
    with failures, open_beside(bundle, beside) as archive:
        outside = outside_of(bundle.head.listing, archive)
        check = RegistryCheck(bundle, mapping, registries, known=known, jobs=jobs)
        report = check_report(bundle, outside, check.find(outside.all))
        roots = _loadable("the registry", report, archive.roots())
        pushed = push(
            Completed(archive, check.blobs),
            roots,
            mapping,
            registries,
            TransferOptions(attached=True, jobs=jobs),
            on_existing=on_existing,
            observer=observer,
            on_failure=failures.add if on_failure is not None else None,
            holders=check.holders,
            known=known,
            dry_run=dry_run,
        )
    there = {str(one.destination) for one in pushed if one.ending in _THERE}
    mapped = (one for one in mapped_names(bundle, report, mapping) if one.to in there)
    return Loaded(check=report, pushed=tuple(pushed), mapped=tuple(mapped))


class _Failures:
    """Failures of single images. One by damage ends a run that can be repeated without damage."""

    def __init__(self, on_failure: OnFailure | None, *, can_be_mended: bool) -> None:
        self._on_failure = on_failure
        self._can_be_mended = can_be_mended
        self._found: list[tuple[Reference, OcitoolError]] = []

    def add(self, destination: Reference, error: OcitoolError) -> None:
        """Take a failure, which is told at the end."""
        self._found.append((destination, error))

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        damage = [error for _, error in self._found if isinstance(error, IntegrityError)]
        if damage and self._can_be_mended:
            raise damage[0]
        for destination, error in self._found:
            if self._on_failure is not None:
                self._on_failure(destination, error)


def renamed(roots: Sequence[Root], mapping: Mapping) -> list[Root]:
    """Return images under the names that they get; UsageError where different ones would meet."""
    going = destinations(
        ((name, root.descriptor.digest) for root in roots for name in root.names),
        mapping.destination,
        hint=RULES,
    )
    return [
        replace(root, names=tuple(dict.fromkeys(going[name].name for name in root.names)))
        for root in roots
    ]


def mapped_names(
    bundle: BundleSet | BundleStream, report: CheckReport, mapping: Below | Mapping
) -> tuple[MappedImage, ...]:
    """Return what each name became of the images that could be loaded."""
    lost = set(report.lost_images)
    return tuple(
        MappedImage(from_=image.name, to=str(mapping.destination(image.name)), digest=image.digest)
        for image in bundle.head.listing.images
        if image.name is not None and image.name not in lost
    )


def _whole(what: str, report: CheckReport, roots: Sequence[Root]) -> list[Root]:
    """Return the images that lack no blob; NotApplicable."""
    if not report.applies:
        raise NotApplicable(what, report)
    return loadable(roots, report)


def _loadable(what: str, report: CheckReport, roots: Sequence[Root]) -> list[Root]:
    """Return the images that can be loaded; NotApplicable, NotFound when there is none."""
    found = _whole(what, report, roots)
    if not found:
        raise NotFound(
            "none of the images is whole in these files",
            hint="`ocitool bundle verify` tells what is lost: copy the files again, or bring it by "
            "the missing volumes or a bundle made with --need",
        )
    return found
