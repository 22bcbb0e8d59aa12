"""pull: images from a registry into the store, without fetching what is there."""

from collections.abc import Sequence

from msgspec.structs import replace

from ocitool.errors import NotFound
from ocitool.events import Observer
from ocitool.image.content import Root
from ocitool.oci import Reference
from ocitool.places.layout import Layout, Writing
from ocitool.places.registry import Repository
from ocitool.places.registry.near_tags import tells_near_tags
from ocitool.transfer.pipeline import Pipeline, TransferOptions
from ocitool.transfer.remote import RemoteImages
from ocitool.transfer.report import CopyReport


def pull(
    repository: Repository,
    target: Layout | Writing,
    references: Sequence[Reference],
    options: TransferOptions | None = None,
    *,
    observer: Observer | None = None,
) -> CopyReport:
    """Pull images of one repository into a layout, under their names in the registry.

    All platforms of an index are fetched, or those in the options. `target` may be a `Writing` that
    other images share: the names then take effect when it ends. If a pull fails, complete blobs and
    parts of blobs stay in the layout for the next attempt. NotFound when the registry does not have
    an image.
    """
    if isinstance(target, Layout):
        with Writing(target, keep=True) as writing:
            report = _pull(repository, writing, references, options, observer)
        return replace(report, moved=tuple(writing.changes))
    return _pull(repository, target, references, options, observer)


def _pull(
    repository: Repository,
    writing: Writing,
    references: Sequence[Reference],
    options: TransferOptions | None,
    observer: Observer | None,
) -> CopyReport:
    source = RemoteImages(repository, writing.layout)
    pipeline = Pipeline(source, options, observer)
    found = [_find(source, repository, reference) for reference in references]
    if not found:
        raise NotFound(f"{repository.name} has no tags")
    roots, platforms = source.select(found, pipeline.options.platforms)
    if pipeline.options.attached:
        roots = [*roots, *source.add_attached(roots)]
    pipeline.plan(roots, platforms=platforms)
    pipeline.drop_orphans()
    return pipeline.report(transfer=pipeline.transfer(writing))


def _find(source: RemoteImages, repository: Repository, reference: Reference) -> Root:
    """Return the image of a reference; where the registry has none, say which tags are near."""
    if repository.name != repository.known_as:
        return source.find(reference)
    with tells_near_tags(repository.session, reference):
        return source.find(reference)
