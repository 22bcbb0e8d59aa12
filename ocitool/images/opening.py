"""Places, opened for reading: the source, and the images in it that are meant."""

import contextlib
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.errors import NotFound, NotInStore, OcitoolError, Refused, UsageError
from ocitool.events import SILENT, Observer
from ocitool.image.content import Catalog, Root
from ocitool.image.entries import ambiguous, ambiguous_names
from ocitool.image.graph import root_subject
from ocitool.images.hints import check_kind, hint_at_file, how_to_name
from ocitool.images.locations import ENGINES, Place, PlaceKind, parse_place
from ocitool.images.lookup import Found, ImageFinder, find_each, full_name
from ocitool.oci import Reference
from ocitool.oci.quoting import quoted
from ocitool.places.layout import Cache, Layout

if TYPE_CHECKING:
    from ocitool.places.archive import ArchiveSource
    from ocitool.places.engine import Containerd, Engine
    from ocitool.places.registry import Registries, Repository
    from ocitool.places.registry.known_blobs import KnownBlobs

_KNOWN_BLOBS, _MOST_BLOBS = "blobs-in-registries", 20_000
_ENGINE_ID = r"(?:sha256:)?[0-9a-f]{4,64}"


class Opened(Struct, frozen=True, kw_only=True):
    """A source that is open, and the roots in it that were meant.

    `layout` is the layout directory that the source reads, if it is one. `found` is the image of
    the store with all its names. `caches` are shared by images that were opened together.
    """

    source: Catalog
    roots: tuple[Root, ...]
    place: Place
    layout: Layout | None = None
    found: Found | None = None
    caches: dict[str, Cache] = field(default_factory=dict)

    @property
    def root(self) -> Root:
        """The one root that was meant. See `one_root`."""
        return one_root(self)

    def cache(self, kind: str) -> Cache | None:
        """Return what the store remembers; what a layout from elsewhere claims is not believed."""
        if self.layout is None or self.place.kind is not PlaceKind.STORE:
            return None
        if kind not in self.caches:
            self.caches[kind] = self.layout.cache(kind)
        return self.caches[kind]


@contextlib.contextmanager
def open_source(
    place: str | Place,
    *,
    store: str | None = None,
    stdin: int | None = None,
    scratch: str | None = None,
    registries: "Registries | None" = None,
    observer: Observer = SILENT,
) -> Iterator[Opened]:
    """Open a place for reading. Without a name all its roots are meant, with one that image.

    `place` may be the text of one, such as "docker://ghcr.io/a/b:1" or "./a.tar". `store` is the
    folder of the store, for images in it. `stdin` is the file descriptor that "-" reads. What does
    not fit into memory goes to the folder `scratch`. `registries` says how registries are reached;
    `observer` is told how a pipe or an engine is read.
    An image of the store that was given by one of its names keeps only that name. NotFound when
    the place or the image is not there, UsageError for a text that means no place.
    """
    if isinstance(place, str):
        place = parse_place(place)
    check_kind(place)
    if place.kind is PlaceKind.STORE:
        with _open_store_of(place, store) as layout:
            yield _found_in_store(ImageFinder(layout), place)
    elif place.kind is PlaceKind.LAYOUT:
        with Layout.existing(place.path) as layout:
            yield _open_layout(layout, place)
    elif place.kind in ENGINES:
        with exported([place], scratch=scratch, observer=observer) as archive:
            yield Opened(source=archive, roots=archive.roots(), place=place)
    elif place.kind in (PlaceKind.CONTAINERD, PlaceKind.SSH):
        raise _not_read(place)
    elif place.kind is PlaceKind.REGISTRY:
        from ocitool.transfer.remote import RemoteImages

        with connected(registries) as reached:
            images = RemoteImages(_repository(reached, place))
            yield Opened(source=images, roots=images.roots(), place=place)
    else:
        from ocitool.places.archive import open_archive

        with open_archive(place.path, stdin=stdin, scratch=scratch, observer=observer) as archive:
            yield Opened(source=archive, roots=_named(archive, place.name), place=place)


