"""artifact pull: writing the files and folders of an artifact below one folder.

Only the conventions of `oras` are used here, not its code: its pull unpacks with
`tarfile.extractall`, treats the media type of a layer as proof of a folder, and overwrites files.
"""

from msgspec import Struct

from ocitool.artifacts import conventions
from ocitool.artifacts.paths import Parts, collision, parts_of
from ocitool.artifacts.placing import exists_below, place
from ocitool.artifacts.unpacking import NotThatFolder, Unpacking, open_folder
from ocitool.errors import IntegrityError, MalformedArchive, Refused, UsageError
from ocitool.events import Observer, Outcome
from ocitool.fsops import Directory, TemporaryFile, staging_folder
from ocitool.image.content import CHUNK, Blob
from ocitool.image.graph import read_document
from ocitool.oci import Descriptor, Digest, Index, Manifest, Reference, mediatype
from ocitool.oci.amounts import counted
from ocitool.oci.quoting import quoted
from ocitool.places.registry import Repository


class PulledFile(Struct, frozen=True, kw_only=True):
    """A file, or an unpacked folder, of an artifact. `title` is its path."""

    title: str
    is_folder: bool
    descriptor: Descriptor


class PullReport(Struct, frozen=True, kw_only=True):
    """The files of one artifact, in the order of its manifest."""

    descriptor: Descriptor
    artifact_type: str
    files: tuple[PulledFile, ...]


class _PlannedFile(Struct, frozen=True, kw_only=True):
    """A layer and its path. `is_folder` None: its media type allows a folder."""

    layer: Descriptor
    path: Parts
    is_folder: bool | None


def pull(
    repository: Repository,
    reference: Reference,
    destination: str,
    *,
    overwrite: bool = False,
    observer: Observer | None = None,
) -> PullReport:
    """Write the files of an artifact below a folder, which is made if it is missing.

    The files appear only after all of them were received and verified. IntegrityError for titles
    that lead out of the folder or collide; Refused for files that exist, unless `overwrite`, and
    for anything but an artifact with files.
    """
    watcher = observer or Observer()
    descriptor = repository.fetch(reference)
    manifest = _manifest(repository, reference, descriptor)
    wanted = _plan(repository, manifest, reference)
    with (
        watcher.work("pulling", sum(one.layer.size for one in wanted)),
        Directory.create(destination) as folder,
        staging_folder(folder) as gathered,
    ):
        if not overwrite:
            _check_early(folder, wanted, reference)
        receiver = _Receiver(repository, gathered, watcher)
        files = tuple(receiver.receive(one) for one in wanted)
        place(gathered, folder, overwrite=overwrite)
    return PullReport(
        descriptor=descriptor, artifact_type=manifest.effective_artifact_type, files=files
    )


def _manifest(repository: Repository, reference: Reference, descriptor: Descriptor) -> Manifest:
    document = read_document(repository, descriptor, repository.session.limits)
    if isinstance(document, Index):
        raise UsageError(
            f"{reference.familiar} is an index of {counted(len(document.manifests), 'manifest')}",
            hint="name one of them by its digest; `ocitool pull` is for images",
        )
    if document.is_image and not any(conventions.TITLE in x.annotations for x in document.layers):
        raise Refused(f"{reference.familiar} is an image, not files", hint="use `ocitool pull`")
    return document


def _plan(
    repository: Repository, manifest: Manifest, reference: Reference
) -> tuple[_PlannedFile, ...]:
    found = [
        _PlannedFile(layer=layer, path=path, is_folder=_is_folder(layer, path))
        for layer in manifest.layers
        if conventions.TITLE in layer.annotations or layer.media_type != mediatype.OCI_EMPTY
        for path in [_path(repository, layer)]
    ]
    both = collision([one.path for one in found])
    if both is not None:
        first, second = ("/".join(path) or "." for path in both)
        raise IntegrityError(
            f"{reference.familiar} has {quoted(first)} and {quoted(second)}, but not both can exist"
        )
    return tuple(found)


def _path(repository: Repository, layer: Descriptor) -> Parts:
    """Return the path of a layer: its title, or its digest if it has no title, as oras does."""
    title = layer.annotations.get(conventions.TITLE)
    path = parts_of(title or str(layer.digest), repository.session.limits)
    if not path and layer.annotations.get(conventions.UNPACK) != "true":
        raise IntegrityError(f"{quoted(title)} does not name a file")
    return path


def _is_folder(layer: Descriptor, path: Parts) -> bool | None:
    said = layer.annotations.get(conventions.UNPACK)
    if said is not None:
        return said == "true"
    titled = bool(path) and conventions.TITLE in layer.annotations
    return None if titled and layer.media_type == conventions.FOLDER_TYPE else False


def _check_early(folder: Directory, wanted: tuple[_PlannedFile, ...], reference: Reference) -> None:
    """Refuse, before anything is fetched, what `place` would refuse at the end."""
    for one in wanted:
        if one.is_folder is False and exists_below(folder, one.path):
            raise Refused(
                f"{quoted(folder.child('/'.join(one.path)))} already exists; nothing of "
                f"{reference.familiar} was fetched",
                hint="--overwrite replaces it; -o DIR pulls into another folder",
            )


class _Receiver:
    """Fetches layers into the folder where everything is gathered."""

    def __init__(self, repository: Repository, gathered: Directory, observer: Observer) -> None:
        self._repository = repository
        self._gathered = gathered
        self._observer = observer
        self._unpacking = Unpacking(repository.session.limits)

    def receive(self, wanted: _PlannedFile) -> PulledFile:
        """Fetch a layer and write its file or folder."""
        is_folder = wanted.is_folder is not False and self._unpack(wanted)
        if not is_folder:
            self._save(wanted)
        self._observer.finish(wanted.layer, Outcome.STORED)
        title = "/".join(wanted.path) or "."
        return PulledFile(title=title, is_folder=is_folder, descriptor=wanted.layer)

    def _unpack(self, wanted: _PlannedFile) -> bool:
        """Unpack a folder; False, with nothing written, if the layer is a file after all."""
        said = wanted.layer.annotations.get(conventions.CONTENT_DIGEST)
        promised = Digest.parse(said) if said is not None else None
        try:
            with self._open(wanted.layer) as blob:
                self._unpacking.unpack(blob, wanted.path, self._gathered, promised)
        except NotThatFolder as error:
            if wanted.is_folder is None:
                return False
            title = "/".join(wanted.path) or "."
            raise MalformedArchive(f"{quoted(title)} is not a tar of that folder") from error
        return True

    def _save(self, wanted: _PlannedFile) -> None:
        with (
            open_folder(self._gathered, wanted.path[:-1]) as parent,
            self._open(wanted.layer) as blob,
        ):
            temporary = TemporaryFile.create(parent, ".ocitool-")
            try:
                while part := blob.read(CHUNK):
                    temporary.write(part)
                temporary.publish(parent, wanted.path[-1])
            finally:
                temporary.discard()

    def _open(self, layer: Descriptor) -> Blob:
        return self._repository.open(layer).watched(self._observer.advance)
