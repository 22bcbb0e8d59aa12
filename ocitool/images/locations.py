"""Places by the text a user types: `oci:DIR:TAG`, `docker-archive:FILE`, `./file.tar`, a name.

Only the text decides what kind of place is meant; a path is then sniffed by its content.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ocitool.errors import NotFound, Refused, UsageError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Catalog, Root
from ocitool.image.entries import ambiguous, ambiguous_names
from ocitool.images.lookup import find_image, full_name
from ocitool.oci import Reference
from ocitool.oci.quoting import quoted
from ocitool.oci.reference import DEFAULT_DOMAIN
from ocitool.places.layout import Cache, Layout

if TYPE_CHECKING:
    from ocitool.places.archive import ArchiveSource
    from ocitool.places.engine import Engine
    from ocitool.places.registry import Registries, Repository

_ENGINE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{4,64}")
_AT_DIGEST = re.compile(r"@(sha256|sha512):")


class PlaceKind(StrEnum):
    """What kind of place a text means."""

    STORE = "store"
    LAYOUT = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    FOLDER = "dir"
    DOCKER_ENGINE = "docker-daemon"
    PODMAN_ENGINE = "podman"
    REGISTRY = "docker"
    PATH = "path"


ENGINES = (PlaceKind.DOCKER_ENGINE, PlaceKind.PODMAN_ENGINE)
_PREFIXES = {
    **{f"{kind.value}:": kind for kind in PlaceKind if kind is not PlaceKind.PATH},
    "docker:": PlaceKind.REGISTRY,
    "registry:": PlaceKind.REGISTRY,
}
_SHOWN = [*(f"{p}//" if p == "docker:" else p for p in _PREFIXES if p != "registry:")]
_ELSEWHERE = ("containers-storage:",)


class Place(Struct, frozen=True, kw_only=True):
    """A place and the image in it that is meant. `name` is a name, tag or digest, or None.

    `path` is the file or folder; it is empty for the store and for engines. "-" is standard input
    or output.
    """

    kind: PlaceKind
    path: str = ""
    name: str | None = None
    text: str = ""


def parse_place(text: str) -> Place:
    """Return the place that a text means. UsageError for an empty or unknown one."""
    for prefix in _ELSEWHERE:
        if text.startswith(prefix):
            raise UsageError(
                f"{quoted(text)}: {prefix.rstrip(':/')} is not a place that ocitool reaches",
                hint=f"use one of {', '.join(_SHOWN)} or a path that begins with ./ or /",
            )
    if text == "-" or text.startswith(("/", "./", "../")):
        return path_place(text)
    for prefix, kind in _PREFIXES.items():
        if text.startswith(prefix):
            return _prefixed(kind, text.removeprefix(prefix), text)
    if not text:
        raise UsageError("the name of the image is empty")
    return Place(kind=PlaceKind.STORE, name=text, text=text)


def path_place(text: str) -> Place:
    """Return the file or folder that a text means, or with `@DIGEST` behind it an image in it."""
    at = _AT_DIGEST.search(text)
    if at is None or os.path.lexists(text):
        return Place(kind=PlaceKind.PATH, path=text, text=text)
    return Place(
        kind=PlaceKind.PATH, path=text[: at.start()], name=text[at.start() + 1 :], text=text
    )


def registry_reference(text: str) -> Reference:
    """Return the name in a registry that a text means, with docker:// or registry: or without."""
    name = text.removeprefix("registry:").removeprefix("docker:").removeprefix("//")
    other = next((p for p in _PREFIXES if name.startswith(p)), None)
    if other is not None:
        # It would be a repository of Docker Hub and its tag.
        raise UsageError(
            f"{quoted(text)} is no name in a registry",
            hint=f"`ocitool copy` goes to and from {other}…",
        )
    return Reference.parse(name)


def registry_host(text: str) -> str:
    """Return the registry that a text means, such as `localhost:5000`."""
    name = text.partition("://")[2].rstrip("/") if "://" in text else text.rstrip("/")
    if name in ("index.docker.io", "registry-1.docker.io"):
        name = DEFAULT_DOMAIN
    found = Reference.parse(f"{name}/x") if "/" not in name else None
    if found is None or found.domain != name:
        raise UsageError(
            f"{quoted(text)} is not the host of a registry",
            hint="such as ghcr.io or localhost:5000",
        )
    return found.domain


