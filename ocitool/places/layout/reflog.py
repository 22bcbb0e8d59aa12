"""The reflog: what every name pointed to and when, as JSON lines in `.ocitool/reflog`.

Each line is {"time": RFC 3339 UTC, "name": full name, "old": digest or null, "new": digest or
null}. A line is appended before index.json changes, so a crash in between leaves a line about a
change that did not happen. Readers therefore compare it with the current names.
"""

import datetime as dt
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from ocitool.errors import NotFound
from ocitool.fsops import Directory, append_to_file, read_up_to, translated
from ocitool.places.layout.index import NameChange

REFLOG = "reflog"
_READ_BYTES = 16 << 20
"""How much is read of the end of a reflog: about 60,000 changes."""


class FormerName(Struct, frozen=True, kw_only=True):
    """A name that an image had, and when the image lost it (RFC 3339 UTC, "" if unknown)."""

    name: str
    lost: str


class NameEvent(Struct, frozen=True, kw_only=True):
    """A line of the reflog: at `time` a name moved from the digest `old` to the digest `new`.

    `old` is None for a new name, `new` for a removed one. `time` is empty if it is not known.
    """

    name: str
    time: str
    old: str | None
    new: str | None


def time_text(moment: dt.datetime) -> str:
    """Return a time as RFC 3339 UTC in seconds; such texts sort in the order of their times."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(control: Directory, changes: Iterable[NameChange], now: dt.datetime) -> None:
    """Append the changes, durably."""
    time = time_text(now)
    lines = [
        json.dumps(
            {
                "time": time,
                "name": change.name,
                "old": str(change.old) if change.old else None,
                "new": str(change.new) if change.new else None,
            }
        )
        for change in changes
    ]
    if lines:
        # The leading newline ends a line that a crash may have cut short.
        append_to_file(control, REFLOG, ("\n" + "\n".join(lines) + "\n").encode("ascii"))


def former_names(control: Directory, current: Mapping[str, str]) -> dict[str, FormerName]:
    """Return the last name that each digest lost, as far back as the reflog is read.

    `current` maps the names to their digests now: a name that another tool removed or moved has no
    line about that.
    """
    former: dict[str, FormerName] = {}
    last: dict[str, str | None] = {}
    for event in events(control):
        if event.old is not None and event.old != event.new:
            former[event.old] = FormerName(name=event.name, lost=event.time)
        last[event.name] = event.new
    for name, digest in last.items():
        if digest is not None and current.get(name) != digest:
            former[digest] = FormerName(name=name, lost="")
    return former


def events(control: Directory) -> Iterator[NameEvent]:
    """Yield the recorded changes, the oldest first, as far back as the reflog is read."""
    for line in io.BytesIO(_end_of(control)):
        try:
            entry = json.loads(line)
            old, new, name, time = (entry[key] for key in ("old", "new", "name", "time"))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(name, str) and isinstance(time, str) and _is_end(old) and _is_end(new):
            yield NameEvent(name=name, time=time, old=old, new=new)


def _is_end(value: object) -> bool:
    return value is None or isinstance(value, str)


def meanings(
    written: Iterable[NameEvent], current: Mapping[str, str]
) -> dict[str, tuple[NameEvent, ...]]:
    """Return the history of each name, the newest change first: `NAME@{n}` is the nth `new`.

    `current` maps the names to their digests now. A line whose change never happened is left out;
    a change without a line has an empty time.
    """
    by_name: dict[str, list[NameEvent]] = {name: [] for name in current}
    for event in written:
        happened = by_name.setdefault(event.name, [])
        _drop_what_did_not_happen(happened, event.old)
        happened.append(event)
    for name, happened in by_name.items():
        now = current.get(name)
        _drop_what_did_not_happen(happened, now)
        last = happened[-1].new if happened else None
        if last != now:
            happened.append(NameEvent(name=name, time="", old=last, new=now))
    return {name: tuple(reversed(happened)) for name, happened in by_name.items() if happened}


def _drop_what_did_not_happen(happened: list[NameEvent], meaning: str | None) -> None:
    # The line is written first; a process that died right after it left the name where it was.
    # A new name that is not there is kept: another tool may have removed it, and then only this
    # line knows its image.
    if meaning is None or not happened:
        return
    if happened[-1].new != meaning and happened[-1].old == meaning:
        happened.pop()


def _end_of(control: Directory) -> bytes:
    """Return the end of the reflog; its first line may be incomplete."""
    try:
        descriptor, size = control.open_file(REFLOG)
    except NotFound:
        return b""
    try:
        with translated("read", control.child(REFLOG)):
            os.lseek(descriptor, max(0, size - _READ_BYTES), os.SEEK_SET)
            return read_up_to(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)
