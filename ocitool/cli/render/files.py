"""Files of images as text: names, long lines as `ls -l` has them, and what layers did to them."""

import datetime as dt
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.render import console
from ocitool.cli.render.columns import clip, counted, size, styled, table
from ocitool.cli.render.console import safe
from ocitool.cli.render.texts import one_line
from ocitool.image.layers import EntryKind

if TYPE_CHECKING:
    from ocitool.inside.listing import FileEntry
    from ocitool.inside.story import Event
    from ocitool.inside.taking import Taken

_KINDS = {
    EntryKind.FILE: stat.S_IFREG,
    EntryKind.DIRECTORY: stat.S_IFDIR,
    EntryKind.SYMLINK: stat.S_IFLNK,
    EntryKind.CHARACTER: stat.S_IFCHR,
    EntryKind.BLOCK: stat.S_IFBLK,
    EntryKind.FIFO: stat.S_IFIFO,
}
_HIDDEN = {
    "overwritten": "overwritten by",
    "deleted": "deleted by",
    "opaque": "hidden by the opaque folder of",
    "replaced": "replaced by",
    "repeated": "repeated in",
    "unreachable": "cannot be put anywhere in",
    "metadata": "stored again with other attributes by",
    "identical": "stored again unchanged by",
}
_HEADER = ("MODE", "OWNER", "SIZE", "MODIFIED", "LAYER", "PATH")


def path_of(entry: "FileEntry", *, name_only: bool = False) -> str:
    """Return a path as it is shown; that of a folder ends in a slash."""
    text = entry.name if name_only else f"/{entry.path}"
    is_folder = entry.type is EntryKind.DIRECTORY and text != "/"
    return safe(text) + ("/" if is_folder else "")


def short_line(entry: "FileEntry", *, name_only: bool = False) -> str:
    """Return one line of a plain list; it says only of what is not there that it is not."""
    text = path_of(entry, name_only=name_only)
    if entry.type in (EntryKind.WHITEOUT, EntryKind.OPAQUE):
        return f"{text}  ({entry.type})"
    if entry.hidden_by is not None:
        return f"{text}  (layer {entry.layer}, {_hidden(entry)}, {size(entry.size)})"
    return text


def long_lines(entries: "Iterable[FileEntry]", *, name_only: bool = False) -> list[str]:
    """Return the lines of a table, as `ls -l` has them, with the layer of each entry."""
    rows = [_cells(entry, name_only=name_only) for entry in entries]
    return table(_HEADER, rows, right=(2, 4)) if rows else []


def _cells(entry: "FileEntry", *, name_only: bool) -> tuple[str, ...]:
    size_of_it = str(entry.size) if entry.type is EntryKind.FILE else "-"
    if entry.device is not None:
        size_of_it = "{}, {}".format(*entry.device)
    return (
        mode_text(entry.type, entry.mode),
        f"{entry.uid}:{entry.gid}",
        size_of_it,
        time_text(entry.mtime),
        str(entry.layer),
        _described(entry, name_only=name_only),
    )


def _described(entry: "FileEntry", *, name_only: bool) -> str:
    text = path_of(entry, name_only=name_only)
    if entry.link is not None:
        text += f" -> {safe(entry.link)}"
    if entry.type in (EntryKind.WHITEOUT, EntryKind.OPAQUE):
        text += f"  ({entry.type})"
    if entry.nlink > 1:
        text += f"  ({entry.nlink} names)"
    if entry.hidden_by is not None:
        text += f"  ({_hidden(entry)})"
    return text


def _hidden(entry: "FileEntry") -> str:
    return f"{_HIDDEN[entry.how or 'deleted']} layer {entry.hidden_by}"


def mode_text(kind: EntryKind, mode: int) -> str:
    """Return the type and the permissions of an entry as `ls -l` has them."""
    bits = _KINDS.get(kind)
    return stat.filemode(bits | mode) if bits is not None else f"w{'-' * 9}"


def time_text(seconds: float) -> str:
    """Return a time of an entry to the minute, in UTC; "-" for one that no calendar has."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "-"


def taken_lines(taken: "Taken") -> list[str]:
    """Return the line that says where a file or folder was copied to."""
    done = taken.extracted
    amount = size(done.size)
    if taken.kind is EntryKind.DIRECTORY:
        amount = f"{counted(done.entries, 'member')}, {amount}"
    return [f"Copied: {safe('/' + taken.path)} to {safe(taken.destination)} ({amount})"]


def left_out(taken: "Taken") -> Iterator[str]:
    """Yield what was not copied."""
    done = taken.extracted
    for count, what in ((done.special, "special file"), (done.attributes, "extended attribute")):
        if count:
            yield f"left out: {counted(count, what)}; a tar (-) keeps them"


def story_lines(stories: "Mapping[str, Sequence[Event]]") -> Iterator[str]:
    """Yield for each path what the layers did to it, one line a layer."""
    width = console.terminal_width()
    for number, (path, events) in enumerate(stories.items()):
        if number:
            yield ""
        yield styled(safe(f"/{path}"), "bold")
        wide = max((len(_done(event)) for event in events), default=0)
        for event in events:
            step = one_line(event.instruction or "(not in the history)", shorten=width is not None)
            amount = size(event.size) if event.size else ""
            line = f"  layer {event.layer:<3} {_done(event):<{wide}}  {amount:>8}  {step}"
            yield clip(line, width) if width is not None else line


def _done(event: "Event") -> str:
    if event.action == "changed" and not event.what:
        return "stored again, unchanged"
    return f"{event.action} {', '.join(event.what)}".strip()