def _prefixed(kind: PlaceKind, rest: str, text: str) -> Place:
    if kind in ENGINES:
        return Place(kind=kind, name=rest or None, text=text)
    if kind is PlaceKind.REGISTRY:
        return Place(kind=kind, name=str(registry_reference(text)), text=text)
    if not rest:
        hint = "to bring everything into the store use `ocitool load`"
        raise UsageError(
            f"{quoted(text)} names no image or path",
            hint=hint if kind is PlaceKind.STORE else None,
        )
    if kind is PlaceKind.STORE:
        return Place(kind=kind, name=rest, text=text)
    if kind is PlaceKind.FOLDER:
        return Place(kind=kind, path=rest, text=text)
    at = _AT_DIGEST.search(rest)
    if at is not None and ":" not in rest[: at.start()]:
        return Place(kind=kind, path=rest[: at.start()], name=rest[at.start() + 1 :], text=text)
    path, _, name = rest.partition(":")
    if not path:
        raise UsageError(f"{quoted(text)} names no path")
    return Place(kind=kind, path=path, name=name or None, text=text)


class Opened(Struct, frozen=True, kw_only=True):
    """A source that is open, and the roots in it that were meant.

    `layout` is the layout directory that the source reads, if it is one.
    """

    source: Catalog
    roots: tuple[Root, ...]
    layout: Layout | None
    place: Place

    def cache(self, kind: str) -> Cache | None:
        """Return what the store remembers; what a layout from elsewhere claims is not believed."""
        if self.layout is None or self.place.kind is not PlaceKind.STORE:
            return None
        return self.layout.cache(kind)


@contextlib.contextmanager
def open_source(
    place: Place,
    *,
    store: str,
    stdin: int | None = None,
    scratch: str | None = None,
    registries: "Registries | None" = None,
) -> Iterator[Opened]:
    """Open a place for reading. Without a name all its roots are meant, with one that image.

    `registries` says how registries are reached.

    An image of the store that was given by one of its names keeps only that name.
    """
    if place.kind is PlaceKind.STORE:
        layout, root = _from_store(store, place)
        with layout:
            yield Opened(source=layout, roots=(root,), layout=layout, place=place)
    elif place.kind is PlaceKind.LAYOUT:
        from ocitool.images.arranged import arranged

        with Layout.existing(place.path) as layout:
            source = arranged(layout)
            roots = _named(source, place.name)
            yield Opened(source=source, roots=roots, layout=layout, place=place)
    elif place.kind in ENGINES:
        with exported([place], scratch=scratch) as archive:
            yield Opened(source=archive, roots=archive.roots(), layout=None, place=place)
    elif place.kind is PlaceKind.REGISTRY:
        from ocitool.transfer.remote import RemoteImages

        with _connected(registries) as connected:
            images = RemoteImages(_repository(connected, place))
            yield Opened(source=images, roots=images.roots(), layout=None, place=place)
    else:
        from ocitool.places.archive import open_archive

        with open_archive(place.path, stdin=stdin, scratch=scratch) as archive:
            roots = _named(archive, place.name)
            yield Opened(source=archive, roots=roots, layout=None, place=place)


def with_attached(opened: Opened) -> Opened:
    """Return the same source together with what is attached to its images in a registry.

    Other places offer that by themselves.
    """
    from ocitool.transfer.remote import RemoteImages

    if isinstance(opened.source, RemoteImages):
        tagged = opened.source.add_attached(opened.roots)
        return replace(opened, roots=(*opened.roots, *tagged))
    return opened


@contextlib.contextmanager
def _connected(registries: "Registries | None") -> "Iterator[Registries]":
    from ocitool.places.registry import Registries

    if registries is not None:
        yield registries
        return
    with Registries() as own:
        yield own


