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
from ocitool.fsops import Directory, append_to_file, remove_tree

CACHE = "cache"
_CACHE_BYTES = 64 << 20
_CACHE_LINES = 250_000


class Cache:
    """Cached facts of one kind: string keys, JSON values. Thread-safe.

    In a layout that is not writable, the facts last as long as this object.
    """

    def __init__(self, control: Directory | None, kind: str) -> None:
        self._control = control
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
            known.update(fresh)
            if self._control is None or not fresh:
                return
            with (
                contextlib.suppress(OcitoolError),
                self._control.subdirectory(CACHE, create=True, lasting=False) as folder,
            ):
                # The leading newline ends a line that a crash may have cut short.
                append_to_file(folder, self._file, b"\n" + b"".join(fresh.values()))

    def _load(self) -> dict[str, bytes]:
        if self._facts is None:
            self._facts = {}
            # Line by line and a limited number of lines, because all of them stay in memory.
            for line in islice(io.BytesIO(self._read()), _CACHE_LINES):
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    key, _ = json.loads(line)
                    self._facts[key] = line
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
