"""What every name pointed to and when: an append-only file of JSON lines in `.ocitool/`.

Each line is {"time": RFC 3339 UTC, "name": full name, "old": digest or null, "new": digest or
null}. It is written before index.json changes, so a crash between the two leaves a line about a
change that did not happen; readers therefore ask it only about images that have no name now.
"""

import datetime as dt
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from ocitool.errors import NotFound
from ocitool.fsops import Directory, read_up_to, translated
from ocitool.layout.index import NameChange

REFLOG = "reflog"
_READ_BYTES = 16 << 20
"""How much of the end of a reflog is read: some 60,000 changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerName:
    """A name that an image had, and when it lost it (RFC 3339 UTC)."""

    name: str
    lost: str


def record(control: Directory, changes: Iterable[NameChange], now: dt.datetime) -> None:
    """Append the changes, durably."""
    time = now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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
        # The leading newline closes a line that a crash may have cut.
        control.append(REFLOG, ("\n" + "\n".join(lines) + "\n").encode("ascii"))


def former_names(control: Directory) -> dict[str, FormerName]:
    """Return, for every digest that lost a name in the later past, the last name it lost."""
    former: dict[str, FormerName] = {}
    for line in io.BytesIO(_end_of(control)):
        try:
            entry = json.loads(line)
            old, new, name, time = (entry[key] for key in ("old", "new", "name", "time"))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(old, str) and isinstance(name, str) and isinstance(time, str) and old != new:
            former[old] = FormerName(name=name, lost=time)
    return former


def _end_of(control: Directory) -> bytes:
    """Return the end of the reflog; the first line of it may be cut."""
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
