"""The trash: what garbage collection removed, in `.ocitool/trash/RUN/`, until undone or purged.

`run.json` is on the disk before anything else changes; then index.json is rewritten; then the blobs
move to `RUN/ALGORITHM/HEX`. So the run can be undone whenever a crash happens, and blobs that did
not move yet are garbage for the next run.
"""

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound
from ocitool.fsops import Directory, remove_tree, replace_file, translated
from ocitool.oci import Descriptor, Digest
from ocitool.oci.document import array, as_string, decode_object, encode, field, string
from ocitool.places.layout.pins import Pin, pin_of
from ocitool.places.layout.reflog import time_text

TRASH = "trash"
LASTING = dt.timedelta(hours=24)
_RUN_FILE = "run.json"
_RUN_BYTES = 256 << 20
_HASHED_AT_ONCE = 1 << 20


class TrashRun(Struct, frozen=True, kw_only=True):
    """What one garbage collection removed. `time` is RFC 3339 UTC.

    `entries` are the entries of index.json, with their names. `needs` are the digests of everything
    that they reference, also of blobs that stayed because another image needs them.
    """

    name: str
    time: str
    entries: tuple[Descriptor, ...] = ()
    pins: tuple[Pin, ...] = ()
    needs: tuple[str, ...] = ()

    @classmethod
    def new(
        cls,
        now: dt.datetime,
        entries: Sequence[Descriptor],
        pins: Sequence[Pin],
        needs: Sequence[str],
    ) -> Self:
        """Return a run that starts at `now`; its name sorts after those of earlier runs."""
        name = f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%S.%f}-{os.urandom(4).hex()}"
        return cls(
            name=name,
            time=time_text(now),
            entries=tuple(entries),
            pins=tuple(pins),
            needs=tuple(needs),
        )

    def is_over(self, now: dt.datetime) -> bool:
        """Tell whether the run was kept as long as promised."""
        return self.time <= time_text(now - LASTING)

    def encode(self) -> bytes:
        """Return the content of run.json."""
        return encode(
            {
                "version": 1,
                "time": self.time,
                "entries": [entry.to_json() for entry in self.entries],
                "pins": [pin.to_json() for pin in self.pins],
                "needs": list(self.needs),
            }
        )

    def write(self, folder: Directory) -> None:
        """Write run.json into the folder of the run, atomically and durably."""
        replace_file(folder, _RUN_FILE, self.encode(), staging=folder)


def _parse(name: str, data: bytes) -> TrashRun:
    what = f"{TRASH}/{name}/{_RUN_FILE}"
    document = decode_object(data, what=what, limit=_RUN_BYTES)
    entries = array(document, "entries", what)
    return TrashRun(
        name=name,
        time=string(document, "time", what),
        entries=tuple(Descriptor.from_json(e, field(what, "entries")) for e in entries),
        pins=tuple(pin_of(p, field(what, "pins")) for p in array(document, "pins", what)),
        needs=tuple(as_string(n, field(what, "needs")) for n in array(document, "needs", what)),
    )


class TrashContents(Struct, frozen=True, kw_only=True):
    """The trash: its runs, the newest last, its number of blobs and their bytes.

    `since` is the time of the last run, RFC 3339 UTC, or None.
    """

    runs: tuple[str, ...] = ()
    blobs: int = 0
    size: int = 0
    since: str | None = None


def trash_contents(control: Directory | None) -> TrashContents:
    """Return what is in the trash."""
    if control is None:
        return TrashContents()
    names = run_names(control)
    blobs = size = 0
    with contextlib.suppress(NotFound), control.subdirectory(TRASH) as trash:
        for name in names:
            for _, folder, hex_digits in _contents(trash, name):
                blobs += 1
                size += folder.size_of(hex_digits) or 0
    last = last_sound_run(control)
    return TrashContents(
        runs=tuple(names), blobs=blobs, size=size, since=last.time if last is not None else None
    )


def run_names(control: Directory) -> list[str]:
    """Return the names of all runs, the oldest first, also of those without a run.json."""
    try:
        with control.subdirectory(TRASH) as trash:
            return [name for name in trash.names() if trash.kind(name) == "folder"]
    except NotFound:
        return []


