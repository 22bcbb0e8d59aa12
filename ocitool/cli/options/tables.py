"""Where the tables of layers are kept that were made once: in the image's store, or the user's."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ocitool.home import base_folder

if TYPE_CHECKING:
    from ocitool.images.opening import Opened
    from ocitool.inside.toc_cache import TocCache

_FOLDER = "toc"

NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Read all layers again, and keep nothing of them."),
]


def table_cache(opened: "Opened", *, unless: bool = False) -> "TocCache | None":
    """Return the cache of tables for an image: that of its store, else that of the user.

    None without a home folder, and if `unless` there shall be none. What a layout from elsewhere
    holds is not believed.
    """
    from ocitool.images.locations import PlaceKind
    from ocitool.inside.toc_cache import TocCache

    if unless:
        return None
    if opened.layout is not None and opened.place.kind is PlaceKind.STORE:
        return TocCache(opened.layout.cache_folder(_FOLDER))
    caches = base_folder(os.environ, "XDG_CACHE_HOME", ".cache")
    return TocCache(os.path.join(caches, "ocitool", _FOLDER)) if caches is not None else None
