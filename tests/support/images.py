"""Images for tests, built byte for byte from plain data, and the places that hold them.

Nothing here uses the code under test for anything but its value types: the JSON, the tars and the
compressed layers come from the standard library. Equal arguments give equal bytes.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ocitool.oci import Descriptor, Digest, Platform, Reference

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["none", "gzip", "zstd", "bzip2", "xz"]

CREATED = "2024-05-06T07:08:09Z"
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link, as the content of a member."""

    target: str


@dataclass(frozen=True, slots=True)
class HardLink:
    """A hard link, as the content of a member; the target is a path from the root of the tar."""

    target: str


Content = bytes | Symlink | HardLink
Members = Mapping[str, Content] | Iterable[tuple[str, Content]]


class Built(Protocol):
    """A manifest or index with everything below it, ready to be put into a place."""

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest or index."""

    @property
    def blobs(self) -> Mapping[Digest, bytes]:
        """The bytes of the root and of all that it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image for one platform. `tars` are its layers, uncompressed."""

    descriptor: Descriptor
    blobs: Mapping[Digest, bytes]
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    tars: tuple[bytes, ...]

    @property
    def manifest(self) -> bytes:
        """The bytes of the manifest."""
        return self.blobs[self.descriptor.digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltIndex:
    """An index. `children` are the descriptors that it lists, attestations last."""

    descriptor: Descriptor
    blobs: Mapping[Digest, bytes]
    images: tuple[BuiltImage, ...]
    children: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltArtifact:
    """A manifest that is no image, usually with a `subject`."""

    descriptor: Descriptor
    blobs: Mapping[Digest, bytes]
    content: Descriptor


def tar_of(members: Members, *, end: bool = True) -> bytes:
    """Return a tar of the members in their order. A path that ends in "/" is a folder.

    Give pairs instead of a mapping for two members of one path. `end` False leaves out the zero
    blocks at the end.
    """
    out = io.BytesIO()
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in pairs:
            member = tarfile.TarInfo(path.rstrip("/"))
            member.mode = 0o644
            if isinstance(content, Symlink):
                member.type, member.linkname = tarfile.SYMTYPE, content.target
            elif isinstance(content, HardLink):
                member.type, member.linkname = tarfile.LNKTYPE, content.target
            elif path.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                continue
            tar.addfile(member)
        length = tar.offset
    return out.getvalue() if end else out.getvalue()[:length]


def whiteout(path: str) -> str:
    """Return the path of the member that deletes `path` from the layers below."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.wh.{name}" if folder else f".wh.{name}"


def compressed(data: bytes, compression: Compression) -> bytes:
    """Return the data compressed, by the standard library."""
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if compression == "zstd":
        return zstd.compress(data)
    if compression == "bzip2":
        return bz2.compress(data)
    if compression == "xz":
        return lzma.compress(data)
    return data


def as_json(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def describe(
    data: bytes,
    media_type: str,
    *,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
    algorithm: str = "sha256",
) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(
        media_type=media_type,
        digest=Digest(algorithm, hashlib.new(algorithm, data).hexdigest()),
        size=len(data),
        platform=platform,
        annotations=dict(annotations or {}),
    )


def layer_type(compression: Compression, *, docker: bool = False) -> str:
    """Return the media type of a layer; bzip2 and xz have none and are called plain."""
    if docker:
        suffixes = {"gzip": ".gzip", "zstd": ".zstd"}
        return f"{DOCKER}.image.rootfs.diff.tar{suffixes.get(compression, '')}"
    suffixes = {"gzip": "+gzip", "zstd": "+zstd"}
    return f"{OCI}.layer.v1.tar{suffixes.get(compression, '')}"


def build_image(
    layers: Sequence[bytes | Members] = ({"etc/os-release": b"ID=test\n"},),
    *,
    platform: str = "linux/amd64",
    history: Sequence[Mapping[str, object]] | None = None,
    compression: Compression = "gzip",
    docker: bool = False,
    algorithm: str = "sha256",
    config: Mapping[str, object] | None = None,
    manifest: Mapping[str, object] | None = None,
) -> BuiltImage:
    """Build an image of the layers, each a tar or the members of one.

    `config` and `manifest` replace or add fields of these two documents. `docker` uses Docker's
    media types, `algorithm` names the stored blobs. The default history has one step a layer.
    """
    tars = tuple(layer if isinstance(layer, bytes) else tar_of(layer) for layer in layers)
    stored = tuple(compressed(tar, compression) for tar in tars)
    diff_ids = tuple(Digest("sha256", hashlib.sha256(tar).hexdigest()) for tar in tars)
    if history is None:
        history = [
            {"created": CREATED, "created_by": f"/bin/sh -c step {n + 1}"} for n in range(len(tars))
        ]
    wanted = Platform.parse(platform)
    fields: dict[str, object] = {
        "created": CREATED,
        **wanted.to_json(),
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in diff_ids]},
        "history": list(history),
        **(config or {}),
    }
    config_bytes = as_json(fields)
    config_type = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
    config_descriptor = describe(config_bytes, config_type, algorithm=algorithm)
    media_type = layer_type(compression, docker=docker)
    descriptors = tuple(describe(data, media_type, algorithm=algorithm) for data in stored)
    manifest_type = (
        f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json"
    )
    manifest_bytes = as_json(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config_descriptor.to_json(),
            "layers": [descriptor.to_json() for descriptor in descriptors],
            **(manifest or {}),
        }
    )
    root = describe(manifest_bytes, manifest_type, platform=wanted, algorithm=algorithm)
    blobs = dict(zip([d.digest for d in descriptors], stored, strict=True))
    blobs |= {config_descriptor.digest: config_bytes, root.digest: manifest_bytes}
    return BuiltImage(
        descriptor=root,
        blobs=blobs,
        config=config_descriptor,
        layers=descriptors,
        diff_ids=diff_ids,
        tars=tars,
    )


