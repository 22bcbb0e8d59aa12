"""The lock: names with the digests that they stand for, as imgpkg's ImagesLock v1alpha1.

imgpkg refuses a lock with any other key at its top, so what is ours are annotations.
"""

import json
from collections.abc import Iterable
from typing import Final

from ocitool.oci import Reference

NAME_ANNOTATION: Final = "ocitool/name"
"""The annotation with the name that was locked, for the tag: the image itself has a digest."""

_HEAD: Final = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n"


def encode_lock(images: Iterable[Reference]) -> bytes:
    """Return the lock of images, each of which has a digest; the same images give the same bytes.

    An image with a tag is noted with its name. They are sorted by repository, digest and name.
    """
    order = sorted(set(images), key=lambda image: (_pinned(image), image.name))
    return (_HEAD + "".join(map(_entry, order))).encode("ascii")


def _entry(image: Reference) -> str:
    entry = f"- image: {_scalar(_pinned(image))}\n"
    if image.tag is None:
        return entry
    return f"{entry}  annotations:\n    {NAME_ANNOTATION}: {_scalar(image.name)}\n"


def _pinned(image: Reference) -> str:
    return f"{image.repository}@{image.digest}"


def _scalar(text: str) -> str:
    """Return a name as YAML; only the address of a host may begin with a sign of YAML."""
    return json.dumps(text) if text.startswith("[") else text
