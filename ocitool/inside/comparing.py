"""Comparing two images: their merged files, configurations, histories and layers."""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.events import SILENT, Observer
from ocitool.image.choosing import best, choose_image
from ocitool.image.content import Root, Source
from ocitool.inside.config_changes import compare_configs, compare_histories
from ocitool.inside.differences import (
    Comparison,
    FileChanges,
    LayerChanges,
    Section,
    Side,
    Sizes,
    Totals,
    Unread,
    What,
)
from ocitool.inside.duplicates import live_files
from ocitool.inside.file_changes import TreeComparison
from ocitool.inside.hashes import Hashes
from ocitool.inside.hashing import hash_members
from ocitool.inside.image import Inside, lend_layers, look_inside
from ocitool.inside.layer_changes import compare_layers, layers_of
from ocitool.inside.scanning import TableCache
from ocitool.inside.table import LayerTable
from ocitool.inside.text_diffs import with_text_diffs
from ocitool.oci import Descriptor, Digest, Platform

EVERYTHING: Final = frozenset(Section)


class Image(Struct, frozen=True, kw_only=True):
    """An image to be compared: where it is, and what is remembered of its layers."""

    source: Source
    root: Root
    cache: TableCache | None = None


class DiffOptions(Struct, frozen=True, kw_only=True):
    """What is compared: sections, files but for what is `ignored`, and only paths that are wanted.

    Without MTIME the times of creation in configurations and histories are not compared either.
    With `content`, small text files are compared line by line.
    """

    sections: Collection[Section] = EVERYTHING
    ignored: Collection[What] = ()
    wanted: Callable[[str], bool] | None = None
    content: bool = False

    @property
    def has_files(self) -> bool:
        """Whether files are compared, so that the layers have to be read."""
        return Section.FILES in self.sections


DEFAULT: Final = DiffOptions()
"""Everything is compared."""