def _open_layout(layout: Layout, place: Place) -> Opened:
    from ocitool.images.arranged import arranged

    source = arranged(layout)
    return Opened(source=source, roots=_named(source, place.name), layout=layout, place=place)


def open_each(
    places: Iterable[Place],
    *,
    store: str | None,
    stdin: int | None = None,
    scratch: str | None = None,
    registries: "Registries | None" = None,
    observer: Observer = SILENT,
) -> "Generator[Opened, None, None]":
    """Open places one after the other, each until the next is asked for; the store only once.

    Close the generator if it is not read to its end.
    """
    with contextlib.ExitStack() as stack:
        finder: ImageFinder | None = None
        caches: dict[str, Cache] = {}
        for place in places:
            if place.kind is PlaceKind.STORE:
                if finder is None:
                    finder = ImageFinder(stack.enter_context(_open_store_of(place, store)))
                yield replace(_found_in_store(finder, place), caches=caches)
                continue
            with open_source(
                place, stdin=stdin, scratch=scratch, registries=registries, observer=observer
            ) as opened:
                yield opened


@contextlib.contextmanager
def open_together(
    places: Sequence[Place],
    *,
    store: str | None = None,
    stdin: int | None = None,
    scratch: str | None = None,
    registries: "Registries | None" = None,
    observer: Observer = SILENT,
) -> Iterator[list[Opened]]:
    """Open places for reading, all at once; the images of the store are one source."""
    stored = [place for place in places if place.kind is PlaceKind.STORE]
    with contextlib.ExitStack() as stack:
        sources: list[Opened] = []
        if stored:
            finder = ImageFinder(stack.enter_context(_open_store_of(stored[0], store)))
            each = find_each(lambda place: _found_in_store(finder, place), stored)
            roots = tuple(root for opened in each for root in opened.roots)
            sources.append(replace(each[0], roots=roots))
        for place in places:
            if place.kind is not PlaceKind.STORE:
                opened = open_source(
                    place, stdin=stdin, scratch=scratch, registries=registries, observer=observer
                )
                sources.append(stack.enter_context(opened))
        yield sources


def with_attached(opened: Opened) -> Opened:
    """Return the same source together with what is attached to its images in a registry.

    Other places offer that by themselves.
    """
    if opened.place.kind is not PlaceKind.REGISTRY:
        return opened
    from ocitool.transfer.remote import RemoteImages

    if isinstance(opened.source, RemoteImages):
        tagged = opened.source.add_attached(opened.roots)
        return replace(opened, roots=(*opened.roots, *tagged))
    return opened


@contextlib.contextmanager
def known_blobs(store: str | None) -> "Iterator[KnownBlobs]":
    """Yield what the store, if there is one, remembers of the blobs in registries."""
    from ocitool.places.registry.known_blobs import KnownBlobs

    try:
        layout = Layout.existing(store) if store is not None else None
    except OcitoolError:
        layout = None
    if layout is None:
        yield KnownBlobs()
        return
    with layout:
        yield KnownBlobs(layout.cache(_KNOWN_BLOBS, _MOST_BLOBS) if layout.is_store else None)


@contextlib.contextmanager
def connected(registries: "Registries | None") -> "Iterator[Registries]":
    """Yield what reaches registries: what is given, or one with the usual options."""
    from ocitool.places.registry import Registries

    if registries is not None:
        yield registries
        return
    with Registries() as own:
        yield own


def _repository(registries: "Registries", place: Place) -> "Repository":
    from ocitool.places.registry import Repository
    from ocitool.places.registry.near_tags import tells_near_tags

    if place.name is None:
        hint = "write docker://HOST/NAME:TAG"
        if place.path.strip("/"):
            hint = f"write docker://{place.path.strip('/')}/NAME:TAG"
        raise UsageError(f"{quoted(place.text)} names no image", hint=hint)
    reference = Reference.parse(place.name)
    repository = Repository.of(registries, reference)
    with tells_near_tags(repository.session, reference):
        root = Root(descriptor=repository.fetch(reference), names=(reference.name,))
    return repository.with_roots([root])


