"""The metadata of a store made again: `oci-layout`, and index.json from all that still tells it.

Names come from the reflog, each with what it meant last. Pins, containers and the manifests among
the blobs tell of images without a name.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from ocitool.containers.records import containers
from ocitool.errors import IntegrityError, NotFound, Refused
from ocitool.events import SILENT, Observer
from ocitool.fsops import Directory, replace_file
from ocitool.image.graph import children
from ocitool.oci import Descriptor, Digest
from ocitool.oci.version import LAYOUT_BYTES, LAYOUT_VERSION, check_layout_version
from ocitool.places.layout import Layout
from ocitool.places.layout.documents import stored_document
from ocitool.places.layout.index import IndexFile, with_name
from ocitool.places.layout.index_reader import INDEX_FILE
from ocitool.places.layout.layout import LAYOUT_FILE
from ocitool.places.layout.lease import TEMPORARY
from ocitool.places.layout.lock import locked
from ocitool.places.layout.quarantine import QUARANTINE
from ocitool.places.layout.reflog import events


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What was made again: `files` of the store, `names`, and images that have none now.

    `lost` are names whose images are not here.
    """

    files: tuple[str, ...]
    names: tuple[str, ...] = ()
    nameless: tuple[Digest, ...] = ()
    lost: tuple[str, ...] = ()


def rebuild(path: str, *, observer: Observer = SILENT) -> Rebuilt | None:
    """Write the lost or damaged metadata of a store again; None if there is nothing to do.

    A damaged index.json is moved to the quarantine. Raises what keeps the folder from being read.
    """
    try:
        folder = Directory.open(path)
    except NotFound:
        return None
    with Layout(folder, observer) as layout:
        control = layout.control
        if not layout.is_store or control is None or not _damaged_files(layout):
            return None
        with (
            locked(control, observer=observer),
            control.subdirectory(TEMPORARY, create=True, lasting=False) as staging,
        ):
            return _rebuild(layout, control, staging)


def _rebuild(layout: Layout, control: Directory, staging: Directory) -> Rebuilt:
    # Another process may have been faster.
    files = _damaged_files(layout)
    rebuilt = Rebuilt(files=tuple(files))
    if INDEX_FILE in files:
        found = _Manifests(layout)
        names, lost = _named(control, found.documents)
        nameless = _nameless(layout, found, set(names.values()))
        entries = [with_name(d, name, is_store=True) for name, d in names.items()]
        _keep_damaged(layout, control)
        data = IndexFile(entries=(*entries, *nameless)).encode()
        replace_file(layout.folder, INDEX_FILE, data, staging=staging)
        rebuilt = Rebuilt(
            files=tuple(files),
            names=tuple(names),
            nameless=tuple(descriptor.digest for descriptor in nameless),
            lost=tuple(lost),
        )
    if LAYOUT_FILE in files:
        # The last one, because it says that all the rest is there.
        replace_file(layout.folder, LAYOUT_FILE, LAYOUT_VERSION, staging=staging)
    return rebuilt


def _damaged_files(layout: Layout) -> list[str]:
    damaged = []
    try:
        layout.index()
    except IntegrityError:
        damaged.append(INDEX_FILE)
    try:
        data = layout.folder.read_file(LAYOUT_FILE, LAYOUT_BYTES)
        check_layout_version(data, LAYOUT_FILE)
    except (NotFound, IntegrityError):
        damaged.append(LAYOUT_FILE)
    return damaged


def _keep_damaged(layout: Layout, control: Directory) -> None:
    if layout.folder.kind(INDEX_FILE) is not None:
        with control.subdirectory(QUARANTINE, create=True) as quarantine:
            layout.folder.move(INDEX_FILE, quarantine, f"{INDEX_FILE}.{os.urandom(4).hex()}")


class _Manifests:
    """The sound manifests and indexes among the blobs, and what they list."""

    def __init__(self, layout: Layout) -> None:
        self.documents: dict[str, Descriptor] = {}
        self.listed: set[str] = set()
        for text in layout.listing().blobs:
            found = stored_document(layout, Digest.parse(text))
            if found is not None:
                descriptor, document = found
                self.documents[text] = descriptor
                self.listed.update(str(child.digest) for child, _ in children(document))


def _named(
    control: Directory, documents: Mapping[str, Descriptor]
) -> tuple[dict[str, Descriptor], list[str]]:
    """Return what each name meant last, and the names whose images are not here."""
    last = {event.name: event.new for event in events(control)}
    named = {name: digest for name, digest in last.items() if digest is not None}
    here = {name: documents[digest] for name, digest in named.items() if digest in documents}
    return here, [name for name in named if name not in here]


def _nameless(
    layout: Layout, found: _Manifests, named: Iterable[Descriptor]
) -> tuple[Descriptor, ...]:
    """Return the images without a name: what nothing lists, and what pins or containers hold."""
    known = {str(descriptor.digest) for descriptor in named}
    tops = [digest for digest in sorted(found.documents) if digest not in found.listed]
    wanted = dict.fromkeys((*tops, *_held(layout)))
    return tuple(
        found.documents[digest]
        for digest in wanted
        if digest in found.documents and digest not in known
    )


def _held(layout: Layout) -> Iterator[str]:
    try:
        yield from (str(pin.digest) for pin in layout.pins())
        yield from (container.digest for container in containers(layout))
    except (IntegrityError, Refused):
        # `verify` reports the damaged record; what nothing lists is found without it.
        return