def _repository(registries: "Registries", place: Place) -> "Repository":
    from ocitool.places.registry import Repository

    reference = Reference.parse(place.name or "")
    repository = Repository.of(registries, reference)
    root = Root(descriptor=repository.fetch(reference), names=(reference.name,))
    return repository.with_roots([root])


def engine_of(place: Place) -> "Engine":
    """Return the engine that a place means, ready to be entered."""
    from ocitool.places.engine import Engine, docker_endpoint, podman_endpoint

    found = docker_endpoint() if place.kind is PlaceKind.DOCKER_ENGINE else podman_endpoint()
    return Engine(found)


def exported(places: Sequence[Place], *, scratch: str | None = None) -> "ArchiveSource":
    """Return images of one engine as an open archive.

    An image that was given by its ID has the names that the engine has for it.
    """
    from ocitool.places.archive import received_archive

    wanted = [place.name for place in places if place.name]
    if len(wanted) != len(places):
        raise UsageError(f"{places[0].text} names no image", hint=f"write {places[0].text}NAME")
    with engine_of(places[0]) as engine:
        names = list(dict.fromkeys(name for text in wanted for name in _engine_names(engine, text)))
        return received_archive(
            lambda write: engine.export(names, write), what=engine.what, scratch=scratch
        )


def _engine_names(engine: "Engine", text: str) -> tuple[str, ...]:
    """Return what to ask an engine for: the name itself, or all names of an ID."""
    named = full_name(text)
    if named is None and not _ENGINE_ID.fullmatch(text):
        raise UsageError(f"{quoted(text)} is neither a name nor an ID of an image")
    known = engine.names(text)
    by_name = named is not None and named in {full_name(name) for name in known}
    return (text,) if by_name or not known else known


def open_store(path: str, observer: Observer = SILENT) -> Layout:
    """Open the store; NotFound with advice when nothing was ever loaded.

    `observer` is told when a change of the store waits for another process.
    """
    try:
        return Layout.existing(path, observer=observer)
    except NotFound as error:
        raise NotFound(
            f"there is no image yet: the store {path!r} does not exist",
            hint="`ocitool load FILE` makes it; --store names another one",
        ) from error


def one_root(opened: Opened) -> Root:
    """Return the one root that was meant; UsageError lists the names when there are several."""
    candidates = [root for root in opened.roots if root.names or root.label] or opened.roots
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise NotFound(f"{opened.place.text} holds no image")
    shared = ambiguous_names(candidates)
    if len(shared) == 1 and len(next(iter(shared.values()))) == len(candidates):
        raise ambiguous(*next(iter(shared.items())))
    names = [root.names[0] if root.names else root.label or "" for root in candidates]
    digests = [str(root.descriptor.digest) for root in candidates]
    listed = ", ".join(name or digest for name, digest in zip(names, digests, strict=True))
    raise UsageError(
        f"{opened.place.text} holds {len(candidates)} images: {listed}",
        hint="name one, for example oci-archive:FILE:NAME or oci:DIR:NAME",
    )


def _from_store(store: str, place: Place) -> tuple[Layout, Root]:
    name = place.name or ""
    try:
        layout = open_store(store)
        try:
            found = find_image(layout, name)
        except BaseException:
            layout.close()
            raise
    except NotFound as error:
        if place.text == name and os.path.exists(name):
            hint = f"for the file of that name write ./{name}"
            raise NotFound(error.message, hint=hint) from error
        raise
    root = replace(found.root, names=(found.name,)) if found.name else found.root
    return layout, root


def _named(source: Catalog, name: str | None) -> tuple[Root, ...]:
    """Return the root of a name, or all of an ambiguous one: a platform may decide."""
    if name is None:
        return source.roots()
    try:
        found = source.resolve(name)
    except Refused:
        shared = tuple(replace(r, names=(name,)) for r in source.roots() if name in r.names)
        if not shared:
            raise
        return shared
    except NotFound:
        full = full_name(name)
        known = {text for root in source.roots() for text in root.names}
        if full is None or full not in known:
            raise
        found, name = source.resolve(full), full
    return (replace(found, names=(name,)) if name in found.names else found,)
