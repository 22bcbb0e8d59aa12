"""The universal tar: an OCI layout and a docker archive at once, and the same bytes every time.

Small documents come first, then the layers, each once and as they are. Times and owners are zero,
so the folder, the umask, the time zone and the clock leave no trace. docker and podman read
manifest.json, containerd, skopeo and podman index.json (image-spec image-layout.md).
"""

from collections.abc import Callable, Iterator, Sequence

from ocitool.image.content import Blob, PlannedImage
from ocitool.oci import Descriptor, Digest, Manifest, mediatype
from ocitool.oci.annotations import (
    CACHED,
    IMAGE_NAME,
    REF_NAME,
    REPOSITORIES,
    without_names,
)
from ocitool.oci.document import encode
from ocitool.oci.reference import Reference
from ocitool.places.archive.sections import (
    LAYOUT,
    LAYOUT_FILE,
    Section,
    blob_folders,
    blob_path,
    blob_section,
    file_section,
    reading,
    tar_pieces,
)


def universal_tar(
    planned: Sequence[PlannedImage], open_blob: Callable[[Descriptor], Blob], *, docker: bool = True
) -> Iterator[bytes]:
    """Yield the whole archive, piece by piece. Every blob is verified on its way.

    Without `docker` it is an OCI layout only, with no manifest.json.
    """
    return tar_pieces(_sections(planned, docker=docker), reading(open_blob))


def _sections(planned: Sequence[PlannedImage], *, docker: bool) -> Iterator[Section]:
    for path, data in archive_files(planned, docker=docker).items():
        yield file_section(path, data)
    documents, blobs = archive_contents(planned)
    yield from blob_folders([d.digest for d in (*documents, *blobs)])
    for descriptor, data in documents.items():
        yield blob_section(descriptor, data)
    for descriptor in blobs:
        yield blob_section(descriptor)


def archive_files(planned: Sequence[PlannedImage], *, docker: bool = True) -> dict[str, bytes]:
    """Return the members beside the blobs, in their order: oci-layout, index.json and so on."""
    files = {LAYOUT_FILE: LAYOUT, "index.json": index_json(planned)}
    if docker and any(image.featured is not None for image in planned):
        files["manifest.json"] = manifest_json(planned)
    return files


def archive_size(planned: Sequence[PlannedImage]) -> int:
    """Return how many bytes of documents and blobs an archive will carry."""
    documents, blobs = archive_contents(planned)
    return sum(map(len, documents.values())) + sum(blob.size for blob in blobs)


def index_json(planned: Sequence[PlannedImage]) -> bytes:
    """Return index.json: one entry per name, and one for a root without a name."""
    names = [name for image in planned for name in image.root.names]
    tags = [_tag(name) for name in names]
    tags += [image.root.label for image in planned if not image.root.names]
    entries: list[object] = []
    for image in planned:
        descriptor = image.root.descriptor
        plain = without_names(descriptor.annotations)
        # How it came into this store says nothing elsewhere.
        for key in (REPOSITORIES, CACHED):
            plain.pop(key, None)
        for name in image.root.names:
            tag = _tag(name)
            # ref.name is the tag, as oras, umoci and skopeo look it up, while it is the only one.
            short = tag if tag and tags.count(tag) == 1 else name
            entries.append(_annotated(descriptor, {**plain, IMAGE_NAME: name, REF_NAME: short}))
        if not image.root.names:
            text = image.root.label
            entries.append(_annotated(descriptor, {**plain, REF_NAME: text} if text else plain))
    return encode({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})


def manifest_json(planned: Sequence[PlannedImage]) -> bytes:
    """Return docker's manifest.json: one entry per config, with the tags of all its names."""
    images: dict[Digest, tuple[Manifest, list[str]]] = {}
    for image in planned:
        if image.featured is not None:
            digest = image.featured.config.digest
            _, tags = images.setdefault(digest, (image.featured, []))
            tags += [name for name in image.root.names if _tag(name) and name not in tags]
    return encode(
        [
            {
                "Config": blob_path(manifest.config.digest),
                "RepoTags": tags,
                "Layers": [blob_path(layer.digest) for layer in manifest.layers],
            }
            for manifest, tags in images.values()
        ]
    )


def archive_contents(
    planned: Sequence[PlannedImage],
) -> tuple[dict[Descriptor, bytes], tuple[Descriptor, ...]]:
    """Return the documents with their bytes, then all other blobs, each digest once."""
    documents: dict[Digest, tuple[Descriptor, bytes]] = {}
    configs: dict[Digest, Descriptor] = {}
    blobs: dict[Digest, Descriptor] = {}
    for image in planned:
        for descriptor, document in reversed(image.closure.documents):
            documents.setdefault(descriptor.digest, (descriptor, document.raw))
            if isinstance(document, Manifest):
                configs.setdefault(document.config.digest, document.config)
        for blob in image.closure.blobs:
            blobs.setdefault(blob.digest, blob)
    first = [blob for digest, blob in blobs.items() if digest in configs]
    last = [blob for digest, blob in blobs.items() if digest not in configs]
    others = tuple(blob for blob in (*first, *last) if blob.digest not in documents)
    return dict(documents.values()), others


def _annotated(descriptor: Descriptor, annotations: dict[str, str]) -> object:
    value = descriptor.to_json()
    value.pop("annotations", None)
    if annotations:
        value["annotations"] = annotations
    return value


def _tag(name: str) -> str | None:
    return Reference.parse(name).tag
