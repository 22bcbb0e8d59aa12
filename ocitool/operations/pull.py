"""pull: images from a registry into the store, without fetching what is there."""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound
from ocitool.events import Observer
from ocitool.image.content import Source
from ocitool.oci import Platform, Reference
from ocitool.places.layout import Layout, Writing
from ocitool.transfer.copy import transfer
from ocitool.transfer.plan import (
    CopyReport,
    drop_orphans,
    make_report,
    plan_images,
    select_platforms,
)
from ocitool.transfer.remote import RemoteImages


def pull(
    source: RemoteImages,
    layout: Layout,
    references: Sequence[Reference],
    *,
    platforms: Sequence[Platform] = (),
    attached: bool = False,
    writing: Writing | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer | None = None,
) -> CopyReport:
    """Bring images of one repository into a layout under the names they have there.

    Of an index everything is brought, or these platforms under a new digest. `attached` brings
    what is attached, too. `writing` is one of the layout that other images share: then names take
    effect with it. When it fails, whole blobs stay in the layout and so do parts of them, for the
    next try. NotFound when the registry does not have an image.
    """
    if writing is None:
        with Writing(layout, keep=True) as own:
            report = pull(
                source,
                layout,
                references,
                platforms=platforms,
                attached=attached,
                writing=own,
                jobs=jobs,
                observer=observer,
            )
        return replace(report, moved=tuple(own.changes))
    roots = [source.find(reference) for reference in references]
    if not roots:
        raise NotFound(f"{source.repository.name} has no tags")
    narrowed = [source.narrowed(root, platforms) for root in roots] if platforms else []
    if narrowed and all(root is not None for root in narrowed):
        roots, platforms = [root for root in narrowed if root is not None], ()
    if attached:
        roots += source.add_attached(roots)
    watcher = observer or Observer()
    before = planned = plan_images(source, roots)
    place: Source = source
    if platforms:
        planned, place = select_platforms(platforms, planned, source)
    planned = drop_orphans(before, planned, watcher)
    moved = transfer(place, writing, planned, jobs=jobs, observer=watcher)
    return make_report(place, planned, transfer=moved)
