"""Place 2: an image archive.

`opening` turns a file, folder or pipe into members that can be read at random, and `members`
finds them by path; `diagnosis` says what a file is that is no image archive. `docker` reads
manifest.json, `joining` brings it together with index.json, and `source` is the place to read
from; `folder` is skopeo's `dir` form. `writer` writes the universal tar and `docker_writer`
docker's older one, both on `framing` (image-spec image-layout.md, and what `docker save` writes).
"""

import importlib
from typing import TYPE_CHECKING

# Loaded when first used: reading an archive needs nothing of what writes one.
_HOMES = {
    "ArchiveSource": "source",
    "DockerOrigin": "source",
    "FolderSource": "folder",
    "PlainImage": "docker_writer",
    "PlainLayer": "docker_writer",
    "archive_size": "writer",
    "docker_tar": "docker_writer",
    "open_archive": "opening",
    "received_archive": "opening",
    "universal_tar": "writer",
}

__all__ = [
    "ArchiveSource",
    "DockerOrigin",
    "FolderSource",
    "PlainImage",
    "PlainLayer",
    "archive_size",
    "docker_tar",
    "open_archive",
    "received_archive",
    "universal_tar",
]

if TYPE_CHECKING:
    from ocitool.archive.docker_writer import PlainImage, PlainLayer, docker_tar
    from ocitool.archive.folder import FolderSource
    from ocitool.archive.opening import open_archive, received_archive
    from ocitool.archive.source import ArchiveSource, DockerOrigin
    from ocitool.archive.writer import archive_size, universal_tar


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
