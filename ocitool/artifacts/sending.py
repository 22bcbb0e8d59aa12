"""artifact push and attach: files and folders, packed by `oras`, sent by the registry session."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec import Struct, field
from msgspec.structs import replace

from ocitool.artifacts import conventions, folders
from ocitool.artifacts.items import Item, check_media_type, item_of, items_of
from ocitool.concurrency import DEFAULT_JOBS
from ocitool.errors import UsageError
from ocitool.events import Observer
from ocitool.fsops import Directory, TemporaryFile, replace_file, scratch_folder, translated
from ocitool.image.content import Blob, PlannedImage, Root
from ocitool.image.graph import closure_of
from ocitool.oci import Descriptor, Digest, Manifest, Reference, mediatype, parse_manifest
from ocitool.oci.document import encode
from ocitool.oci.reference import DEFAULT_TAG
from ocitool.places.registry import Registries, Repository, RepositoryWriter
from ocitool.transfer.copy import TransferReport, transfer


class PackOptions(Struct, frozen=True, kw_only=True):
    """How files become an artifact. `files` are FILE, FILE:MEDIA-TYPE or folders.

    `config` is FILE or FILE:MEDIA-TYPE. Without `artifact_type` the type of the config is the type
    of the artifact; without both it is `UNKNOWN_ARTIFACT`. Folders are packed below `scratch`.
    """

    files: Sequence[str]
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    scratch: str | None = None
    jobs: int = DEFAULT_JOBS


class ArtifactReport(Struct, frozen=True, kw_only=True):
    """An artifact that was pushed. `subject` is the image that it is attached to, if any."""

    destination: Reference
    descriptor: Descriptor
    manifest: Manifest
    subject: Descriptor | None
    transfer: TransferReport

    @property
    def pinned(self) -> str:
        """The artifact by its digest, such as `ghcr.io/a/b@sha256:…`."""
        return f"{self.destination.repository}@{self.descriptor.digest}"


def push(
    registries: Registries,
    destination: Reference,
    options: PackOptions,
    *,
    observer: Observer | None = None,
) -> ArtifactReport:
    """Push files and folders as one artifact under a tag.

    Idempotent: the same content gives the same digest, and existing blobs are not sent again.
    NotFound or UsageError for files that cannot be pushed; then nothing is sent.
    """
    if destination.digest is not None:
        raise UsageError(
            f"{destination.familiar} has a digest; only the content determines the digest",
            hint=f"name it {destination.with_tag(destination.tag or DEFAULT_TAG).familiar}",
        )
    repository = Repository.of(registries, destination, writing=True)
    with _pack(options, None) as artifact:
        return _send(repository, destination, artifact, options.jobs, observer)


def attach(
    registries: Registries,
    subject: Reference,
    options: PackOptions,
    *,
    observer: Observer | None = None,
) -> ArtifactReport:
    """Push files and folders as an artifact without a tag, attached to an existing image.

    NotFound if the subject does not exist. The registry lists the artifact among the referrers of
    the subject; a registry without that API gets the tag of distribution-spec, "Referrers Tag
    Schema".
    """
    repository = Repository.of(registries, subject, writing=True)
    target = repository.fetch(subject)
    with _pack(options, target) as artifact:
        return _send(repository, replace(subject, tag=None), artifact, options.jobs, observer)


class _Artifact:
    """A source of the manifest of one artifact and of its blobs, which are files."""

    def __init__(
        self, manifest: Manifest, files: Mapping[Digest, str], subject: Descriptor | None
    ) -> None:
        self.manifest = manifest
        self.subject = subject
        self.descriptor = Descriptor(
            media_type=manifest.media_type,
            digest=Digest.of(manifest.raw),
            size=len(manifest.raw),
        )
        self._files = files

    def open(self, descriptor: Descriptor) -> Blob:
        """Return the content as a stream; a file that changed meanwhile fails its verification."""
        if descriptor.digest == self.descriptor.digest:
            return Blob.of(descriptor, self.manifest.raw, where="the manifest")
        path = self._files[descriptor.digest]
        with translated("read", path):
            file = open(path, "rb")  # noqa: SIM115
        return Blob(descriptor, file.read, where=f"{path!r}", close=file.close)


def _send(
    repository: Repository,
    destination: Reference,
    artifact: _Artifact,
    jobs: int,
    observer: Observer | None,
) -> ArtifactReport:
    root = artifact.descriptor
    tags = {root.digest: (destination.tag,)} if destination.tag is not None else {}
    documents = {root.digest: artifact.manifest.raw}
    writer = RepositoryWriter(repository, artifact, tags=tags, documents=documents)
    image = PlannedImage(root=Root(descriptor=root), closure=closure_of(artifact, root))
    report = transfer(artifact, writer, [image], jobs=jobs, observer=observer)
    return ArtifactReport(
        destination=destination,
        descriptor=root,
        manifest=artifact.manifest,
        subject=artifact.subject,
        transfer=report,
    )


@contextlib.contextmanager
def _pack(options: PackOptions, subject: Descriptor | None) -> Iterator[_Artifact]:
    """Pack the files; the temporary files exist until the end of the block."""
    if options.artifact_type is not None:
        check_media_type(options.artifact_type, "the artifact type")
    items = items_of(options.files)
    config = _config_item(options.config)
    with scratch_folder(options.scratch) as path, Directory.open(path) as scratch:
        named: list[str] = []
        annotations: dict[str, Mapping[str, str]] = {}
        for number, item in enumerate(items):
            source = os.path.abspath(item.path)
            if item.is_folder:
                source, digest = _pack_folder(scratch, str(number), item)
                annotations[source] = {
                    conventions.CONTENT_DIGEST: str(digest),
                    conventions.UNPACK: "true",
                }
            named.append(_with_type(source, item))
        _write(scratch, "annotations.json", encode(annotations))
        _write(scratch, "config.json", b"{}")
        empty = f"{scratch.child('config.json')}:{mediatype.OCI_EMPTY}"
        yield _build_artifact(
            options,
            named,
            empty if config is None else _with_type(os.path.abspath(config.path), config),
            scratch.child("annotations.json"),
            subject,
        )


def _build_artifact(
    options: PackOptions,
    named: Sequence[str],
    config: str,
    annotation_file: str,
    subject: Descriptor | None,
) -> _Artifact:
    from ocitool.artifacts.packer import pack_files

    with translated("read", ", ".join(options.files)):
        found = pack_files(
            named,
            config=config,
            annotations=options.annotations,
            annotation_file=annotation_file,
            subject=subject,
        )
    artifact_type = options.artifact_type
    if artifact_type is None and options.config is None:
        artifact_type = conventions.UNKNOWN_ARTIFACT
    raw = _encode(found.manifest, artifact_type)
    manifest = cast("Manifest", parse_manifest(raw, mediatype.OCI_MANIFEST))
    files = {Digest.parse(digest): path for digest, path in found.files.items()}
    return _Artifact(manifest, files, subject)


def _encode(manifest: Mapping[str, object], artifact_type: str | None) -> bytes:
    """Encode a manifest with its keys in the specification's order: equal content, equal bytes."""
    fields = {**manifest, "artifactType": artifact_type}
    order = (
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "subject",
        "annotations",
    )
    return encode({key: fields[key] for key in order if fields.get(key)})


def _config_item(text: str | None) -> Item | None:
    if text is None:
        return None
    item = item_of(text)
    if item.is_folder:
        raise UsageError(f"the config {item.path!r} is a folder", hint="name a file")
    if item.media_type == conventions.FILE_TYPE:
        return replace(item, media_type=conventions.UNKNOWN_CONFIG)
    return item


def _with_type(path: str, item: Item) -> str:
    """Return PATH:TYPE for oras; UsageError if a file of exactly that name exists."""
    text = f"{path}:{item.media_type}"
    if os.path.exists(text):
        raise UsageError(f"{text!r} exists, so oras would use it in place of {item.path!r}")
    return text


def _pack_folder(scratch: Directory, name: str, item: Item) -> tuple[str, Digest]:
    """Pack a folder into a file named by its title: oras takes the title from the file name."""
    with scratch.subdirectory(name, create=True, lasting=False) as folder:
        temporary = TemporaryFile.create(folder, "folder-")
        try:
            digest = folders.pack(item.path, item.title, temporary.write)
            temporary.publish(folder, item.title)
        finally:
            temporary.discard()
        return folder.child(item.title), digest


def _write(scratch: Directory, name: str, data: bytes) -> None:
    replace_file(scratch, name, data, staging=scratch)