def _not_read(place: Place) -> UsageError:
    """Return the error about a place that only takes images here."""
    if place.kind is PlaceKind.SSH:
        return UsageError(
            f"{quoted(place.text)}: ssh:// is a place to write to, not one to read from",
            hint=f"pipe it: ssh {place.name or 'HOST'} ocitool save NAME | ocitool load",
        )
    name = place.name or "NAME"
    return UsageError(
        f"{quoted(place.text)}: containerd is a place to write to, not one to read from",
        hint=f"pipe it: ctr images export - {name} | ocitool load; an image of the store is "
        f"store:{place.text}",
    )


def receiver_of(place: Place) -> "Engine | Containerd":
    """Return what takes the archive that is sent to a place, ready to be entered."""
    if place.kind is not PlaceKind.CONTAINERD:
        return engine_of(place)
    from ocitool.places.engine import Containerd

    return Containerd()


def engine_of(place: Place) -> "Engine":
    """Return the engine that a place means, ready to be entered."""
    from ocitool.places.engine import Engine, engine_endpoint

    kind = "docker" if place.kind is PlaceKind.DOCKER_ENGINE else "podman"
    return Engine(engine_endpoint(kind))


def exported(
    places: Sequence[Place], *, scratch: str | None = None, observer: Observer = SILENT
) -> "ArchiveSource":
    """Return images of one engine as an open archive.

    An image that was given by its ID has the names that the engine has for it.
    """
    from ocitool.places.archive import receive_archive

    wanted = [place.name for place in places if place.name]
    if len(wanted) != len(places):
        raise UsageError(f"{places[0].text} names no image", hint=f"write {places[0].text}NAME")
    with engine_of(places[0]) as engine:
        names = list(dict.fromkeys(name for text in wanted for name in _engine_names(engine, text)))
        return receive_archive(
            lambda write: engine.export(names, write),
            what=engine.what,
            scratch=scratch,
            observer=observer,
        )


def _engine_names(engine: "Engine", text: str) -> tuple[str, ...]:
    """Return what to ask an engine for: the name itself, or all names of an ID."""
    named = full_name(text)
    if named is None and not re.fullmatch(_ENGINE_ID, text):
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
        raise NotInStore(
            f"there is no image yet: the store {path!r} does not exist",
            hint="`ocitool load FILE` makes it; --store names another one",
        ) from error


def one_root(opened: Opened) -> Root:
    """Return the one root that was meant; UsageError lists the names when there are several.

    What is attached to an image is not meant unless it is named.
    """
    named = [root for root in opened.roots if root.names or root.label]
    candidates = _without_attached(opened.source, named or opened.roots)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise NotFound(f"{opened.place.text} holds no image")
    shared = ambiguous_names(candidates)
    if len(shared) == 1 and len(next(iter(shared.values()))) == len(candidates):
        example = how_to_name(opened.place, candidates[0], by_digest=True)
        raise ambiguous(*next(iter(shared.items())), example=example)
    names = [root.names[0] if root.names else root.label or "" for root in candidates]
    digests = [str(root.descriptor.digest) for root in candidates]
    listed = ", ".join(name or digest for name, digest in zip(names, digests, strict=True))
    raise UsageError(
        f"{opened.place.text} holds {len(candidates)} images: {listed}",
        hint=f"name one, for example {how_to_name(opened.place, candidates[0])}",
    )


def _without_attached(source: Catalog, roots: Sequence[Root]) -> Sequence[Root]:
    """Leave out what is attached to something: a user who names nothing means the image."""
    if len(roots) < 2:
        return roots
    return [root for root in roots if root_subject(source, root) is None] or roots


def _open_store_of(place: Place, store: str | None) -> Layout:
    if store is None:
        raise UsageError(
            f"{quoted(place.text)} is an image of the store, but no store is given",
            hint="name the store's folder, or for an image in a registry write "
            f"docker://{place.name}",
        )
    with hint_at_file(place):
        return open_store(store)


def _found_in_store(finder: ImageFinder, place: Place) -> Opened:
    with hint_at_file(place):
        found = finder.find(place.name or "")
    root = replace(found.root, names=(found.name,)) if found.name else found.root
    layout = finder.layout
    return Opened(source=layout, roots=(root,), layout=layout, place=place, found=found)


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
