"""An image seen from inside: its layers as tables, and the tree that they make together."""

import contextlib
import gc
from collections.abc import Callable, Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import NotFound, UsageError
from ocitool.events import SILENT, Observer
from ocitool.image.choosing import ChosenImage, choose_image
from ocitool.image.content import Root, Source
from ocitool.image.instructions import step_words
from ocitool.inside.hashes import Hashes
from ocitool.inside.kept import KeptTars
from ocitool.inside.problems import Problem
from ocitool.inside.ranges.fetching import RangedTables
from ocitool.inside.scanning import Scanned, TableCache, Unreadable, scan_layers
from ocitool.inside.table import LayerTable
from ocitool.inside.tree import MergedTree
from ocitool.oci import DEFAULT_LIMITS, Descriptor, Digest, ImageConfig, Limits, Manifest, Platform


class ScannedLayer(Struct, frozen=True, kw_only=True, eq=False):
    """One layer of an image, the lowest has the number 1.

    `instruction` is its build step in Dockerfile words and `created_by` as the config has it, None
    where the history does not tell. `table` is None if the layer was not or could not be read;
    `problem` says why it could not. A `lender` is another image with the same layer, where that is
    read instead.
    """

    number: int
    descriptor: Descriptor
    diff_id: Digest | None
    instruction: str | None
    created_by: str | None
    table: LayerTable | None = None
    problem: str | None = None
    lender: "Inside | None" = None


class Inside(Struct, frozen=True, kw_only=True, eq=False):
    """An image, its layers, and the tree of those that could be read.

    `layers` are all layers of the image, `tree` has those with a table. `problems` tells which are
    missing in it, and what is odd. `cache` is where their tables are kept, `kept` may have
    the tars of some.
    """

    source: Source
    chosen: ChosenImage
    config: ImageConfig
    manifest: Manifest
    layers: tuple[ScannedLayer, ...]
    tree: MergedTree
    problems: tuple[Problem, ...]
    cache: TableCache | None = None
    kept: KeptTars | None = None

    @property
    def unread(self) -> tuple[Problem, ...]:
        """The layers that could not be read, and why: what they hold is not known.

        Layers that were not asked for are not among them.
        """
        without = {layer.number for layer in self.layers if layer.table is None}
        return tuple(problem for problem in self.problems if problem.layer in without)

    def layer(self, number: int) -> ScannedLayer:
        """Return a layer by its number, from 1; UsageError if the image has no such layer."""
        if not 1 <= number <= len(self.layers):
            raise UsageError(
                f"{self.chosen.root.called} has no layer {number}",
                hint=f"its layers have the numbers 1 to {len(self.layers)}",
            )
        return self.layers[number - 1]

    def table(self, number: int) -> LayerTable:
        """Return the table of a layer; NotFound for one that was not or could not be read."""
        layer = self.layer(number)
        if layer.table is None:
            raise NotFound(f"layer {number} was not read: {layer.problem or 'it was left out'}")
        return layer.table


def look_inside(
    source: Source,
    root: Root,
    *,
    platform: Platform | None = None,
    required: bool = False,
    hashes: Hashes = Hashes.NONE,
    cache: TableCache | None = None,
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
    layers: Collection[int] | None = None,
    up_to: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    on_layer: Callable[[ScannedLayer], object] = lambda _layer: None,
    ranges: bool = False,
    keep: KeptTars | None = None,
) -> Inside:
    """Read the layers of an image and merge them.

    Of an index this is the image for `platform`, or else the first one unless it is `required`.
    With `layers` only those numbers are read and merged, with `up_to` those from 1 to that number.
    `on_layer` is called for each layer, in their order, as soon as it is merged, on any thread.
    With `ranges`, layers in a registry that carry a table of contents, promised by the manifest,
    are not read: neither now nor, as a whole, when one of their files is. `keep` keeps the tars of
    all other layers that are read, so that files in them can be read without reading them again.

    A layer that cannot be read is a problem of the result. Raises NotFound for what is not an image
    or not there, UsageError for a layer that it does not have, LimitExceeded for a hostile layer,
    StorageError and Unavailable.
    """
    chosen = choose_image(source, root, platform, required=required, without_layers=True)
    inside = _unread(source, chosen, MergedTree(limits=limits), cache)
    merging = _Merging(inside, _wanted(inside, layers, up_to), on_layer)
    descriptors = merging.descriptors
    if ranges:
        cache = RangedTables(
            source, descriptors, cache=cache, jobs=jobs, observer=observer, limits=limits
        )
    with _without_collections():
        scan_layers(
            source,
            descriptors,
            hashes=hashes,
            jobs=jobs,
            observer=observer,
            cache=cache,
            limits=limits,
            keep=keep,
            done=merging.take,
        )
    problems = merging.tree.problems.all()
    return replace(inside, layers=merging.layers, problems=problems, kept=keep)


