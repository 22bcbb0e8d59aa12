"""Places that are given by a digest alone: beside another one."""

from ocitool.images.locations import Place, PlaceKind, parse_place
from ocitool.oci import Digest, Reference

_ALGORITHMS = ("sha256:", "sha512:")


def beside(text: str, other: Place) -> Place:
    """Return the place that a text means; a digest alone is an image beside another place.

    That is in the same repository, the same layout or file, or else in the store.
    """
    if not text.startswith(_ALGORITHMS):
        return parse_place(text)
    digest = Digest.parse(text)
    if other.kind is PlaceKind.REGISTRY and other.name is not None:
        return parse_place(f"docker://{Reference.parse(other.name).repository}@{digest}")
    if other.kind is PlaceKind.LAYOUT:
        return parse_place(f"oci:{other.path}@{digest}")
    return Place(kind=PlaceKind.STORE, name=text, text=text)
