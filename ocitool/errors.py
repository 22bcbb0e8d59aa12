"""The kinds of failure, shared by every module. Imports no other module of ocitool.

::

    OcitoolError            failed
    ├── UsageError          the request itself is invalid
    ├── NotFound            an image, tag, blob, file or repository is not there
    │   └── NotInStore      an image that may be somewhere else
    ├── AccessDenied        authentication or authorization
    ├── Refused             refused to be safe (in use, ambiguous, would overwrite)
    │   └── NameMoved       a name stands for something else by now
    ├── Unmet               the answer is no: a condition that was to be checked does not hold
    ├── IntegrityError      the content is not what it claims to be
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   ├── MalformedDocument
    │   ├── MalformedArchive
    │   ├── LimitExceeded
    │   └── BadSignature
    ├── Unavailable         the network or a registry, after retries
    └── StorageError        no space, quota, read-only, I/O error
        └── NoSpace

Every error has a one-line `message` and may have a `hint`: what the user can do next. Only the
command line renders errors and knows exit codes.
"""


class OcitoolError(Exception):
    """Something failed; `message` says what and why, `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OcitoolError):
    """The request itself is invalid, whatever the state of stores and registries."""


class NotFound(OcitoolError):
    """An image, tag, blob, file or repository does not exist."""


class NotInStore(NotFound):
    """The store has no such image. `name` is the name that was asked for, if it is known.

    `is_near` tells that the hint suggests names that the store has.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        name: str | None = None,
        is_near: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.is_near = is_near


class AccessDenied(OcitoolError):
    """Authentication or authorization failed."""


class Refused(OcitoolError):
    """The operation was refused because it could lose something."""


class NameMoved(Refused):
    """A name or a tag stands for something else by now than what was to be replaced."""


class Unmet(OcitoolError):
    """A condition that was to be checked does not hold, such as what a delta builds on."""


class IntegrityError(OcitoolError):
    """The content is malformed, hostile, or not what it claims to be."""


class DigestMismatch(IntegrityError):
    """Content does not hash to the expected digest."""


class SizeMismatch(IntegrityError):
    """Content has more or fewer bytes than expected."""


class MalformedDocument(IntegrityError):
    """A JSON document violates its specification; the message names the JSON path."""


class MalformedArchive(IntegrityError):
    """A tar archive or a compressed stream is damaged, cut short, or something else."""


class LimitExceeded(IntegrityError):
    """The content exceeds a limit that protects against resource exhaustion."""


class BadSignature(IntegrityError):
    """A signature is damaged, of an unknown form, or not by whom or over what it should be."""


class Unavailable(OcitoolError):
    """The network or a registry could not be reached, after retries."""


class StorageError(OcitoolError):
    """The disk is full, over quota, read-only or failing."""


class NoSpace(StorageError):
    """The disk of `path` is full, or its quota is used up."""

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path
