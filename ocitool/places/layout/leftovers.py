"""What killed processes left in a layout: ocitool's own files and those of other tools.

A file of another tool counts as a leftover only if it is old and its name has a known form. A file
among the blobs whose name has no known form is an unknown file: it is reported, and it stays.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ocitool.errors import NotFound, OcitoolError
from ocitool.fsops import Directory, remove_tree
from ocitool.oci import Digest
from ocitool.places.layout.layout import Layout
from ocitool.places.layout.lease import TEMPORARY, live_leases
from ocitool.places.layout.partial import INGEST
from ocitool.places.layout.uploads import UPLOAD_SECONDS, UPLOADS

PART_SECONDS = 7 * 86400.0
FOREIGN_SECONDS = 86400.0
_JOURNAL = ".ranges"
_IN_THE_FOLDER = re.compile(
    r"\.umoci-.+|oci-put-blob.+|index\.json\..+\.tmp|index-[A-Za-z]*[0-9][A-Za-z0-9]*\.json|index\.json\.tmp.*"
)
_AMONG_BLOBS = re.compile(
    r"(?:[0-9a-f]{64}|[0-9a-f]{128})(?:\..+\.tmp|\.tmp-.+|\.tmp|[0-9]{1,20})|oci-put-blob.+"
)


class Leftover(Struct, frozen=True, kw_only=True):
    """A file or folder that no process will use again; its path is relative to the layout."""

    folder: tuple[str, ...]
    name: str
    size: int
    reason: str

    @property
    def path(self) -> str:
        """The path below the layout."""
        return "/".join((*self.folder, self.name))


def leftovers(layout: Layout, odd: Sequence[tuple[str, ...]], now: float) -> list[Leftover]:
    """Return what can be removed; `odd` are the paths among the blobs that are not blobs.

    `now` is in seconds since the epoch; a file with a later time counts as new.
    """
    found = [*_of_other_tools(layout, odd, now)]
    if layout.control is not None:
        found += [*_temporaries(layout.control), *_parts(layout, layout.control, now)]
        found += _uploads(layout.control, now)
    return sorted(found, key=lambda leftover: leftover.path)


def is_of_known_form(path: tuple[str, ...]) -> bool:
    """Tell whether a path among the blobs is a temporary file of a known tool, new or old."""
    return _AMONG_BLOBS.fullmatch(path[-1]) is not None


def clear(layout: Layout, found: Sequence[Leftover], now: float) -> tuple[int, int]:
    """Remove those that are still leftovers; return how many, and the bytes freed.

    Call it under the layout's lock. Taking that lock already removed the temporary files of dead
    commands; they count as removed here.
    """
    if not found:
        return 0, 0
    still = {leftover.path for leftover in leftovers(layout, layout.listing().odd, now)}
    removed = freed = 0
    for leftover in found:
        if leftover.path in still:
            with _open_folder(layout, leftover.folder) as folder:
                freed += _remove(folder, leftover.name)
            removed += 1
        elif leftover.folder[-1] == TEMPORARY:
            removed, freed = removed + 1, freed + leftover.size
    return removed, freed


def _remove(folder: Directory, name: str) -> int:
    if folder.kind(name) == "folder":
        remove_tree(folder, name)
        return 0
    return folder.remove(name)


@contextlib.contextmanager
def _open_folder(layout: Layout, path: tuple[str, ...]) -> Iterator[Directory]:
    with contextlib.ExitStack() as stack:
        folder = layout.folder
        for name in path:
            folder = stack.enter_context(folder.subdirectory(name))
        yield folder


def _temporaries(control: Directory) -> Iterator[Leftover]:
    alive = live_leases(control)
    with contextlib.suppress(NotFound), control.subdirectory(TEMPORARY) as folder:
        for name in folder.names():
            size = folder.size_of(name)
            if name.partition(".")[0] not in alive and size is not None:
                yield Leftover(
                    folder=(os.path.basename(control.path), TEMPORARY),
                    name=name,
                    size=size,
                    reason="its command is dead",
                )


def _parts(layout: Layout, control: Directory, now: float) -> Iterator[Leftover]:
    path = (os.path.basename(control.path), INGEST)
    with contextlib.suppress(NotFound), control.subdirectory(INGEST) as folder:
        for name in folder.names():
            reason = _reason_of_part(layout, folder, name.removesuffix(_JOURNAL), now)
            if reason is not None and not _is_locked(folder, name.removesuffix(_JOURNAL)):
                size = folder.size_of(name) or 0
                yield Leftover(folder=path, name=name, size=size, reason=reason)


def _uploads(control: Directory, now: float) -> Iterator[Leftover]:
    path = (os.path.basename(control.path), UPLOADS)
    with contextlib.suppress(NotFound), control.subdirectory(UPLOADS) as folder:
        for name in folder.names():
            modified = folder.modified(name.removesuffix(_JOURNAL))
            if modified is not None and now - modified < UPLOAD_SECONDS:
                continue
            if not _is_locked(folder, name.removesuffix(_JOURNAL)):
                reason = "its client did not go on with it for a day"
                size = folder.size_of(name) or 0
                yield Leftover(folder=path, name=name, size=size, reason=reason)


def _reason_of_part(layout: Layout, folder: Directory, name: str, now: float) -> str | None:
    digest = _digest_of_part(name)
    if digest is None:
        return None
    if layout.blob_size(digest) is not None:
        return "the whole blob is there"
    modified = folder.modified(name)
    if modified is None:
        return "its partial blob is gone"
    if now - modified > PART_SECONDS:
        return f"its download was not resumed for {PART_SECONDS / 86400:.0f} days"
    return None


def _digest_of_part(name: str) -> Digest | None:
    algorithm, _, hex_digits = name.partition("-")
    with contextlib.suppress(OcitoolError):
        return Digest(algorithm, hex_digits)
    return None


def _of_other_tools(
    layout: Layout, odd: Sequence[tuple[str, ...]], now: float
) -> Iterator[Leftover]:
    names = [name for name in layout.folder.names() if _IN_THE_FOLDER.fullmatch(name)]
    paths: list[tuple[str, ...]] = [(name,) for name in names]
    with contextlib.suppress(NotFound), layout.folder.subdirectory(INGEST) as folder:
        paths += [(INGEST, name) for name in folder.names()]
    for path in (*paths, *(path for path in odd if is_of_known_form(path))):
        with _open_folder(layout, path[:-1]) as folder:
            found = _if_old(folder, path, now)
        if found is not None:
            yield found


def _if_old(folder: Directory, path: tuple[str, ...], now: float) -> Leftover | None:
    name = path[-1]
    modified = folder.modified(name)
    if folder.kind(name) not in ("file", "folder") or modified is None:
        return None
    if now - modified < FOREIGN_SECONDS or _is_locked(folder, name):
        return None
    return Leftover(
        folder=path[:-1],
        name=name,
        size=folder.size_of(name) or 0,
        reason="another tool left it more than a day ago",
    )


def _is_locked(folder: Directory, name: str) -> bool:
    """Tell whether a process holds a lock on a file or folder."""
    try:
        if folder.kind(name) == "folder":
            opened = folder.subdirectory(name)
            descriptor = opened.descriptor
        else:
            descriptor, _ = folder.open_file(name)
    except OcitoolError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
