"""What every name pointed to and when: an append-only file of JSON lines in `.ocitool/`.

Each line is {"time": RFC 3339 UTC, "name": full name, "old": digest or null, "new": digest or
null}. It is written before index.json changes, so a crash between the two leaves a line about a
change that did not happen; readers therefore ask it only about images that have no name now.
"""

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass

from ocitool.errors import NotFound
from ocitool.fsops import Directory
from ocitool.layout.index import NameChange

REFLOG = "reflog"
_REFLOG_BYTES = 256 << 20


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
    """Return, for every digest that ever lost a name, the last name it lost."""
    try:
        data = control.read_file(REFLOG, _REFLOG_BYTES)
    except NotFound:
        return {}
    former: dict[str, FormerName] = {}
    for line in data.splitlines():
        try:
            entry = json.loads(line)
            if entry["old"] and entry["old"] != entry["new"]:
                former[entry["old"]] = FormerName(name=entry["name"], lost=entry["time"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return former
