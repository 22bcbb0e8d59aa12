"""The differences of two images as parts with rows, for a terminal and for Markdown alike."""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ocitool.cli.render.columns import arrow, counted, size, when
from ocitool.cli.render.console import safe
from ocitool.cli.render.file_changes import Row, file_rows, own_bytes, path_rows
from ocitool.cli.render.texts import one_line

if TYPE_CHECKING:
    from ocitool.inside.differences import (
        Comparison,
        ConfigChange,
        FileChanges,
        HistoryChanges,
        LayerChanges,
        LayerOf,
        Totals,
    )
    from ocitool.inside.settings import Setting

_LONG = 200
_UNCOMPRESSED = "uncompressed"


class Part(Struct, frozen=True, kw_only=True):
    """A section of a comparison: its title, what it comes to, and its rows.

    One that `is_total` has no rows, and its summary is a value before and after.
    """

    title: str
    summary: str
    rows: tuple[Row, ...] = ()
    is_total: bool = False


def parts(found: "Comparison", *, every_path: bool) -> Iterator[Part]:
    """Yield the sections that were compared; with `every_path` each path has a row of its own."""
    yield from _sizes(found)
    if found.layers is not None:
        yield _layers(found.layers)
    if found.config is not None:
        count = counted(len(found.config), "field")
        differ = "differs" if len(found.config) == 1 else "differ"
        summary = f"{count} {differ}" if found.config else "the same"
        yield Part(title="Configuration", summary=summary, rows=tuple(map(_field, found.config)))
    if found.history is not None:
        yield _history(found.history)
    if found.files is not None:
        rows = path_rows(found.files) if every_path else file_rows(found.files)
        yield Part(title="Files", summary=_files(found.files), rows=tuple(rows))


def _sizes(found: "Comparison") -> Iterator[Part]:
    a, b = found.size.a, found.size.b
    if a.live_bytes is not None and b.live_bytes is not None:
        yield Part(title="Files in all", summary=_change(a.live_bytes, b.live_bytes), is_total=True)
    if found.files is not None or found.layers is not None:
        summary = _change(a.stored, b.stored)
        if a.compression != b.compression:
            summary = f"{_stored(a)} {arrow()} {_stored(b)}"
        yield Part(title="Stored", summary=summary, is_total=True)


def _stored(totals: "Totals") -> str:
    """Return the bytes of layers with how they are compressed."""
    words = [_UNCOMPRESSED if word == "none" else word for word in totals.compression]
    return f"{size(totals.stored)} ({' and '.join(words) or 'not read'})"


def _change(a: int, b: int) -> str:
    if a == b:
        return f"{size(a)} as before"
    share = f", {(b - a) / a * 100:+.1f} %" if a else ""
    return f"{size(a)} {arrow()} {size(b)} ({signed(b - a)}{share})"


def signed(count: int) -> str:
    """Return a difference in bytes with its sign."""
    return f"{'-' if count < 0 else '+'}{size(abs(count))}"


def _layers(found: "LayerChanges") -> Part:
    stored_otherwise = sum(not one.is_stored_alike for one in found.shared)
    moved = any(one.a.number != one.b.number for one in found.shared)
    shared = f"{len(found.shared)} shared"
    if stored_otherwise:
        shared += f" ({stored_otherwise} stored in another form)"
    amounts = [shared]
    amounts += [f"{len(found.only_a)} only in A"] if found.only_a else []
    amounts += [f"{len(found.only_b)} only in B"] if found.only_b else []
    if moved and not (found.only_a or found.only_b):
        amounts.append("in another order")
    rows = sorted(_layer_rows(found), key=lambda numbered: numbered[0])
    return Part(title="Layers", summary=", ".join(amounts), rows=tuple(row for _, row in rows))


def _layer_rows(found: "LayerChanges") -> Iterator[tuple[int, Row]]:
    """Yield rows with the number of their layer; one for both that the same instruction made."""
    made_anew: dict[str, list[LayerOf]] = defaultdict(list)
    for layer in reversed(found.only_b):
        made_anew[layer.instruction].append(layer)
    paired = set()
    for layer in found.only_a:
        partners = made_anew[layer.instruction] if layer.instruction else []
        if not partners:
            yield layer.number, _layer("-", layer)
            continue
        other = partners.pop()
        paired.add(other.number)
        row = _layer("~", layer)
        name = row.name
        if size(layer.stored) != size(other.stored):
            name += f" {arrow()} {size(other.stored)}"
        if layer.number != other.number:
            name += f", now layer {other.number}"
        yield layer.number, replace(row, name=name)
    for layer in found.only_b:
        if layer.number not in paired:
            yield layer.number, _layer("+", layer)


def _layer(mark: str, layer: "LayerOf") -> Row:
    made_by = one_line(layer.instruction, shorten=True) or "(no history)"
    return Row(mark=mark, name=f"{layer.number:>3} {size(layer.stored):>9}", detail=made_by)


def _field(change: "ConfigChange") -> Row:
    name = safe(change.field)
    if change.a is None or change.b is None:
        value = change.b if change.a is None else change.a
        # A port or a volume is its own name.
        detail = "" if change.field.partition(".")[2] == value else _value(change.field, value)
        mark = "+" if change.a is None else "-"
        return Row(mark=mark, name=name, detail=detail, is_cut=False)
    detail = f"{_value(change.field, change.a)} {arrow()} {_value(change.field, change.b)}"
    return Row(mark="~", name=name, detail=detail, is_cut=False)


def _value(field: str, value: "Setting | None") -> str:
    if field == "created" and isinstance(value, str):
        return when(value)
    text = shlex.join(value) if isinstance(value, tuple) else value or '""'
    return f"({len(text)} characters)" if len(text) > _LONG else safe(text)


def _history(found: "HistoryChanges") -> Part:
    added = sum(change.is_added for change in found.changes)
    removed = len(found.changes) - added
    amounts = [f"{counted(removed, 'step')} removed"] if removed else []
    amounts += [f"{counted(added, 'step')} added"] if added else []
    if found.only_notes:
        count = found.only_notes if amounts else counted(found.only_notes, "step")
        amounts.append(f"{count} with another time or author")
    rows = [
        Row(
            mark="+" if change.is_added else "-",
            name=one_line(change.instruction, shorten=True) or "(a step without a text)",
        )
        for change in found.changes
    ]
    return Part(title="History", summary=", ".join(amounts) or "the same", rows=tuple(rows))


def _files(found: "FileChanges") -> str:
    if found.same:
        return f"the same, {counted(found.compared, 'path')}"
    amounts = []
    for entries, word in ((found.added, "added"), (found.removed, "removed")):
        if entries:
            amounts.append(f"{len(entries)} {word} ({size(sum(map(own_bytes, entries)))})")
    if found.changed:
        amounts.append(f"{len(found.changed)} changed")
    if found.mtime_only:
        count = found.mtime_only if amounts else counted(found.mtime_only, "path")
        amounts.append(f"{count} in time only")
    return ", ".join(amounts)