def look_inside_both(
    a: Image,
    b: Image,
    options: DiffOptions = DEFAULT,
    *,
    platform: Platform | None = None,
    required: bool = False,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> tuple[Inside, Inside]:
    """Look inside two images that are to be compared; what that does not need is not read.

    Of an index this takes the image for `platform`; unless that is `required` any other, but the
    same of both if there is one. A layer that both have is read once. Raises what `look_inside`
    raises.
    """
    tables: dict[Digest, LayerTable] = {}
    platforms = (platform, platform) if required else _platforms(a, b, platform)
    one, other = (
        look_inside(
            image.source,
            image.root,
            platform=wanted,
            required=required,
            hashes=Hashes.DOUBTFUL,
            cache=_KnownTables(tables, image.cache),
            jobs=jobs,
            observer=observer,
            layers=None if options.has_files else (),
        )
        for image, wanted in zip((a, b), platforms, strict=True)
    )
    return one, other


def _platforms(a: Image, b: Image, wanted: Platform | None) -> tuple[Platform, Platform]:
    """Return the platforms to take: the wanted one, else one that both images are for."""
    one = choose_image(a.source, a.root, wanted, without_layers=True)
    other = choose_image(b.source, b.root, one.image.platform, without_layers=True)
    same = best(one.images, other.image.platform) or one.image
    return same.platform, other.image.platform


def compare(
    a: Inside,
    b: Inside,
    options: DiffOptions = DEFAULT,
    *,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> Comparison:
    """Compare two images that were looked into.

    Content is read only where it is not known otherwise whether it is the same. A layer that could
    not be read is a problem of the result, but not one that the other image has, too. Raises
    IntegrityError, StorageError, Unavailable.
    """
    times = What.MTIME not in options.ignored
    layers = compare_layers(layers_of(a.manifest, a.config), layers_of(b.manifest, b.config))
    a, b = _read_alike(a, b, layers)
    has_config = Section.CONFIG in options.sections
    files = _compare_files(a, b, layers, options, jobs, observer) if options.has_files else None
    annotations = (a.manifest.annotations, b.manifest.annotations)
    config = compare_configs(a.config, b.config, annotations, times=times) if has_config else None
    steps = (a.config.history, b.config.history)
    history = compare_histories(*steps, times=times) if has_config else None
    result = Comparison(
        a=_side(a),
        b=_side(b),
        same=False,
        size=Sizes(a=_totals(a), b=_totals(b)),
        files=files,
        config=config,
        history=history,
        layers=layers if Section.LAYERS in options.sections else None,
        problems=tuple(_problems(a, b, layers)) if files is not None else (),
    )
    return replace(result, same=_is_same(result))


def _read_alike(a: Inside, b: Inside, layers: LayerChanges) -> tuple[Inside, Inside]:
    """Let each image have the layers that the other could read, where both have the same.

    In one tree alone the files of such a layer would look added or removed.
    """
    ours: dict[int, int] = {}
    theirs: dict[int, int] = {}
    for one in layers.shared:
        here, there = a.layer(one.a.number), b.layer(one.b.number)
        if one.is_stored_alike and here.problem is not None and there.table is not None:
            ours[here.number] = there.number
        if one.is_stored_alike and there.problem is not None and here.table is not None:
            theirs[there.number] = here.number
    return lend_layers(a, b, ours) if ours else a, lend_layers(b, a, theirs) if theirs else b


def _compare_files(
    a: Inside,
    b: Inside,
    layers: LayerChanges,
    options: DiffOptions,
    jobs: int,
    observer: Observer,
) -> FileChanges:
    # Only a digest proves that two layers are the same; a diff ID is what a configuration claims.
    shared = {one.a.number: one.b.number for one in layers.shared if one.is_stored_alike}
    trees = TreeComparison(
        a.tree, b.tree, shared=shared, ignored=options.ignored, wanted=options.wanted
    )
    hash_members([(a, trees.doubts.a), (b, trees.doubts.b)], jobs=jobs, observer=observer)
    found = trees.result()
    return with_text_diffs(found, a, b) if options.content else found


def _problems(a: Inside, b: Inside, layers: LayerChanges) -> Iterator[Unread]:
    """Yield the layers that were not read; one that both images have is no obstacle."""
    shared = [one for one in layers.shared if one.is_stored_alike]
    for name, inside, alike in (
        ("a", a, {one.a.number for one in shared}),
        ("b", b, {one.b.number for one in shared}),
    ):
        reasons = {problem.layer: problem for problem in inside.unread}
        for layer in inside.layers:
            if layer.table is None and layer.number not in alike:
                reason = reasons.get(layer.number)
                yield Unread(
                    image=name,
                    layer=layer.number,
                    kind=reason.kind if reason is not None else "left_out",
                    text=layer.problem or "it was not read",
                )


def _side(inside: Inside) -> Side:
    image = inside.chosen.image
    return Side(
        called=inside.chosen.root.called,
        digest=image.descriptor.digest,
        image_id=inside.manifest.config.digest,
        platform=image.platform,
    )


def _totals(inside: Inside) -> Totals:
    stored = {layer.digest: layer.size for layer in inside.manifest.layers}
    is_read = bool(inside.tree.records) or not inside.layers
    live = sum(size for _, _, size in live_files(inside.tree)) if is_read else None
    codecs = {layer.table.codec.value for layer in inside.layers if layer.table is not None}
    return Totals(stored=sum(stored.values()), live_bytes=live, compression=tuple(sorted(codecs)))


def _is_same(found: Comparison) -> bool:
    sections = (found.files, found.history, found.layers)
    return (
        all(one is None or one.same for one in sections) and not found.config and not found.problems
    )


class _KnownTables:
    """The tables that were made of the first image: a layer that both have is read once.

    One that was not verified counts only for the place that it was read from.
    """

    def __init__(self, tables: dict[Digest, LayerTable], below: TableCache | None) -> None:
        self._tables = tables
        self._below = below

    def get(self, source: Source, layer: Descriptor, hashes: Hashes) -> LayerTable | None:
        """Return a table that was made for the other image, or one that is remembered."""
        known = self._tables.get(layer.digest)
        if known is None and self._below is not None:
            known = self._below.get(source, layer, hashes)
        return known

    def put(self, source: Source, layer: Descriptor, table: LayerTable) -> None:
        """Keep a table for the other image, and for later."""
        if table.verified:
            self._tables[layer.digest] = table
        if self._below is not None:
            self._below.put(source, layer, table)
