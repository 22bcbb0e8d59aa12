"""Place 2: an image archive.

`opening` turns a file, folder or pipe into members that can be read at random, and `members`
finds them by path; `diagnosis` says what a file is that is not an image archive. `docker` reads
manifest.json, `manifest_merger` merges it with index.json, `synthesis` makes the manifests that
an archive lacks, and `source` is the place to read from; `folder` is skopeo's `dir` form.
`foreign_forms` reads bundles of other tools, `imgpkg` and `sync_folder`, and `chunks` finds what
an archive was cut into. `writer` writes the universal tar and `docker_writer` docker's older one,
both on `framing` (image-spec image-layout.md, and what `docker save` writes).
"""

from typing import TYPE_CHECKING

from ocitool.lazy import lazy

if TYPE_CHECKING:
    from ocitool.places.archive.docker_writer import PlainImage as PlainImage
    from ocitool.places.archive.docker_writer import PlainLayer as PlainLayer
    from ocitool.places.archive.docker_writer import docker_size as docker_size
    from ocitool.places.archive.docker_writer import docker_tar as docker_tar
    from ocitool.places.archive.folder import FolderSource as FolderSource
    from ocitool.places.archive.opening import open_archive as open_archive
    from ocitool.places.archive.opening import receive_archive as receive_archive
    from ocitool.places.archive.source import ArchiveSource as ArchiveSource
    from ocitool.places.archive.writer import archive_size as archive_size
    from ocitool.places.archive.writer import universal_tar as universal_tar

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "docker_writer": "PlainImage PlainLayer docker_size docker_tar",
        "folder": "FolderSource",
        "opening": "open_archive receive_archive",
        "source": "ArchiveSource",
        "writer": "archive_size universal_tar",
    },
)
