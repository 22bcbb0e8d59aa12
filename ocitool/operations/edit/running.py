"""What every edit does: open, edit, look at what is attached, deliver, report."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ocitool.errors import Refused
from ocitool.image.content import Catalog, synthesized_images
from ocitool.images.locations import Place, PlaceKind, parse_place
from ocitool.images.opening import Opened, connected, open_source
from ocitool.operations.edit.attached import copy_sboms, find_attached
from ocitool.operations.edit.delivery import deliver_edit, targets_of
from ocitool.operations.edit.images import Read
from ocitool.operations.edit.report import (
    AttachedArtifact,
    AttachedPolicy,
    Edit,
    EditOptions,
    EditReport,
    PlaceAccess,
)
from ocitool.places.layout import Writing, temporary_layout
from ocitool.transfer.derived import DerivedImages
from ocitool.transfer.pipeline import Pipeline, TransferOptions

if TYPE_CHECKING:
    from ocitool.inside.scanning import TableCache


class Editing:
    """An edit at work: how places are reached, and the scratch layout for new layers.

    `tables` is where the tables of the layers of the edited image are kept.
    """

    def __init__(self, options: EditOptions, access: PlaceAccess, scratch: Writing) -> None:
        self.options = options
        self.access = access
        self.scratch = scratch
        self.tables: TableCache | None = None
        self._stack = contextlib.ExitStack()

    def open(self, place: str | Place) -> Opened:
        """Open another place for reading, until the edit ends."""
        opened = _open(place, self.options, self.access, self.scratch)
        return self._stack.enter_context(opened)

    def close(self) -> None:
        """Close all that was opened."""
        self._stack.close()


Work = Callable[[Read, Editing], Edit]


def run_edit(
    source: str | Place, options: EditOptions, access: PlaceAccess, work: Work
) -> EditReport:
    """Edit the image that a place means and bring the result to its destinations.

    Refused for a signed image that would be replaced in place without `force`, and with the policy
    `fail` for one that has anything attached. Where nothing changes in place, nothing is written.
    """
    place = parse_place(source) if isinstance(source, str) else source
    targets = targets_of(place, options, access.store)
    with editing_at(options, access, place, *targets) as editing:
        opened = editing.open(place)
        editing.tables = access.tables(opened)
        derived = DerivedImages([opened.source], editing.scratch)
        edit = work(Read.of(derived, opened.source, opened.root), editing)
        return finish_edit(edit, opened.source, place, targets, options, editing.access)


@contextlib.contextmanager
def editing_at(options: EditOptions, access: PlaceAccess, *places: Place) -> Iterator[Editing]:
    """Yield an edit at work, with connections to registries if one of the places is in one."""
    with (
        reached(access, *places) as connected_access,
        temporary_layout(options.scratch) as scratch,
        contextlib.closing(Editing(options, connected_access, scratch)) as editing,
    ):
        yield editing


@contextlib.contextmanager
def reached(access: PlaceAccess, *places: Place) -> Iterator[PlaceAccess]:
    """Yield the access with connections to registries, if one of the places is in one."""
    if all(place.kind is not PlaceKind.REGISTRY for place in places):
        yield access
        return
    with connected(access.registries) as registries:
        yield replace(access, registries=registries)


def finish_edit(
    edit: Edit,
    catalog: Catalog,
    place: Place,
    targets: list[Place],
    options: EditOptions,
    access: PlaceAccess,
) -> EditReport:
    """Deal with what is attached to the old images, deliver the new one, and report."""
    attached = find_attached(catalog, edit.renamed) if edit.changed else []
    _check_attached(attached, place, options)
    copies = [*edit.artifacts]
    if options.attached is AttachedPolicy.COPY:
        attached, copied = copy_sboms(edit.source, catalog, attached, edit.renamed)
        copies += copied
    report = EditReport(
        old=edit.old,
        new=edit.root.descriptor.digest,
        media_type=edit.root.descriptor.media_type,
        images=edit.images,
        attestations=edit.attestations,
        keeps_attestations=edit.keeps_attestations,
        attached=tuple(attached),
        remarks=edit.remarks,
        dry_run=options.dry_run,
    )
    if options.dry_run or (options.in_place and not edit.changed):
        return report
    delivered = deliver_edit(edit, copies, place, targets, options, access)
    return replace(report, delivered=delivered)


@contextlib.contextmanager
def _open(
    place: str | Place, options: EditOptions, access: PlaceAccess, scratch: Writing
) -> Iterator[Opened]:
    """Open a place; images without a manifest get one first, as when they are loaded."""
    with open_source(
        place,
        store=access.store,
        stdin=access.stdin,
        scratch=options.scratch,
        registries=access.registries,
        observer=access.observer,
    ) as opened:
        if opened.root.descriptor.digest not in synthesized_images(opened.source):
            yield opened
            return
        transfer = TransferOptions(jobs=options.jobs, scratch=options.scratch)
        pipeline = Pipeline(opened.source, transfer, access.observer)
        pipeline.plan([opened.root])
        pipeline.convert(scratch)
        root = pipeline.images[0].root
        made = DerivedImages([opened.source], pipeline.source)
        made.set_roots([root])
        yield replace(opened, source=made, roots=(root,))


def _check_attached(attached: list[AttachedArtifact], place: Place, options: EditOptions) -> None:
    if attached and options.attached is AttachedPolicy.FAIL:
        raise Refused(
            f"{place.text} has {len(attached)} attached to it, such as {_called(attached[0])}",
            hint="the result has another digest, and they stay with the old one: "
            "--referrers list edits nevertheless",
        )
    signature = next((one for one in attached if one.kind == "signature"), None)
    if signature is not None and options.in_place and not options.force:
        raise Refused(
            f"{place.text} is signed ({_called(signature)}), and the new image would not be",
            hint="-f moves the name nevertheless; -t DST leaves the signed image where it is",
        )


def _called(one: AttachedArtifact) -> str:
    return f"the {one.kind} {one.digest.short} of {one.subject.short}"
