"""inventory: the blobs that a place has, for deltas that are made out of its reach."""

import threading
from collections.abc import Callable, Iterable, Sequence

from ocitool.bundles.files import BundleSet
from ocitool.bundles.inventory import Have
from ocitool.bundles.mapping import Below
from ocitool.concurrency import DEFAULT_JOBS, Stop, run_all
from ocitool.errors import IntegrityError, NotFound, Refused
from ocitool.events import SILENT, Observer
from ocitool.image.content import Source
from ocitool.image.graph import closure_of
from ocitool.oci import Descriptor, Digest, Reference
from ocitool.places.layout import Layout
from ocitool.places.registry import Registries, Repository, Session
from ocitool.places.registry.listing import catalog, tags
from ocitool.places.registry.referrers import referrers


def inventory_of_layout(
    layout: Layout, *, unreferenced: bool = False, observer: Observer = SILENT
) -> Have:
    """Return the blobs that the images of a store or layout need and that are there.

    `unreferenced` adds those that no image needs, such as what an interrupted transfer left. An
    image that is damaged is left out, with a warning. No blob is hashed: `load` does that with
    those that it relies on.
    """
    found: set[str] = set()
    images: dict[str, str] = {}
    for root in layout.roots():
        blobs = _blobs(layout, root.descriptor, root.called, observer)
        if blobs is None:
            continue
        found |= {str(blob.digest) for blob in blobs if layout.has(blob)}
        images |= dict.fromkeys(root.names, str(root.descriptor.digest))
    if unreferenced:
        found |= set(map(str, layout.blob_digests()))
    return Have(
        place="store" if layout.is_store else "layout",
        blobs=tuple(sorted(found)),
        images=dict(sorted(images.items())),
    )


def inventory_of_bundle(bundle: BundleSet) -> Have:
    """Return what a place has in which a bundle was loaded: its blobs and those it requires."""
    listing = bundle.head.listing
    names = {image.name: image.digest for image in listing.images if image.name is not None}
    return Have(
        place="bundle",
        scope=str(bundle.head.digest),
        blobs=tuple(sorted(map(str, listing.digests()))),
        images=dict(sorted(names.items())),
    )


def inventory_of_registry(
    below: Below,
    registries: Registries,
    *,
    repositories: Sequence[str] = (),
    jobs: int = DEFAULT_JOBS,
    observer: Observer = SILENT,
) -> Have:
    """Return the blobs of all images below a prefix of a registry, with what is attached to them.

    Without `repositories`, which are below the prefix too, the registry is asked for its list:
    Refused where it has none, NotFound where nothing is below the prefix of a registry that has
    something; one that has nothing yet, at a new site, has an empty inventory. Only manifests are
    read: a registry that has one has what it lists.
    """
    paths = _paths(below, registries, repositories, observer)
    reader = _RepositoryReader(below.domain, registries, observer)
    run_all([_reading(reader, path) for path in paths], jobs, abort=registries.abort)
    blobs = sorted({digest for found in reader.blobs.values() for digest in found})
    positions = {digest: number for number, digest in enumerate(blobs)}
    return Have(
        place="registry",
        scope="/".join(part for part in (below.domain, below.path) if part),
        blobs=tuple(blobs),
        repositories={
            path: tuple(sorted(positions[digest] for digest in found))
            for path, found in sorted(reader.blobs.items())
        },
        images=dict(sorted(reader.images.items())),
    )


def _paths(
    below: Below, registries: Registries, repositories: Sequence[str], observer: Observer
) -> list[str]:
    """Return the repositories to look into, sorted."""
    if repositories:
        named = {below.destination(Reference.parse(_named(text)).name) for text in repositories}
        return sorted(reference.path for reference in named)
    try:
        listed = catalog(Session(registries, below.domain))
    except Refused as error:
        raise Refused(
            error.message, hint="name the repositories to look into: --repository, also repeated"
        ) from error
    prefix = f"{below.path}/" if below.path else ""
    found = [path for path in listed if path == below.path or path.startswith(prefix)]
    if not listed:
        observer.warn(f"{below.domain} lists no repository: the inventory is empty")
    elif not found:
        raise NotFound(
            f"{below.domain} lists no repository below {below.path!r}",
            hint=f"`ocitool registry catalog {below.domain}` lists all of them",
        )
    return found


def _named(path: str) -> str:
    """Return a repository without a host as a name that `Below` takes as it stands."""
    return f"registry.invalid/{path.strip('/')}:latest"


def _reading(reader: "_RepositoryReader", path: str) -> Callable[[Stop], None]:
    return lambda stop: reader.read(path, stop)


class _RepositoryReader:
    """Reads which blobs repositories of one registry have. Thread-safe."""

    def __init__(self, domain: str, registries: Registries, observer: Observer) -> None:
        self._domain = domain
        self._registries = registries
        self._observer = observer
        self._lock = threading.Lock()
        self.blobs: dict[str, set[str]] = {}
        self.images: dict[str, str] = {}

    def read(self, path: str, stop: Stop) -> None:
        """Read one repository: all its tags, and what is attached to what they name."""
        repository = Repository.of(self._registries, Reference(self._domain, path, None, None))
        tagged: dict[str, Descriptor] = {}
        for tag in tags(repository.session):
            stop.check()
            reference = Reference(self._domain, path, tag, None)
            try:
                tagged[reference.name] = repository.fetch(reference)
            except (NotFound, IntegrityError) as error:
                self._observer.warn(f"{reference.familiar} is left out: {error.message}")
        blobs = self._with_attached(repository, tagged.values(), stop)
        with self._lock:
            self.images |= {name: str(found.digest) for name, found in tagged.items()}
            self.blobs[path] = blobs

    def _with_attached(
        self, repository: Repository, roots: Iterable[Descriptor], stop: Stop
    ) -> set[str]:
        found: set[str] = set()
        waiting = {root.digest: root for root in roots}
        seen: set[Digest] = set()
        while waiting:
            stop.check()
            digest, root = waiting.popitem()
            seen.add(digest)
            closure = _blobs(repository, root, f"{repository.name}@{digest}", self._observer)
            if closure is None:
                continue
            found |= {str(one.digest) for one in closure}
            for entry in referrers(repository, digest):
                if entry.digest not in seen:
                    waiting[entry.digest] = entry
        return found


def _blobs(
    source: Source, root: Descriptor, called: str, observer: Observer
) -> Sequence[Descriptor] | None:
    """Return all that an image needs; None, with a warning, for one that cannot be read."""
    try:
        return closure_of(source, root).descriptors
    except (NotFound, IntegrityError) as error:
        observer.warn(f"{called} is left out: {error.message}")
        return None
