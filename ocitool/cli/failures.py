"""Several items of which some failed: one error for all of them."""

from ocitool.errors import OcitoolError


class SomeFailed(OcitoolError):
    """Some of several items failed; the exit code is that of the `first` failure."""

    def __init__(self, first: OcitoolError, failed: int, total: int) -> None:
        text = f"{failed} of {total} failed; the first: {first.message}"
        super().__init__(text, hint=first.hint)
        self.first = first


class SomeNotMirrored(OcitoolError):
    """Some images were not mirrored, or some rules took nothing; all others are done.

    The exit code is that of `first`, where the same kept all of them away.
    """

    def __init__(self, message: str, first: OcitoolError | None, *, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.first = first


class NotRun(OcitoolError):
    """The process of a container did not run, which `first` says; `code` is docker's for that.

    A program has exit codes of its own, which those of ocitool must not be taken for.
    """

    def __init__(self, first: OcitoolError, code: int) -> None:
        super().__init__(first.message, hint=first.hint)
        self.first = first
        self.code = code


def about(name: str, message: str) -> str:
    """Return a message with the name of what failed before it, unless it begins with that."""
    return message if message.startswith(name) else f"{name}: {message}"


def first_of(error: OcitoolError) -> OcitoolError:
    """Return the error itself, or if several items failed, that of the first."""
    if isinstance(error, NotRun):
        return error.first
    if isinstance(error, SomeFailed | SomeNotMirrored):
        return error.first or error
    return error
