"""Limits for the size of an image: which of them it keeps, and which files break the others.

All limits count the bytes of unpacked files, as `SizeReport.file_bytes` does, so that the same
image gets the same verdict however its layers are compressed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import nlargest
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import UsageError
from ocitool.image.choosing import ChosenImage
from ocitool.inside.image import Inside
from ocitool.inside.state import LayerRecord
from ocitool.inside.waste import wasted_bytes, wastes
from ocitool.oci import ImageConfig

_CAUSES: Final = 5
"""How many files are told that break a limit."""


class Limit(Struct, frozen=True, kw_only=True):
    """A number of bytes, or a part of another number in percent."""

    bytes: int | None = None
    percent: float | None = None


class Budgets(Struct, frozen=True, kw_only=True):
    """The limits, and what counts for them.

    `waste` in percent is of all bytes that count, `growth` of those of the baseline. The files of
    the lowest `base` layers do not count, of the baseline neither, also not as waste where a layer
    above hides them; paths that are `ignored` do not count.
    """

    size: int | None = None
    layer: int | None = None
    waste: Limit | None = None
    growth: Limit | None = None
    base: int = 0
    ignored: Callable[[str], bool] | None = None


class Cause(Struct, frozen=True, kw_only=True):
    """A file that contributes to what is above a limit, and the layer that it is of."""

    path: str
    bytes: int
    layer: int


class Budget(Struct, frozen=True, kw_only=True):
    """What became of one limit. `limit` and `actual` are in the `unit`, bytes or percent.

    `actual` is None where it cannot be told; then the limit is not kept, and `problem` says why;
    if that is a layer, `unread` is the kind of its problem. `causes` are the files that contribute
    most, where the limit is not kept.
    """

    rule: str
    limit: float
    actual: float | None
    unit: str
    passed: bool
    causes: tuple[Cause, ...] = ()
    problem: str | None = None
    unread: str | None = None


def base_layers(inside: Inside, base: ChosenImage, config: ImageConfig) -> int:
    """Return how many layers a base image has; UsageError if the image is not built on it."""
    ours, below = inside.config.diff_ids, config.diff_ids
    if ours[: len(below)] != below:
        raise UsageError(
            f"{inside.chosen.root.called} is not built on {base.root.called}",
            hint="its layers must begin with all layers of the base image",
        )
    return len(below)


def check_budgets(
    inside: Inside, budgets: Budgets, baseline: Inside | None = None
) -> tuple[Budget, ...]:
    """Return what became of every limit; `baseline` is needed for that of growth.

    None is kept where a layer could not be read: what it holds might break it.
    """
    checks = _Checks(inside, budgets)
    found = []
    if budgets.size is not None:
        found.append(checks.size(budgets.size))
    if budgets.layer is not None:
        found.append(checks.layer(budgets.layer))
    if budgets.waste is not None:
        found.append(checks.waste(budgets.waste))
    if budgets.growth is not None and baseline is not None:
        budget = checks.growth(budgets.growth, baseline)
        found.append(_told(budget, baseline, "of the baseline "))
    return tuple(_told(budget, inside) for budget in found)


def _told(budget: Budget, inside: Inside, whose: str = "") -> Budget:
    """Return what became of a limit, or that it cannot be told without a layer of an image."""
    for problem in inside.unread:
        text = f"layer {problem.layer} {whose}could not be read: {problem.text}"
        return _unknown(budget, text, unread=problem.kind)
    return budget


def _unknown(budget: Budget, problem: str, *, unread: str | None = None) -> Budget:
    return replace(budget, actual=None, passed=False, causes=(), problem=problem, unread=unread)


class _Checks:
    def __init__(self, inside: Inside, budgets: Budgets) -> None:
        self._tree = inside.tree
        self._budgets = budgets
        self._ignored = budgets.ignored
        self._base = budgets.base
        self._records = [one for one in inside.tree.records if one.number > budgets.base]

    def size(self, limit: int) -> Budget:
        actual = self.bytes()
        return _budget("max-size", limit, actual, lambda: self._largest(self._records))

    def layer(self, limit: int) -> Budget:
        sizes = [(self._bytes([record]), record) for record in self._records]
        actual = max((size for size, _ in sizes), default=0)
        above = [record for size, record in sizes if size > limit]
        return _budget("max-layer", limit, actual, lambda: self._largest(above))

    def waste(self, limit: Limit) -> Budget:
        actual = wasted_bytes(self._tree, self._counts)
        whole = self.bytes()
        return _relative("max-waste", limit, actual, whole, self._most_wasted)

    def growth(self, limit: Limit, baseline: Inside) -> Budget:
        before = _Checks(baseline, self._budgets)
        old = before.bytes()
        actual = self.bytes() - old
        budget = _relative("max-growth", limit, actual, old, lambda: self._grown(before))
        if limit.percent is not None and not old and actual > 0:
            return _unknown(budget, "the baseline has no files that count")
        return budget

    def bytes(self) -> int:
        return self._bytes(self._records)

    def _counts(self, record: LayerRecord, row: int) -> bool:
        is_ours = record.number > self._base
        return is_ours and (self._ignored is None or not self._ignored(record.path(row)))

    def _bytes(self, records: Sequence[LayerRecord]) -> int:
        """Return the bytes of all files in some layers that count."""
        if self._ignored is None:
            return sum(sum(record.table.sizes) for record in records)
        return sum(size for size, _, _ in self._files(records))

    def _files(self, records: Sequence[LayerRecord]) -> Iterator[tuple[int, LayerRecord, int]]:
        """Yield the size, the layer and the row of each file with content that counts."""
        for record in records:
            for row, size in enumerate(record.table.sizes):
                if size and (self._ignored is None or not self._ignored(record.path(row))):
                    yield size, record, row

    def _largest(self, records: Sequence[LayerRecord]) -> tuple[Cause, ...]:
        found = nlargest(_CAUSES, self._files(records), key=lambda one: one[0])
        return tuple(_cause(record, row, size) for size, record, row in found)

    def _most_wasted(self) -> tuple[Cause, ...]:
        found = wastes(self._tree, top=_CAUSES, counts=self._counts)
        return tuple(Cause(path=one.path, bytes=one.bytes, layer=one.layer) for one in found)

    def _grown(self, before: "_Checks") -> tuple[Cause, ...]:
        """Return the files, hidden ones too, that have most more bytes than their paths had."""
        found = nlargest(_CAUSES, self._additions(before), key=lambda one: one[0])
        return tuple(_cause(record, row, more) for more, record, row in found)

    def by_path(self) -> Counter[str]:
        """Return how many bytes that count all layers have at each path."""
        found: Counter[str] = Counter()
        for size, record, row in self._files(self._records):
            found[record.path(row)] += size
        return found

    def _additions(self, before: "_Checks") -> Iterator[tuple[int, LayerRecord, int]]:
        """Yield how many bytes each file has above those that all layers had at its path."""
        had = before.by_path()
        for size, record, row in self._files(self._records):
            path = record.path(row)
            known = min(size, had.get(path, 0))
            if known:
                had[path] -= known
            if size > known:
                yield size - known, record, row


def _cause(record: LayerRecord, row: int, size: int) -> Cause:
    return Cause(path=record.path(row), bytes=size, layer=record.number)


def _budget(
    rule: str,
    limit: float,
    actual: float,
    causes: Callable[[], tuple[Cause, ...]],
    *,
    unit: str = "bytes",
) -> Budget:
    passed = actual <= limit
    found = () if passed else causes()
    return Budget(rule=rule, limit=limit, actual=actual, unit=unit, passed=passed, causes=found)


def _relative(
    rule: str, limit: Limit, actual: int, whole: int, causes: Callable[[], tuple[Cause, ...]]
) -> Budget:
    if limit.percent is None:
        return _budget(rule, limit.bytes or 0, actual, causes)
    part = 100 * actual / whole if whole else 0.0
    return _budget(rule, limit.percent, part, causes, unit="percent")
