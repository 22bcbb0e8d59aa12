"""Bundles in the forms of other tools, made of built images after what these tools write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ocitool.oci import Digest
from tests.support.images import (
    Built,
    as_json,
    index_file,
    layout_files,
    named_entry,
    tar_of,
)

SKOPEO_VERSION = b"Directory Transport Version: 1.1\n"


def _text(image: Built, digest: str) -> str:
    return image.blobs[Digest.parse(digest)].decode()


def _packed(image: Built, digest: str, refs: Sequence[str], tag: str) -> dict[str, object]:
    """Return what imgpkg writes of a document and what is below it."""
    raw = _text(image, digest)
    document = json.loads(raw)
    common = {"Refs": list(refs), "Tag": tag, "OrigRef": "", "Labels": None}
    media_type = document["mediaType"]
    if "manifests" in document:
        repository = refs[0].partition("@")[0]
        children = [
            (child, _packed(image, child["digest"], [f"{repository}@{child['digest']}"], tag))
            for child in document["manifests"]
        ]
        return {
            "Images": [one for child, one in children if "index" not in child["mediaType"]],
            "Indexes": [one for child, one in children if "index" in child["mediaType"]],
            "MediaType": media_type,
            "Digest": digest,
            "Raw": raw,
            **common,
        }
    config = document["config"]["digest"]
    return {
        "Layers": [
            {"MediaType": layer["mediaType"], "Digest": layer["digest"], "Size": layer["size"]}
            for layer in document["layers"]
        ],
        "Config": {"Digest": config, "Raw": _text(image, config)},
        "Manifest": {"MediaType": media_type, "Digest": digest, "Raw": raw},
        **common,
    }


def imgpkg_entry(name: str, image: Built) -> dict[str, object]:
    """Return the entry of an image in manifest.json; its name has a tag, or nothing for none."""
    digest = str(image.descriptor.digest)
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    packed = _packed(image, digest, [f"{repository}@{digest}"], tag)
    is_index = "manifests" in json.loads(_text(image, digest))
    return (
        {"ImageIndex": packed, "Image": None} if is_index else {"ImageIndex": None, "Image": packed}
    )


def imgpkg_members(
    images: Mapping[str, Built], entries: Sequence[object] | None = None
) -> dict[str, bytes]:
    """Return the members of a tar of imgpkg; `entries` are those of manifest.json."""
    made = [imgpkg_entry(name, image) for name, image in images.items()]
    members = {"manifest.json": as_json(made if entries is None else list(entries))}
    layers = sorted(
        {layer["Digest"]: image for image in images.values() for layer in _layers(image)}.items()
    )
    for digest, image in layers:
        members[f"{digest.replace(':', '-')}.tar.gz"] = image.blobs[Digest.parse(digest)]
    return members


def _layers(image: Built) -> list[dict[str, str]]:
    documents = [json.loads(data) for data in image.blobs.values() if data.startswith(b'{"schema')]
    return [{"Digest": one["digest"]} for doc in documents for one in doc.get("layers", ())]


def sync_files(images: Mapping[str, Built]) -> dict[str, bytes]:
    """Return the files of `skopeo sync --all --dest dir`; the names are those of the folders."""
    files: dict[str, bytes] = {}
    for folder, image in images.items():
        for digest, data in image.blobs.items():
            is_child = data.startswith(b'{"schema')
            name = f"{digest.hex}.manifest.json" if is_child else digest.hex
            files[f"{folder}/{name}"] = data
        root = f"{folder}/{image.descriptor.digest.hex}.manifest.json"
        files[f"{folder}/manifest.json"] = files.pop(root)
        files[f"{folder}/version"] = SKOPEO_VERSION
    return files


def haul(images: Mapping[str, Built], attached: Sequence[tuple[str, str, Built]] = ()) -> bytes:
    """Return the tar of a haul; `attached` are names, kinds and artifacts beside the images."""
    files = layout_files(images, [artifact for _, _, artifact in attached])
    entries = [named_entry(image.descriptor, name) for name, image in images.items()]
    for entry, (name, image) in zip(entries, images.items(), strict=True):
        entry["annotations"] = _named(name, "imageIndex" if _is_index(image) else "image")
    for name, kind, artifact in attached:
        entry = named_entry(artifact.descriptor, None)
        entries.append({**entry, "annotations": _named(name, kind)})
    files["index.json"] = index_file(entries)
    return tar_of(files)


def _is_index(image: Built) -> bool:
    return "index" in image.descriptor.media_type


def _named(name: str, kind: str) -> dict[str, str]:
    short = name.partition("/")[2]
    return {
        "io.containerd.image.name": name,
        "kind": f"dev.hauler/{kind}",
        "org.opencontainers.image.ref.name": short,
    }


def write_chunks(folder: Path, name: str, data: bytes, size: int, form: str = "{}.{:03}") -> Path:
    """Cut an archive into files, numbered from 1, and return the first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, len(data), size), start=1):
        paths.append(folder / form.format(name, number))
        paths[-1].write_bytes(data[start : start + size])
    return paths[0]
