"""Several items of which some failed: one error for all of them."""

from ocitool.errors import OcitoolError


class SomeFailed(OcitoolError):
    """Some of several items failed; the exit code is that of the `first` failure."""

    def __init__(self, first: OcitoolError, failed: int, total: int) -> None:
        text = f"{failed} of {total} failed; the first: {first.message}"
        super().__init__(text, hint=first.hint)
        self.first = first


def first_of(error: OcitoolError) -> OcitoolError:
    """Return the error itself, or if several items failed, that of the first."""
    return error.first if isinstance(error, SomeFailed) else error
