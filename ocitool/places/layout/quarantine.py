"""Damaged blobs, set aside and never deleted: `.ocitool/quarantine/ALGORITHM-HEX.xxx`.

A damaged blob may be the last copy of its content anywhere, so only a person may remove it.
"""

import os
from collections.abc import Iterable

from msgspec import Struct

from ocitool.errors import IntegrityError, NotFound
from ocitool.oci import Digest
from ocitool.places.layout.exclusive import exclusive
from ocitool.places.layout.layout import CONTROL, Layout

QUARANTINE = "quarantine"
_CHUNK = 1 << 20


class SetAside(Struct, frozen=True, kw_only=True):
    """A blob that does not match its name, and its new path relative to the layout."""

    digest: Digest
    place: str


def set_aside(layout: Layout, digests: Iterable[Digest]) -> list[SetAside]:
    """Move the blobs that do not hash to their names; sound blobs stay.

    Anything but a regular file is moved as it is. A blob is hashed without the layout's lock and
    moved under the lock, unless it was replaced in between.
    """
    done = []
    for digest in digests:
        identity = _identity_if_damaged(layout, digest)
        if identity is not None:
            place = _move(layout, digest, identity)
            done += [SetAside(digest=digest, place=place)] if place else []
    return done


def quarantined_digests(layout: Layout) -> set[Digest]:
    """Return the digests of all blobs in quarantine."""
    found: set[Digest] = set()
    try:
        with (
            layout.folder.subdirectory(CONTROL) as control,
            control.subdirectory(QUARANTINE) as folder,
        ):
            names = folder.names()
    except NotFound:
        return found
    for name in names:
        algorithm, _, rest = name.partition("-")
        try:
            found.add(Digest(algorithm, rest.partition(".")[0]))
        except IntegrityError:
            continue
    return found


def _identity(layout: Layout, digest: Digest) -> tuple[int, ...] | None:
    try:
        status = layout.blob_folder(digest.algorithm).status(digest.hex)
    except NotFound:
        return None
    if status is None:
        return None
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _identity_if_damaged(layout: Layout, digest: Digest) -> tuple[int, ...] | None:
    """Return the identity of a damaged blob; None if it is sound or absent."""
    identity = _identity(layout, digest)
    if identity is None:
        return None
    try:
        file, _ = layout.open_blob(digest)
    except IntegrityError:
        return identity
    except NotFound:
        return None
    hasher = digest.hasher()
    try:
        while part := os.read(file, _CHUNK):
            hasher.update(part)
    except OSError:
        return identity
    finally:
        os.close(file)
    return None if hasher.hexdigest() == digest.hex else identity


def _move(layout: Layout, digest: Digest, identity: tuple[int, ...]) -> str | None:
    with exclusive(layout) as moment:
        if _identity(layout, digest) != identity:
            return None
        name = f"{digest.algorithm}-{digest.hex}.{os.urandom(4).hex()}"
        with moment.control.subdirectory(QUARANTINE, create=True) as folder:
            layout.blob_folder(digest.algorithm).move(digest.hex, folder, name)
        return f"{CONTROL}/{QUARANTINE}/{name}"