def lend_layers(inside: Inside, lender: Inside, numbers: Mapping[int, int]) -> Inside:
    """Return an image with layers of another one in place of layers that could not be read.

    `numbers` has the number of each, and its number in the other image.
    """
    tree = MergedTree(limits=inside.tree.limits)
    layers = tuple(
        replace(layer, table=lender.table(numbers[layer.number]), problem=None, lender=lender)
        if layer.number in numbers
        else layer
        for layer in inside.layers
    )
    tree.is_complete = all(layer.table is not None for layer in layers)
    for layer in layers:
        if layer.table is not None:
            tree.apply(layer.number, layer.table)
    unread = [problem for problem in inside.unread if problem.layer not in numbers]
    problems = sorted([*unread, *tree.problems.all()], key=lambda problem: problem.layer)
    return replace(inside, layers=layers, tree=tree, problems=tuple(problems))


def _unread(
    source: Source, chosen: ChosenImage, tree: MergedTree, cache: TableCache | None
) -> Inside:
    """Return an image of which no layer was read."""
    manifest = chosen.image.manifest
    config = chosen.image.read_config(source)
    return Inside(
        source=source,
        chosen=chosen,
        config=config,
        manifest=manifest,
        layers=_layers(manifest, config),
        tree=tree,
        problems=(),
        cache=cache,
    )


def _wanted(inside: Inside, layers: Collection[int] | None, up_to: int | None) -> set[int]:
    """Return the numbers of the layers to read; UsageError for one that is not there."""
    if layers is not None:
        return {inside.layer(number).number for number in layers}
    return set(range(1, (len(inside.layers) if up_to is None else inside.layer(up_to).number) + 1))


def _layers(manifest: Manifest, config: ImageConfig) -> tuple[ScannedLayer, ...]:
    steps = dict(enumerate(config.layer_history()))
    diff_ids = dict(enumerate(config.diff_ids))
    found = []
    for position, descriptor in enumerate(manifest.layers):
        step = steps.get(position)
        found.append(
            ScannedLayer(
                number=position + 1,
                descriptor=descriptor,
                diff_id=diff_ids.get(position),
                instruction=step_words(step) if step else None,
                created_by=step.created_by if step else None,
            )
        )
    return tuple(found)


class _Merging:
    """Merges layers in their order, as far as they have been scanned. One thread at a time."""

    def __init__(
        self, inside: Inside, wanted: Collection[int], on_layer: Callable[[ScannedLayer], object]
    ) -> None:
        self.tree = inside.tree
        self._layers = list(inside.layers)
        self._on_layer = on_layer
        self._waiting = sorted(wanted, reverse=True)
        self.tree.is_complete = self._waiting[::-1] == list(range(1, len(self._waiting) + 1))
        self._scanned: dict[Digest, Scanned] = {}

    @property
    def layers(self) -> tuple[ScannedLayer, ...]:
        """The layers, with what is known of them."""
        return tuple(self._layers)

    @property
    def descriptors(self) -> list[Descriptor]:
        """The layers that have not been merged yet, the lowest first."""
        return [self._layers[number - 1].descriptor for number in reversed(self._waiting)]

    def take(self, layer: Descriptor, scanned: Scanned) -> None:
        """Note a scanned layer; merge it and those after it, if all before it are there."""
        self._scanned[layer.digest] = scanned
        while self._waiting:
            found = self._scanned.get(self._layers[self._waiting[-1] - 1].descriptor.digest)
            if found is None:
                return
            self._merge(self._waiting.pop(), found)

    def _merge(self, number: int, scanned: Scanned) -> None:
        layer = self._layers[number - 1]
        if isinstance(scanned, Unreadable):
            if scanned.error is not None and scanned.kind in ("limit", "failed"):
                raise scanned.error
            self.tree.problems.add(number, scanned.kind, "", scanned.text)
            self.tree.is_complete = False
            layer = replace(layer, problem=scanned.text)
        else:
            self.tree.apply(number, scanned)
            layer = replace(layer, table=scanned)
        self._layers[number - 1] = layer
        self._on_layer(layer)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Make no garbage collections meanwhile: a million new objects would cause many in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
