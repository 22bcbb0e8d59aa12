"""Results that are kept, so that nothing is measured twice.

`.ocitool/cache/` holds append-only files of JSON lines, one file for each kind of fact. Facts are
keyed by digests, so they never become wrong, and the folder can be deleted at any time. A line
that a crash cut short is skipped.
"""

import contextlib
import io
import json
import threading
from collections.abc import Mapping
from itertools import islice

from ocitool.errors import NotFound, OcitoolError
from ocitool.fsops import Directory, append_to_file, remove_tree, replace_file

CACHE = "cache"
_CACHE_BYTES = 64 << 20
_CACHE_LINES = 250_000


class Cache:
    """Cached facts of one kind: string keys, JSON values. Thread-safe.

    In a layout that is not writable, the facts last as long as this object. Of more than `most`
    facts the older half is forgotten.
    """

    def __init__(self, control: Directory | None, kind: str, most: int | None = None) -> None:
        self._control = control
        self._most = most
        self._lines = 0
        self._file = f"{kind}.jsonl"
        # Each as its line: decoded, ten thousand facts would take three times the memory.
        self._facts: dict[str, bytes] | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> object | None:
        """Return the cached value, or None."""
        with self._lock:
            line = self._load().get(key)
        return json.loads(line)[1] if line is not None else None

    def update(self, facts: Mapping[str, object]) -> None:
        """Add facts in one write; a failure to write them is ignored."""
        with self._lock:
            known = self._load()
            lines = {key: f"{json.dumps([key, facts[key]])}\n".encode("ascii") for key in facts}
            fresh = {key: line for key, line in lines.items() if known.get(key) != line}
            for key, line in fresh.items():
                # What changed is younger than what did not: it stays longer.
                known.pop(key, None)
                known[key] = line
            if self._control is None or not fresh:
                return
            with (
                contextlib.suppress(OcitoolError),
                self._control.subdirectory(CACHE, create=True, lasting=False) as folder,
            ):
                self._lines += len(fresh)
                if self._most is not None and self._lines > self._most:
                    self._forget_half(folder, known, self._most)
                else:
                    # The leading newline ends a line that a crash may have cut short.
                    append_to_file(folder, self._file, b"\n" + b"".join(fresh.values()))

    def _forget_half(self, folder: Directory, known: dict[str, bytes], most: int) -> None:
        """Write the file anew with the younger facts; another process may lose some of its own."""
        for key in [*known][: -max(1, most // 2)]:
            del known[key]
        self._lines = len(known)
        data = b"\n".join([*known.values(), b""])
        replace_file(folder, self._file, data, staging=folder)

    def _load(self) -> dict[str, bytes]:
        if self._facts is None:
            self._facts = {}
            # Line by line and a limited number of lines, because all of them stay in memory.
            for line in islice(io.BytesIO(self._read()), _CACHE_LINES):
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    key, _ = json.loads(line)
                    self._facts.pop(key, None)
                    self._facts[key] = line
                    self._lines += 1
        return self._facts

    def _read(self) -> bytes:
        if self._control is None:
            return b""
        try:
            with self._control.subdirectory(CACHE) as folder:
                return folder.read_file(self._file, _CACHE_BYTES)
        except (NotFound, OcitoolError):
            return b""


def forget(control: Directory) -> None:
    """Delete the cached facts of every kind."""
    with contextlib.suppress(NotFound):
        remove_tree(control, CACHE)