def build_index(
    images: Sequence[BuiltImage],
    *,
    attested: bool = False,
    docker: bool = False,
    fields: Mapping[str, object] | None = None,
    others: Sequence[BuiltIndex] = (),
) -> BuiltIndex:
    """Build an index of the images, and with `attested` an attestation of each as BuildKit does.

    `others` are indexes to nest in it, `fields` more fields of the document.
    """
    blobs: dict[Digest, bytes] = {}
    for blobs_of_one in [part.blobs for part in images] + [part.blobs for part in others]:
        blobs |= blobs_of_one
    children = [image.descriptor for image in images] + [other.descriptor for other in others]
    for image in images if attested else ():
        attestation, content = _attestation(image)
        blobs |= content
        children.append(attestation)
    media_type = (
        f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json"
    )
    data = as_json(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [child.to_json() for child in children],
            **(fields or {}),
        }
    )
    root = describe(data, media_type)
    blobs[root.digest] = data
    return BuiltIndex(descriptor=root, blobs=blobs, images=tuple(images), children=tuple(children))


def _attestation(image: BuiltImage) -> tuple[Descriptor, dict[Digest, bytes]]:
    statement = as_json({"_type": "statement", "subject": str(image.descriptor.digest)})
    layer = describe(statement, "application/vnd.in-toto+json")
    config = as_json({"architecture": "unknown", "os": "unknown", "rootfs": _rootfs(layer)})
    described = describe(config, f"{OCI}.config.v1+json")
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": described.to_json(),
            "layers": [layer.to_json()],
        }
    )
    root = describe(
        manifest,
        f"{OCI}.manifest.v1+json",
        platform=Platform(os="unknown", architecture="unknown"),
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": str(image.descriptor.digest),
        },
    )
    return root, {layer.digest: statement, described.digest: config, root.digest: manifest}


def _rootfs(layer: Descriptor) -> dict[str, object]:
    return {"type": "layers", "diff_ids": [str(layer.digest)]}


def build_artifact(
    subject: Descriptor | None,
    content: bytes = b"a signature",
    *,
    artifact_type: str = "application/vnd.example.signature",
) -> BuiltArtifact:
    """Build an artifact that is attached to `subject`, as `oras attach` does."""
    empty = describe(b"{}", "application/vnd.oci.empty.v1+json")
    layer = describe(content, "application/octet-stream")
    fields: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "artifactType": artifact_type,
        "config": empty.to_json(),
        "layers": [layer.to_json()],
    }
    if subject is not None:
        fields["subject"] = describe_plain(subject).to_json()
    manifest = as_json(fields)
    root = describe(manifest, f"{OCI}.manifest.v1+json")
    return BuiltArtifact(
        descriptor=root,
        blobs={empty.digest: b"{}", layer.digest: content, root.digest: manifest},
        content=layer,
    )


def describe_plain(descriptor: Descriptor) -> Descriptor:
    """Return media type, digest and size of a descriptor alone."""
    return Descriptor(
        media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size
    )


# Places. A name with "/" or ":" is a full reference, any other a bare tag.


