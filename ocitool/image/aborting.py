"""Breaking off what places are reading or writing: a failure does not wait for what stalls."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Abortable(Protocol):
    """A place whose running transfers can be aborted."""

    def abort(self) -> None:
        """Make all running transfers fail at once."""

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""


class Together:
    """Several places, of which those that can be broken off are so together."""

    def __init__(self, *places: object) -> None:
        self._places = [place for place in places if isinstance(place, Abortable)]

    def abort(self) -> None:
        """Make all transfers that are under way fail at once."""
        for place in self._places:
            place.abort()

    def resume(self) -> None:
        """Let other transfers begin after `abort`."""
        for place in self._places:
            place.resume()
