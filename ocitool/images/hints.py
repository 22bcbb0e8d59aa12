"""What to write instead: an image of a place, a file, a place of the right kind."""

import contextlib
import os
from collections.abc import Iterator

from ocitool.errors import NotFound, UsageError
from ocitool.image.content import Root
from ocitool.images.locations import FILES, Place, PlaceKind
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import familiar

_NAMED_AS_FILES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")


def how_to_name(place: Place, root: Root, *, by_digest: bool = False) -> str:
    """Return the text that means one image of a place, quoted for a shell."""
    import shlex

    name = None if by_digest else familiar(root.names[0]) if root.names else root.label
    if place.path in ("", "-"):
        return name or str(root.descriptor.digest)
    kind = f"{place.kind.value}:"
    if place.kind is PlaceKind.PATH and _is_unpacked(place.path):
        # No prefix reads an archive that was unpacked, so the path stays, and the digest chooses.
        kind, name = "" if place.path.startswith(("/", "./", "../")) else "./", None
    elif place.kind is PlaceKind.PATH:
        kind = "oci:" if os.path.isdir(place.path) else "oci-archive:"
    is_free = name is not None and ":" not in place.path
    behind = f":{name}" if is_free else f"@{root.descriptor.digest}"
    return shlex.quote(f"{kind}{place.path}{behind}")


def _is_unpacked(path: str) -> bool:
    """Tell whether a folder is not a layout, but the files of an archive of another form."""
    return os.path.isdir(path) and not os.path.exists(os.path.join(path, "index.json"))


def file_hint(place: Place) -> str | None:
    """Return how to name the file that has the name of an image; None where there is none."""
    if place.text != place.name or not os.path.exists(place.text):
        return None
    return f"for the file of that name write ./{place.text}"


@contextlib.contextmanager
def hint_at_file(place: Place) -> Iterator[None]:
    """Say how to name a file where an image is named as a file is, and not found."""
    try:
        yield
    except NotFound as error:
        hint = file_hint(place)
        if hint is None:
            raise
        raise NotFound(error.message, hint=hint) from error


def is_named_as_file(text: str) -> bool:
    """Tell whether a text has the name of an archive, whether there is one or not."""
    return text.endswith(_NAMED_AS_FILES)


def check_kind(place: Place, *, is_new: bool = False) -> None:
    """Raise UsageError for a file where a folder is meant, and the other way round.

    A path that `is_new` need not exist: then it is known by its name.
    """
    path = place.path
    if place.kind is PlaceKind.LAYOUT:
        by_name = is_new and is_named_as_file(path) and not os.path.exists(path)
        if by_name or os.path.isfile(path):
            raise UsageError(
                f"{quoted(place.text)}: oci: means a folder, and {quoted(path)} is "
                f"{'named as a file' if by_name else 'a file'}",
                hint=f"write {_as(place, 'oci-archive')}",
            )
    elif place.kind in FILES and os.path.isdir(path) and (is_new or not _is_path(place)):
        raise UsageError(
            f"{quoted(place.text)} means a file, and {quoted(path)} is a folder",
            hint=f"write {_as(place, 'oci')}",
        )


def _is_path(place: Place) -> bool:
    return place.kind is PlaceKind.PATH


def _as(place: Place, kind: str) -> str:
    """Return what names the same image of a path under another prefix."""
    if place.name is None:
        return f"{kind}:{place.path}"
    behind = f"@{place.name}" if place.name.startswith(("sha256:", "sha512:")) else f":{place.name}"
    return f"{kind}:{place.path}{behind}"
