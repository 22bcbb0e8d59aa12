"""Work on several items, one after the other; if one fails, the others are still done."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.cli.failures import SomeFailed, about
from ocitool.errors import OcitoolError

if TYPE_CHECKING:
    from ocitool.cli.output import Output
    from ocitool.oci import Reference


class Failure:
    """The name of what failed, and the error."""

    def __init__(self, name: str, error: OcitoolError) -> None:
        self.name = name
        self.error = error


class Attempts:
    """The items that a command works on, and those that failed so far.

    With `fail_fast`, or when there is only one item, the first failure ends the command; with
    --json a single one is still reported in the document.
    """

    def __init__(self, out: "Output", total: int, *, fail_fast: bool = False) -> None:
        self.failed: list[Failure] = []
        self.ends_at_once = fail_fast or (total <= 1 and not out.is_json)
        self._out = out
        self._total = total

    @contextlib.contextmanager
    def one(self, reference: "Reference | str") -> Iterator[None]:
        """Work on one item in the block; a failure is reported and ends only the block."""
        try:
            yield
        except OcitoolError as error:
            if self.ends_at_once:
                raise
            self.add(reference, error)

    def add(self, reference: "Reference | str", error: OcitoolError) -> None:
        """Record a failure and report it."""
        self.failed.append(Failure(str(reference), error))
        if self._total > 1:
            called = reference if isinstance(reference, str) else reference.familiar
            self._out.observer.warn(about(called, error.message))

    def add_parts(self, succeeded: int, failed: Sequence[Failure]) -> None:
        """Count what belongs to one of the items, such as its signatures; report what failed."""
        self._total += succeeded + len(failed)
        self.failed += failed
        for failure in failed:
            self._out.observer.warn(about(failure.name, failure.error.message))

    def finish(self) -> None:
        """Raise SomeFailed if anything failed; the error itself if there was only one item."""
        if self.failed and self._total <= 1:
            raise self.failed[0].error
        if self.failed:
            raise SomeFailed(self.failed[0].error, len(self.failed), self._total)
