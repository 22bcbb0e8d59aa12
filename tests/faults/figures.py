"""How often each guarantee was put to the test, and how often it did not hold."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

GUARANTEES = {
    "G1": "Nothing unverified is reachable",
    "G2": "`kill -9` at any point leaves every name at its old or its new image",
    "G3": "Exit 0 means durable",
    "G4": "No lost update among processes",
    "G5": "gc never removes what is named, in flight or in use",
    "G6": "Full disk, I/O error, quota, read-only, too many files: one error, old state intact",
    "G7": "Read-only stores work",
    "G9": "Verified on read: damage is an error and leaves no file",
    "G10": "Bytes are preserved",
    "G11": "Output files appear whole or not at all",
    "G12": "`verify` finds all damage",
    "G15": "Memory is bounded",
    "G28": "Ctrl-C and SIGTERM end within 2 s and leave no temporary file",
    "G29": "A broken pipe is quiet",
    "G30": "The same in any locale, umask, clock, with closed or full streams",
}
T = TypeVar("T")


class Figures:
    """The table of one run."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._runs: dict[tuple[str, str], int] = {}
        self._violations: dict[str, int] = {}
        self._touched: set[str] = set()
        self._begun = time.monotonic()

    def start(self) -> None:
        """Begin a test."""
        self._touched = set()
        self._begun = time.monotonic()

    def count(self, guarantees: str, what: str, times: int = 1) -> None:
        """Note that guarantees, such as "G1 G2", were tested; `what` says by which method."""
        for guarantee in guarantees.split():
            assert guarantee in GUARANTEES
            self._touched.add(guarantee)
            self._runs[guarantee, what] = self._runs.get((guarantee, what), 0) + times

    def violate(self) -> None:
        """Note that the test failed."""
        for guarantee in self._touched:
            self._violations[guarantee] = self._violations.get(guarantee, 0) + 1

    def in_time(self, turns: Sequence[T] | Iterable[T]) -> Iterator[T]:
        """Yield turns of a test as long as its time lasts."""
        for turn in turns:
            if self._seconds is not None and time.monotonic() - self._begun > self._seconds:
                return
            yield turn

    def table(self) -> list[str]:
        """Return the lines of a table in markdown."""
        lines = ["", "| guarantee | tested by | violations |", "| --- | --- | --- |"]
        for key, text in GUARANTEES.items():
            parts = [f"{n:,} {what}" for (k, what), n in self._runs.items() if k == key]
            if parts:
                violations = self._violations.get(key, 0)
                lines.append(f"| {key} {text} | {', '.join(parts)} | {violations} |")
        return lines


current = Figures(None)


def begin(seconds: float | None) -> None:
    """Begin the table of a run."""
    global current
    current = Figures(seconds)
