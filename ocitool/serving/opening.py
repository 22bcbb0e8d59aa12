"""The places that a registry serves, opened: stores, layouts, files of images."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence

from ocitool.errors import OcitoolError, Unmet, UsageError
from ocitool.formats.compression import Codec, sniff
from ocitool.fsops import Directory, translated
from ocitool.images.hints import file_hint
from ocitool.images.locations import FILES, PlaceKind, parse_place
from ocitool.images.opening import open_store
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Layout
from ocitool.serving.shelves import ArchiveShelf, LayoutShelf, Shelf

STORE = "store"
"""The text that means the store itself."""


@contextlib.contextmanager
def open_shelves(
    places: Sequence[str], *, store: str | None = None, create: bool = False
) -> Iterator[list[Shelf]]:
    """Open what is to be served: "store", or the text of a layout or an archive.

    `store` is the folder of the store, which is made if it is absent and `create` is set.
    """
    with contextlib.ExitStack() as stack:
        shelves = [_open_shelf(text, stack, store, create=create) for text in places]
        for shelf in shelves:
            _refuse_parts(shelf, shelves)
        yield shelves


def _refuse_parts(shelf: Shelf, shelves: Sequence[Shelf]) -> None:
    """Refuse a delta without its base: clients would get only a part of its images."""
    missing = [
        digest for digest in shelf.requires if all(one.size(digest) is None for one in shelves)
    ]
    if not missing:
        return
    what = shlex.quote(shelf.what)
    blobs = "1 blob" if len(missing) == 1 else f"{len(missing)} blobs"
    raise Unmet(
        f"{quoted(shelf.what)} is a delta: {blobs} that its images need are not in it, such as "
        f"{missing[0]}",
        hint=f"load it into the store that has its base, and serve that: `ocitool load {what}` and "
        "`ocitool registry serve`",
    )


def _open_shelf(
    text: str, stack: contextlib.ExitStack, store: str | None, *, create: bool
) -> Shelf:
    if text in (STORE, "store:"):
        if store is None:
            raise UsageError("no store is given", hint="name its folder")
        made = Layout.create(store, store=True) if create else open_store(store)
        return LayoutShelf(stack.enter_context(made))
    place = parse_place(text)
    if place.name is not None and place.kind is not PlaceKind.FOLDER:
        raise UsageError(
            f"{quoted(text)} names one image; a registry serves whole places",
            hint=file_hint(place) or "leave the name out; --only PATTERN serves some repositories",
        )
    if place.kind is PlaceKind.LAYOUT:
        made = Layout.create(place.path) if create else Layout.existing(place.path)
        return LayoutShelf(stack.enter_context(made))
    if place.kind not in (*FILES, PlaceKind.FOLDER):
        raise UsageError(
            f"{quoted(text)} cannot be served",
            hint="serve the store, oci:DIR, or a file of images",
        )
    return _open_archive(place.path, stack, create=create)


def _open_archive(path: str, stack: contextlib.ExitStack, *, create: bool) -> Shelf:
    from ocitool.places.archive.opening import open_archive

    if _is_layout(path):
        made = Layout.create(path) if create else Layout.existing(path)
        return LayoutShelf(stack.enter_context(made))
    _refuse_compressed(path)
    opened = open_archive(path)
    stack.callback(opened.close)
    return ArchiveShelf(opened, path)


def _is_layout(path: str) -> bool:
    try:
        with Directory.open(path) as folder:
            return folder.size_of("oci-layout") is not None
    except OcitoolError:
        return False


def _refuse_compressed(path: str) -> None:
    """Refuse a compressed file: its blobs could not be sent from where they are."""
    try:
        with translated("open", path), open(path, "rb") as file:
            codec = sniff(file.read(16))
    except OcitoolError:
        # A folder, or nothing: opening it says more.
        return
    if codec is not Codec.NONE:
        raise UsageError(
            f"{quoted(path)} is compressed: a registry sends blobs from where they are",
            hint=f"decompress it first, or `ocitool load {path}` and serve the store",
        )