def last_sound_run(control: Directory) -> TrashRun | None:
    """Return the run that can be undone; None if there is none or its run.json is damaged."""
    try:
        return last_run(control)
    except IntegrityError:
        return None


def last_run(control: Directory) -> TrashRun | None:
    """Return the run that can be undone, or None; IntegrityError if its run.json is damaged."""
    for name in reversed(run_names(control)):
        with contextlib.suppress(NotFound):
            with control.subdirectory(TRASH) as trash, trash.subdirectory(name) as folder:
                data = folder.read_file(_RUN_FILE, _RUN_BYTES)
            try:
                return _parse(name, data)
            except IntegrityError as error:
                raise IntegrityError(
                    f"the last run cannot be undone: {error.message}",
                    hint="`ocitool gc --purge` empties the trash",
                ) from error
    return None


def begin(control: Directory, run: TrashRun) -> Directory:
    """Make the folder of a run with its run.json, durably, and return it open."""
    with control.subdirectory(TRASH, create=True) as trash:
        folder = trash.subdirectory(run.name, create=True)
    try:
        run.write(folder)
    except BaseException:
        folder.close()
        remove_run(control, run.name)
        raise
    return folder


def open_run(control: Directory, name: str) -> Directory:
    """Return the folder of a run."""
    with control.subdirectory(TRASH) as trash:
        return trash.subdirectory(name)


def blobs_of(control: Directory, name: str) -> Iterator[tuple[Digest, Directory]]:
    """Yield each blob of a run and the folder that holds it."""
    with control.subdirectory(TRASH) as trash:
        for algorithm, folder, hex_digits in _contents(trash, name):
            with contextlib.suppress(IntegrityError):
                yield Digest(algorithm, hex_digits), folder


def is_sound(folder: Directory, digest: Digest) -> bool:
    """Tell whether a blob of a run hashes to its name; NotFound if it is gone."""
    hasher = digest.hasher()
    descriptor, _ = folder.open_file(digest.hex)
    try:
        with translated("read", folder.child(digest.hex)):
            while part := os.read(descriptor, _HASHED_AT_ONCE):
                hasher.update(part)
    finally:
        os.close(descriptor)
    return hasher.hexdigest() == digest.hex


def _contents(trash: Directory, name: str) -> Iterator[tuple[str, Directory, str]]:
    with trash.subdirectory(name) as run:
        for algorithm in run.names():
            if run.kind(algorithm) != "folder":
                continue
            with run.subdirectory(algorithm) as folder:
                for hex_digits in folder.names():
                    yield algorithm, folder, hex_digits


def forget_run(control: Directory, name: str) -> None:
    """Remove run.json, so that the run cannot be undone. Call it under the layout's lock."""
    with (
        contextlib.suppress(NotFound),
        control.subdirectory(TRASH) as trash,
        trash.subdirectory(name) as folder,
    ):
        folder.remove(_RUN_FILE)


def remove_run(control: Directory, name: str) -> tuple[int, int]:
    """Delete a forgotten run; return how many blobs were deleted, and the bytes freed."""
    freed = blobs = 0
    # Another process may be deleting it at the same time.
    with contextlib.suppress(NotFound), control.subdirectory(TRASH) as trash:
        for _, folder, hex_digits in _contents(trash, name):
            freed += folder.remove(hex_digits)
            blobs += 1
        remove_tree(trash, name)
    return blobs, freed


class KeptForUndo:
    """Moves blobs to the trash that the last run needs to be undone. Use it under the lock."""

    def __init__(self, control: Directory) -> None:
        self._control = control
        run = last_sound_run(control)
        self._run = None if run is None or run.is_over(dt.datetime.now(dt.UTC)) else run
        self._needs = frozenset(self._run.needs) if self._run is not None else frozenset[str]()
        self._folder: Directory | None = None

    def take(self, folder: Directory, digest: Digest) -> bool:
        """Move a blob from its folder to the run if the run needs it; tell whether it did."""
        if self._run is None or str(digest) not in self._needs:
            return False
        if self._folder is None:
            self._folder = open_run(self._control, self._run.name)
        with self._folder.subdirectory(digest.algorithm, create=True, lasting=False) as target:
            folder.move(digest.hex, target)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.close()
