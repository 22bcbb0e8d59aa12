"""ocitool as a library: OCI and Docker images without a daemon.

What the commands do is callable from here; nothing prints and nothing exits. Names are loaded when
they are first used.

The layers, from the top; each imports only what stands below it::

    cli                                      the only one that prints
    copying, saving, pulling, pushing,       verbs; shipping is what those that move images share
    inspection, verification, garbage,
    lookup, places, summaries, tagging,
    pinning, restoring, usage,
    artifacts, containers, repair,
    engine_garbage, destination, shipping
    transfer, recompress, subset, overlay    the mechanism: plan, move, convert
    fetching                                 a large blob in parts
    graph, parallel                          what an image is made of
    layout | archive | registry | engine     places: never import each other
    content, events, layers                  seams: Blob, Source, Target, Observer
    tarstream, compression, spec, fsops      formats and the disk
    errors
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "AccessDenied": "ocitool.errors",
    "ArchiveSource": "ocitool.archive",
    "Blob": "ocitool.content",
    "Closure": "ocitool.content",
    "Conversion": "ocitool.recompress",
    "CopiedImage": "ocitool.shipping",
    "CopyReport": "ocitool.shipping",
    "Descriptor": "ocitool.spec",
    "Digest": "ocitool.spec",
    "FolderSource": "ocitool.archive",
    "ImageConfig": "ocitool.spec",
    "ImageReport": "ocitool.inspection",
    "ImageSummary": "ocitool.summaries",
    "Index": "ocitool.spec",
    "IntegrityError": "ocitool.errors",
    "LayerReport": "ocitool.inspection",
    "Layout": "ocitool.layout",
    "MalformedArchive": "ocitool.errors",
    "Manifest": "ocitool.spec",
    "NotFound": "ocitool.errors",
    "Observer": "ocitool.events",
    "OcitoolError": "ocitool.errors",
    "OnExisting": "ocitool.destination",
    "Packing": "ocitool.saving",
    "Platform": "ocitool.spec",
    "Problem": "ocitool.verification",
    "PushReport": "ocitool.destination",
    "Pushing": "ocitool.pushing",
    "Reference": "ocitool.spec",
    "Refused": "ocitool.errors",
    "Registries": "ocitool.registry",
    "RegistryOptions": "ocitool.registry",
    "RemoteImages": "ocitool.pulling",
    "Removal": "ocitool.garbage",
    "Repository": "ocitool.registry",
    "Root": "ocitool.content",
    "StorageError": "ocitool.errors",
    "Unavailable": "ocitool.errors",
    "UsageError": "ocitool.errors",
    "VerifyReport": "ocitool.verification",
    "find_image": "ocitool.lookup",
    "image_summaries": "ocitool.summaries",
    "inspect": "ocitool.inspection",
    "load": "ocitool.copying",
    "open_archive": "ocitool.archive",
    "open_source": "ocitool.places",
    "parse_place": "ocitool.places",
    "pull": "ocitool.pulling",
    "push": "ocitool.pushing",
    "remove": "ocitool.garbage",
    "save": "ocitool.saving",
    "save_file": "ocitool.saving",
    "tag": "ocitool.tagging",
    "untag": "ocitool.layout",
    "verify": "ocitool.verification",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from ocitool.archive import ArchiveSource, FolderSource, open_archive
    from ocitool.content import Blob, Closure, Root
    from ocitool.copying import load
    from ocitool.destination import OnExisting, PushReport
    from ocitool.errors import (
        AccessDenied,
        IntegrityError,
        MalformedArchive,
        NotFound,
        OcitoolError,
        Refused,
        StorageError,
        Unavailable,
        UsageError,
    )
    from ocitool.events import Observer
    from ocitool.garbage import Removal, remove
    from ocitool.inspection import ImageReport, LayerReport, inspect
    from ocitool.layout import Layout, untag
    from ocitool.lookup import find_image
    from ocitool.places import open_source, parse_place
    from ocitool.pulling import RemoteImages, pull
    from ocitool.pushing import Pushing, push
    from ocitool.recompress import Conversion
    from ocitool.registry import Registries, RegistryOptions, Repository
    from ocitool.saving import Packing, save, save_file
    from ocitool.shipping import CopiedImage, CopyReport
    from ocitool.spec import (
        Descriptor,
        Digest,
        ImageConfig,
        Index,
        Manifest,
        Platform,
        Reference,
    )
    from ocitool.summaries import ImageSummary, image_summaries
    from ocitool.tagging import tag
    from ocitool.verification import Problem, VerifyReport, verify


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ocitool' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
