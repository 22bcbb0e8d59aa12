"""The arguments of `artifact push`: FILE, FILE:MEDIA-TYPE, or a folder."""

import os
import re
import stat
from collections.abc import Sequence

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.errors import NotFound, UsageError
from ocitool.fsops import translated
from ocitool.oci.quoting import quoted

# RFC 6838, "Naming Requirements".
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")


class Item(Struct, frozen=True, kw_only=True):
    """A file or folder on the disk. `title` is its name in the artifact."""

    path: str
    title: str
    media_type: str
    is_folder: bool


def items_of(texts: Sequence[str]) -> tuple[Item, ...]:
    """Return the items; NotFound for a missing file, UsageError if two have the same title."""
    found = tuple(item_of(text) for text in texts)
    titles: dict[str, Item] = {}
    for item in found:
        other = titles.setdefault(item.title, item)
        if other is not item:
            raise UsageError(
                f"{quoted(other.path)} and {quoted(item.path)} would both be {quoted(item.title)}",
                hint="push the folder that holds both, or rename one of them",
            )
    return found


def item_of(text: str) -> Item:
    """Return one item. If a file with the whole text as its name exists, it has no media type."""
    path, media_type = text, None
    if not os.path.exists(text) and ":" in text:
        path, _, media_type = text.rpartition(":")
        check_media_type(media_type, f"the type of {quoted(path)}")
    try:
        with translated("read", path):
            mode = os.stat(path).st_mode
    except NotFound as error:
        raise NotFound(
            error.message, hint="name a file or folder, with its type as FILE:TYPE"
        ) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{quoted(path)} is not a file or folder")
    is_folder = stat.S_ISDIR(mode)
    usual = conventions.FOLDER_TYPE if is_folder else conventions.FILE_TYPE
    title = os.path.basename(os.path.abspath(path))
    if not title:
        raise UsageError("the root folder has no name", hint="name folders in it")
    _check_title(title)
    return Item(path=path, title=title, media_type=media_type or usual, is_folder=is_folder)


def check_media_type(text: str, what: str) -> str:
    """Return the media type unchanged; UsageError if it is not a media type (RFC 6838)."""
    if not _MEDIA_TYPE.fullmatch(text):
        raise UsageError(
            f"{what}, {quoted(text)}, is not a media type", hint="for example text/plain"
        )
    return text


def _check_title(title: str) -> None:
    try:
        title.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{quoted(title)} is not UTF-8, as a title must be", hint="rename the file"
        ) from None
