"""The last line of a command that moves images: how much, and how long it took."""

from typing import TYPE_CHECKING

from ocitool.cli.render.columns import counted, size
from ocitool.events import Outcome

if TYPE_CHECKING:
    from ocitool.transfer.copy import TransferReport


def done(what: str, moved: "TransferReport", seconds: float, *, source: str | None = None) -> str:
    """Return a line such as `pushed app:1  13 blobs, 944 MB, 9.8 s (0 existed)`.

    Blobs and bytes are those that were sent or stored; the others are in the brackets. `source` is
    what was not read for those: nothing is known of what it holds under their names.
    """
    mounted = sum(one.outcome is Outcome.MOUNTED for one in moved.blobs)
    existed = moved.existing_blobs - mounted
    unread = f" and were not read in {source}" if source and existed else ""
    there = [f"{existed} existed{unread}"]
    if mounted:
        there.append(f"{mounted} mounted")
    blobs = counted(moved.stored_blobs, "blob")
    took = f"{blobs}, {size(moved.stored_bytes)}, {duration(seconds)}"
    return f"{what}  {took} ({', '.join(there)})"


def duration(seconds: float) -> str:
    """Return seconds as people read them: 0.4 s, 9.8 s, 75 s, 12 min 5 s."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{round(seconds)} s" if minutes < 10 else f"{minutes} min {rest} s"
