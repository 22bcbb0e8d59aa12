"""Bring the result of an edit to its destinations, and read it back there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ocitool.errors import IntegrityError, NameMoved, UsageError
from ocitool.image.content import Root
from ocitool.images.locations import FILES, Place, PlaceKind, parse_place
from ocitool.images.lookup import find_image
from ocitool.images.opening import Opened, connected
from ocitool.oci import Digest, Reference
from ocitool.oci.quoting import quoted
from ocitool.operations.copy import (
    check_store_name,
    check_writable,
    copy_to_place,
    copy_to_registry,
    destinations,
)
from ocitool.operations.edit.report import Delivered, Edit, EditOptions, PlaceAccess
from ocitool.places.layout import Layout
from ocitool.transfer.pipeline import TransferOptions
from ocitool.transfer.report import CopyReport

if TYPE_CHECKING:
    from ocitool.operations.push_report import PushReport
    from ocitool.places.registry import Registries


def targets_of(source: Place, options: EditOptions, store: str | None) -> list[Place]:
    """Return where the result goes; UsageError where that is nowhere, or cannot be written."""
    if options.in_place:
        if options.targets:
            raise UsageError("--in-place and -t exclude each other")
        return [_in_place(source)]
    if not options.targets and not options.dry_run:
        raise UsageError(
            "where the result goes is not said",
            hint="-t DST names a place, --in-place moves the name of the source to the new image",
        )
    places = [parse_place(text) for text in options.targets]
    for place in places:
        check_writable(place)
        check_store_name(place, store)
        if place.kind is PlaceKind.SSH:
            raise UsageError(
                f"{quoted(place.text)}: an edit does not write to another machine",
                hint=f"-t store:NAME keeps it here, and `ocitool copy NAME {place.text}` sends it",
            )
        if place.kind is PlaceKind.REGISTRY:
            destinations(place)
    return places


def _in_place(source: Place) -> Place:
    """Return the place whose name shall move; UsageError for one that has no name to move."""
    if source.kind in (*FILES, PlaceKind.FOLDER):
        raise UsageError(
            f"{quoted(source.text)} is a file, which is not changed in place",
            hint="-t ./NEW.tar writes another one",
        )
    is_name = source.name is not None and "@" not in source.name
    if source.kind is PlaceKind.REGISTRY and source.name is not None:
        is_name = Reference.parse(source.name).digest is None
    if not is_name:
        raise UsageError(
            f"{quoted(source.text)} is not a name that could move to the new image",
            hint="name the image by its name, or give the result another one with -t",
        )
    return source


def deliver_edit(
    edit: Edit,
    copies: Sequence[Root],
    source: Place,
    targets: Sequence[Place],
    options: EditOptions,
    access: PlaceAccess,
) -> tuple[Delivered, ...]:
    """Copy the result to each target, with the copies that are attached to it.

    In place, Refused where the name stands for another image by now than the one that was read.
    """
    edit.source.set_roots([edit.root, *copies])
    opened = Opened(source=edit.source, roots=edit.source.roots(), place=source)
    transfer = TransferOptions(attached=bool(copies), jobs=options.jobs, scratch=options.scratch)
    return tuple(_to_one(opened, edit, place, transfer, options, access) for place in targets)


def _to_one(
    opened: Opened,
    edit: Edit,
    target: Place,
    transfer: TransferOptions,
    options: EditOptions,
    access: PlaceAccess,
) -> Delivered:
    if target.kind is PlaceKind.REGISTRY:
        with connected(access.registries) as registries:
            replacing = _tag_now(registries, target, edit) if options.in_place else None
            reports = copy_to_registry(
                opened,
                target,
                registries,
                transfer,
                on_existing=options.on_existing,
                observer=access.observer,
                replacing=replacing,
            )
            for refused in reports[0].refused:
                access.observer.warn(refused.error.message)
            _read_back(registries, reports[0])
        return _pushed(target, reports[0])
    if options.in_place:
        _refuse_moved_name(target, edit, access.store)
    report = copy_to_place(
        replace(opened, roots=opened.roots[:1]),
        target,
        transfer,
        store=access.store,
        featured=access.featured,
        write=access.write,
        observer=access.observer,
    )
    return _copied(target, report)


def _tag_now(registries: "Registries", target: Place, edit: Edit) -> str | None:
    """Return the ETag of what a tag names, for registries that heed it; NameMoved if it moved."""
    from ocitool.places.registry import Repository

    reference = Reference.parse(str(target.name))
    repository = Repository.of(registries, reference, writing=True)
    found, answer = repository.fetch_with_answer(reference)
    if found.digest not in (edit.old, edit.root.descriptor.digest):
        raise _moved(target, found.digest)
    etag: str = answer.headers.get("etag", "")
    # A weak one says that something like it is there (RFC 9110, section 13.1.1).
    return etag if etag.startswith('"') else None


def _refuse_moved_name(target: Place, edit: Edit, store: str | None) -> None:
    path = store if target.kind is PlaceKind.STORE else target.path
    if target.kind in (PlaceKind.STORE, PlaceKind.LAYOUT) and path is not None:
        with Layout.existing(path) as layout:
            found = find_image(layout, str(target.name)).root.descriptor.digest
        if found not in (edit.old, edit.root.descriptor.digest):
            raise _moved(target, found)


def _moved(target: Place, found: Digest) -> NameMoved:
    return NameMoved(
        f"{target.text} names another image by now: {found}",
        hint="somebody else changed it meanwhile; the same command edits that image",
    )


def _read_back(registries: "Registries", report: "PushReport") -> None:
    """Ask the registry for the manifest that it was given, by its digest."""
    from ocitool.places.registry import Repository

    reference = Reference(report.destination.domain, report.destination.path, None, report.digest)
    if Repository.of(registries, reference, writing=True).head(reference) is None:
        raise IntegrityError(
            f"{reference.repository} took the image, and does not have {report.digest} now",
            hint="the registry, or a proxy in front of it, loses what it confirms: try again",
        )


def _pushed(target: Place, report: "PushReport") -> Delivered:
    return Delivered(
        destination=target.text,
        pinned=report.pinned,
        moved_from=report.moved_from,
        sent_blobs=report.transfer.stored_blobs,
        sent_bytes=report.transfer.stored_bytes,
    )


def _copied(target: Place, report: CopyReport) -> Delivered:
    digest = report.images[0].digest
    where = {
        PlaceKind.LAYOUT: f"oci:{target.path}",
        PlaceKind.PATH: target.path,
        PlaceKind.STORE: str(target.name),
    }
    moved = report.moved[0].old if report.moved else None
    return Delivered(
        destination=target.text,
        pinned=f"{where.get(target.kind, target.text)}@{digest}",
        moved_from=moved,
        sent_blobs=report.transfer.stored_blobs,
        sent_bytes=report.transfer.stored_bytes or report.written,
    )