def named_entry(descriptor: Descriptor, name: str | None) -> dict[str, object]:
    """Return an entry of index.json under a name, with the annotations that docker writes."""
    value = describe_plain(descriptor).to_json()
    if descriptor.platform is not None:
        value["platform"] = descriptor.platform.to_json()
    annotations = dict(descriptor.annotations)
    if name is not None and ("/" in name or ":" in name):
        reference = Reference.parse(name)
        annotations[IMAGE_NAME] = reference.name
        annotations[REF_NAME] = reference.tag or reference.name
    elif name is not None:
        annotations[REF_NAME] = name
    if annotations:
        value["annotations"] = dict(sorted(annotations.items()))
    return value


def index_file(entries: Iterable[Mapping[str, object]]) -> bytes:
    """Return an index.json of these entries."""
    return as_json(
        {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(entries)}
    )


def layout_files(
    images: Mapping[str, Built],
    nameless: Sequence[Built] = (),
    *,
    without: Iterable[Digest] = (),
) -> dict[str, bytes]:
    """Return the files of an OCI layout by their path; `without` are blobs to leave out."""
    entries = [named_entry(image.descriptor, name) for name, image in images.items()]
    entries += [named_entry(image.descriptor, None) for image in nameless]
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": index_file(entries),
    }
    left_out = set(without)
    for image in (*images.values(), *nameless):
        for digest, data in image.blobs.items():
            if digest not in left_out:
                files[f"blobs/{digest.algorithm}/{digest.hex}"] = data
    return files


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder, made with its parents, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def write_layout(
    folder: Path,
    images: Mapping[str, Built],
    nameless: Sequence[Built] = (),
    *,
    without: Iterable[Digest] = (),
) -> Path:
    """Write an OCI layout directory and return it."""
    return write_files(folder, layout_files(images, nameless, without=without))


def docker_manifest(
    entries: Sequence[tuple[str, Sequence[str] | None, Sequence[str]]],
) -> bytes:
    """Return a manifest.json of (config path, tags, layer paths)."""
    return as_json(
        [
            {"Config": config, "RepoTags": None if tags is None else list(tags), "Layers": [*paths]}
            for config, tags, paths in entries
        ]
    )


def docker_members(images: Mapping[str, BuiltImage]) -> dict[str, Content]:
    """Return the members that `docker save` wrote before version 25, plain layers in folders.

    A layer of two images is stored once and is a symbolic link the second time, as there.
    """
    members: dict[str, Content] = {}
    entries: list[tuple[str, Sequence[str] | None, Sequence[str]]] = []
    places: dict[Digest, str] = {}
    for name, image in images.items():
        paths = []
        parent = ""
        for diff_id, tar in zip(image.diff_ids, image.tars, strict=True):
            parent = hashlib.sha256(f"{parent}{name}{diff_id}".encode()).hexdigest()
            path = f"{parent}/layer.tar"
            members[f"{parent}/"] = b""
            members[f"{parent}/VERSION"] = b"1.0"
            members[f"{parent}/json"] = as_json({"id": parent})
            known = places.setdefault(diff_id, path)
            members[path] = tar if known == path else Symlink(f"../{known}")
            paths.append(path)
        config = f"{image.config.digest.hex}.json"
        members[config] = image.blobs[image.config.digest]
        entries.append((config, [name] if name else None, paths))
    members["manifest.json"] = docker_manifest(entries)
    members["repositories"] = b"{}"
    return members


def docker_archive(images: Mapping[str, BuiltImage]) -> bytes:
    """Return an archive as `docker save` wrote it before version 25."""
    return tar_of(docker_members(images))


def oci_archive(
    images: Mapping[str, Built],
    nameless: Sequence[Built] = (),
    *,
    without: Iterable[Digest] = (),
) -> bytes:
    """Return a tar of an OCI layout."""
    return tar_of(layout_files(images, nameless, without=without))


def hybrid_members(
    images: Mapping[str, BuiltImage], nameless: Sequence[Built] = ()
) -> dict[str, Content]:
    """Return the members of an OCI layout that is a docker archive too, as Docker 29 writes it."""
    members: dict[str, Content] = dict(layout_files(images, nameless))
    members["manifest.json"] = docker_manifest(
        [
            (blob_path(image.config), [name], [blob_path(layer) for layer in image.layers])
            for name, image in images.items()
        ]
    )
    return members


def hybrid_archive(images: Mapping[str, BuiltImage], nameless: Sequence[Built] = ()) -> bytes:
    """Return an archive that is both an OCI layout and a docker archive."""
    return tar_of(hybrid_members(images, nameless))


def blob_path(descriptor: Descriptor) -> str:
    """Return where a layout keeps a blob."""
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
