"""The differences of two images as parts with rows, for a terminal and for Markdown alike."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from ocitool.cli.render.columns import arrow, counted, size
from ocitool.cli.render.console import safe
from ocitool.cli.render.file_changes import Row, file_rows, path_rows
from ocitool.cli.render.texts import one_line

if TYPE_CHECKING:
    from ocitool.inside.differences import (
        Comparison,
        ConfigChange,
        FileChanges,
        HistoryChanges,
        LayerChanges,
        LayerOf,
    )
    from ocitool.inside.settings import Setting

_LONG = 200


class Part(Struct, frozen=True, kw_only=True):
    """A section of a comparison: its title, what it comes to, and its rows."""

    title: str
    summary: str
    rows: tuple[Row, ...] = ()


def parts(found: "Comparison", *, every_path: bool) -> Iterator[Part]:
    """Yield the sections that were compared; with `every_path` each path has a row of its own."""
    yield from _sizes(found)
    if found.layers is not None:
        yield _layers(found.layers)
    if found.config is not None:
        count = counted(len(found.config), "field")
        summary = f"{count} different" if found.config else "the same"
        yield Part(title="Configuration", summary=summary, rows=tuple(map(_field, found.config)))
    if found.history is not None:
        yield _history(found.history)
    if found.files is not None:
        rows = path_rows(found.files) if every_path else file_rows(found.files)
        yield Part(title="Files", summary=_files(found.files), rows=tuple(rows))


def _sizes(found: "Comparison") -> Iterator[Part]:
    a, b = found.size.a, found.size.b
    if a.live_bytes is not None and b.live_bytes is not None:
        yield Part(title="Files in all", summary=_change(a.live_bytes, b.live_bytes))
    if found.files is not None or found.layers is not None:
        yield Part(title="Stored", summary=_change(a.stored, b.stored))


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
    rows = [_layer("-", layer) for layer in found.only_a]
    rows += [_layer("+", layer) for layer in found.only_b]
    return Part(title="Layers", summary=", ".join(amounts), rows=tuple(rows))


def _layer(mark: str, layer: "LayerOf") -> Row:
    made_by = one_line(layer.instruction, shorten=True) or "(no history)"
    return Row(mark=mark, name=f"{layer.number:>3} {size(layer.stored):>9}", detail=made_by)


def _field(change: "ConfigChange") -> Row:
    name = safe(change.field)
    if change.a is None:
        return Row(mark="+", name=name, detail=_value(change.b))
    if change.b is None:
        return Row(mark="-", name=name, detail=_value(change.a))
    detail = f"{_value(change.a)} {arrow()} {_value(change.b)}"
    return Row(mark="~", name=name, detail=detail)


def _value(value: "Setting | None") -> str:
    text = shlex.join(value) if isinstance(value, tuple) else value or '""'
    return f"({len(text)} characters)" if len(text) > _LONG else safe(text)


def _history(found: "HistoryChanges") -> Part:
    added = sum(change.is_added for change in found.changes)
    removed = len(found.changes) - added
    amounts = [f"{counted(removed, 'step')} removed"] if removed else []
    amounts += [f"{counted(added, 'step')} added"] if added else []
    if found.only_times:
        amounts.append(f"{counted(found.only_times, 'step')} at another time")
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
            amounts.append(f"{len(entries)} {word} ({size(sum(e.size for e in entries))})")
    if found.changed:
        amounts.append(f"{len(found.changed)} changed")
    if found.mtime_only:
        amounts.append(f"{counted(found.mtime_only, 'path')} with another time only")
    return ", ".join(amounts)
