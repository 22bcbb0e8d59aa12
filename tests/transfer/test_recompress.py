"""Conversion: bytes change where they must, and nothing else does."""

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, UsageError
from ocitool.oci import Descriptor, Digest, Index, Manifest, parse_manifest
from ocitool.places.layout import Layout
from ocitool.transfer.report import CopyReport
from tests.support.images import (
    BuiltImage,
    Compression,
    Content,
    blob_path,
    build_image,
    build_index,
    compressed,
    docker_archive,
    docker_manifest,
    docker_members,
    hybrid_archive,
    index_file,
    layout_files,
    oci_archive,
    tar_of,
    write_layout,
)
from tests.support.stores import assert_whole, checked, contents, load_archive, roots_of, written

NAME = "docker.io/library/a:1"
LAYERS: tuple[dict[str, Content], ...] = ({"a": b"1" * 5000}, {"b": b"2" * 5000})
MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "none": b"a"}


def image_of(compression: Compression, *, docker: bool = False) -> BuiltImage:
    return build_image(LAYERS, compression=compression, docker=docker)


def document_of(store: Path, digest: Digest) -> Manifest | Index:
    raw = (store / f"blobs/{digest.algorithm}/{digest.hex}").read_bytes()
    return parse_manifest(raw, None)


def manifest_in(store: Path, name: str = NAME) -> Manifest:
    document = document_of(store, roots_of(store)[name])
    assert isinstance(document, Manifest)
    return document


def blob_in(store: Path, descriptor: Descriptor) -> bytes:
    return (store / blob_path(descriptor)).read_bytes()


def converted(tmp_path: Path, image: BuiltImage, compression: str) -> CopyReport:
    archive = written(tmp_path / "x.tar", oci_archive({NAME: image}))
    return load_archive(archive, tmp_path / "s", compression=compression)


ALL = [(a, b) for a in ("gzip", "zstd", "none") for b in ("gzip", "zstd", "none")]


@pytest.mark.parametrize(("before", "after"), ALL)
def test_layers_get_the_compression_that_is_asked_for(
    tmp_path: Path, before: Compression, after: str
) -> None:
    converted(tmp_path, image_of(before), after)
    for layer in manifest_in(tmp_path / "s").layers:
        assert blob_in(tmp_path / "s", layer).startswith((MAGIC[after], b"b"))
        suffix = {"none": "tar"}.get(after, f"tar+{after}")
        assert layer.media_type == f"application/vnd.oci.image.layer.v1.{suffix}"
    assert_whole(tmp_path / "s")


@pytest.mark.parametrize(("before", "after"), ALL)
def test_the_image_id_is_kept(tmp_path: Path, before: Compression, after: str) -> None:
    image = image_of(before)
    report = converted(tmp_path, image, after)
    assert report.images[0].image_id == image.config.digest


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_what_has_the_compression_already_keeps_its_digest(
    tmp_path: Path, compression: Compression
) -> None:
    image = image_of(compression)
    report = converted(tmp_path, image, compression)
    assert report.images[0].digest == image.descriptor.digest
    assert report.conversions == ()


def test_an_indented_manifest_keeps_its_digest_when_no_layer_changes(tmp_path: Path) -> None:
    image = image_of("gzip", docker=True)
    indented = json.dumps(json.loads(image.manifest), indent=3).encode()
    entry = {**image.descriptor.to_json(), "digest": str(Digest.of(indented))}
    entry |= {"size": len(indented), "annotations": {"io.containerd.image.name": NAME}}
    files = layout_files({NAME: image})
    files |= {
        f"blobs/sha256/{Digest.of(indented).hex}": indented,
        "index.json": index_file([entry]),
    }
    archive = written(tmp_path / "x.tar", tar_of(files))
    report = load_archive(archive, tmp_path / "s", compression="gzip")
    assert report.images[0].digest == Digest.of(indented)


@pytest.mark.parametrize("compression", [None, "keep"])
@pytest.mark.parametrize("stored", ["gzip", "zstd", "none"])
def test_without_a_wish_an_oci_image_is_left_alone(
    tmp_path: Path, compression: str | None, stored: Compression
) -> None:
    image = image_of(stored)
    archive = written(tmp_path / "x.tar", oci_archive({NAME: image}))
    report = load_archive(archive, tmp_path / "s", compression=compression)
    assert report.images[0].digest == image.descriptor.digest
    assert report.conversions == ()


@pytest.mark.parametrize(
    ("wish", "expected"), [(None, "gzip"), ("keep", "none"), ("zstd", "zstd"), ("none", "none")]
)
def test_plain_layers_of_a_docker_archive_are_compressed_unless_kept(
    tmp_path: Path, wish: str | None, expected: str
) -> None:
    archive = written(tmp_path / "x.tar", docker_archive({NAME: image_of("gzip")}))
    report = load_archive(archive, tmp_path / "s", compression=wish)
    layer = manifest_in(tmp_path / "s").layers[0]
    assert blob_in(tmp_path / "s", layer).startswith(MAGIC[expected])
    assert report.conversions[0].old is None
    assert report.conversions[0].new == report.images[0].digest
    assert report.conversions[0].layers == (0 if expected == "none" else 2)
    assert_whole(tmp_path / "s")


@pytest.mark.parametrize("codec", ["gzip", "zstd", "bzip2", "xz"])
def test_compressed_layers_of_a_docker_archive_stay_if_there_is_a_type_for_them(
    tmp_path: Path, codec: Compression
) -> None:
    image = image_of("gzip")
    members = docker_members({NAME: image})
    paths = [path for path in members if path.endswith("/layer.tar")]
    stored = [compressed(tar, codec) for tar in image.tars]
    members |= dict(zip(paths, stored, strict=True))
    load_archive(written(tmp_path / "x.tar", tar_of(members)), tmp_path / "s")
    layers = [blob_in(tmp_path / "s", layer) for layer in manifest_in(tmp_path / "s").layers]
    if codec in ("gzip", "zstd"):
        assert layers == stored
    else:
        assert [gzip.decompress(layer) for layer in layers] == list(image.tars)


def test_an_unknown_compression_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lzma"):
        converted(tmp_path, image_of("gzip"), "lzma")


def test_each_conversion_tells_old_and_new(tmp_path: Path) -> None:
    image = image_of("gzip")
    (conversion,) = converted(tmp_path, image, "zstd").conversions
    assert conversion.old == image.descriptor.digest
    assert conversion.new == roots_of(tmp_path / "s")[NAME]
    assert (conversion.layers, conversion.compression) == (2, "zstd")


def test_only_layers_that_change_are_counted(tmp_path: Path) -> None:
    gz, plain = image_of("gzip"), image_of("none")
    layers = [gz.layers[0].to_json(), plain.layers[1].to_json()]
    mixed = build_image(LAYERS, manifest={"layers": layers})
    blobs = {**mixed.blobs, **plain.blobs}
    files = layout_files({NAME: mixed})
    files |= {f"blobs/sha256/{digest.hex}": data for digest, data in blobs.items()}
    report = load_archive(
        written(tmp_path / "x.tar", tar_of(files)), tmp_path / "s", compression="gzip"
    )
    assert report.conversions[0].layers == 1
    assert manifest_in(tmp_path / "s").layers[0] == gz.layers[0]


def test_two_conversions_give_the_same_bytes(tmp_path: Path) -> None:
    first = converted(tmp_path, image_of("none"), "gzip")
    archive = tmp_path / "x.tar"
    second = load_archive(archive, tmp_path / "other", compression="gzip")
    assert first.images[0].digest == second.images[0].digest


# Documents.


def test_unknown_fields_of_a_manifest_survive(tmp_path: Path) -> None:
    image = image_of("gzip")
    layers = [
        {**layer.to_json(), "annotations": {"n": str(n)}, "x-layer": [n, None]}
        for n, layer in enumerate(image.layers)
    ]
    extra: Mapping[str, object] = {"annotations": {"k": "v"}, "x-future": {"deep": [1]}}
    rich = build_image(LAYERS, manifest={"layers": layers, **extra})
    converted(tmp_path, rich, "zstd")
    document = json.loads(manifest_in(tmp_path / "s").raw)
    assert document["annotations"] == {"k": "v"}
    assert document["x-future"] == {"deep": [1]}
    assert [layer["x-layer"] for layer in document["layers"]] == [[0, None], [1, None]]
    assert [layer["annotations"] for layer in document["layers"]] == [{"n": "0"}, {"n": "1"}]


def test_the_config_is_not_touched(tmp_path: Path) -> None:
    image = image_of("gzip")
    converted(tmp_path, image, "zstd")
    config = manifest_in(tmp_path / "s").config
    assert config == image.config
    assert blob_in(tmp_path / "s", config) == image.blobs[image.config.digest]


def test_dockers_types_stay_for_gzip_and_plain_layers(tmp_path: Path) -> None:
    converted(tmp_path, image_of("gzip", docker=True), "none")
    manifest = manifest_in(tmp_path / "s")
    assert manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert {layer.media_type for layer in manifest.layers} == {
        "application/vnd.docker.image.rootfs.diff.tar"
    }


def test_dockers_types_become_ocis_for_zstd(tmp_path: Path) -> None:
    converted(tmp_path, image_of("gzip", docker=True), "zstd")
    manifest = manifest_in(tmp_path / "s")
    assert manifest.media_type == "application/vnd.oci.image.manifest.v1+json"
    assert json.loads(manifest.raw)["mediaType"] == manifest.media_type
    assert manifest.config.media_type == "application/vnd.oci.image.config.v1+json"
    assert {layer.media_type for layer in manifest.layers} == {
        "application/vnd.oci.image.layer.v1.tar+zstd"
    }


def test_an_index_follows_its_children_and_attestations_their_images(tmp_path: Path) -> None:
    amd64 = image_of("gzip")
    arm64 = build_image([{"c": b"3"}], platform="linux/arm64")
    index = build_index([amd64, arm64], attested=True, fields={"x-future": 1})
    archive = written(tmp_path / "x.tar", oci_archive({NAME: index}))
    report = load_archive(archive, tmp_path / "s", compression="zstd")
    document = document_of(tmp_path / "s", report.images[0].digest)
    assert isinstance(document, Index)
    assert json.loads(document.raw)["x-future"] == 1
    new = {conversion.old: conversion.new for conversion in report.conversions}
    images, attestations = document.manifests[:2], document.manifests[2:]
    assert [child.digest for child in images] == [
        new[amd64.descriptor.digest],
        new[arm64.descriptor.digest],
    ]
    assert [child.platform for child in images] == [
        amd64.descriptor.platform,
        arm64.descriptor.platform,
    ]
    assert [child.digest for child in attestations] == [c.digest for c in index.children[2:]]
    assert [child.annotations["vnd.docker.reference.digest"] for child in attestations] == [
        str(child.digest) for child in images
    ]
    assert_whole(tmp_path / "s")


def test_children_that_are_missing_stay_listed(tmp_path: Path) -> None:
    amd64 = image_of("gzip")
    arm64 = build_image([{"c": b"3"}], platform="linux/arm64")
    index = build_index([amd64, arm64])
    lacking = [digest for digest in arm64.blobs if digest not in amd64.blobs]
    archive = written(tmp_path / "x.tar", oci_archive({NAME: index}, without=lacking))
    report = load_archive(archive, tmp_path / "s", compression="zstd")
    document = document_of(tmp_path / "s", report.images[0].digest)
    assert isinstance(document, Index)
    assert document.manifests[1] == arm64.descriptor


# Once is enough.


def test_a_second_conversion_writes_no_blob(tmp_path: Path) -> None:
    archive = written(tmp_path / "x.tar", docker_archive({NAME: image_of("gzip")}))
    first = load_archive(archive, tmp_path / "s")
    inodes = {p: os.stat(p).st_ino for p in (tmp_path / "s/blobs/sha256").iterdir()}
    before = contents(tmp_path / "s")
    second = load_archive(archive, tmp_path / "s")
    assert second.images[0].digest == first.images[0].digest
    assert second.transfer.stored_blobs == 0
    assert {p: os.stat(p).st_ino for p in (tmp_path / "s/blobs/sha256").iterdir()} == inodes
    assert contents(tmp_path / "s") == before


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_layer_that_is_kept_counts_as_stored_once(
    tmp_path: Path, compression: Compression
) -> None:
    image = image_of(compression)
    first = converted(tmp_path, image, compression)
    second = converted(tmp_path, image, compression)
    assert (first.transfer.stored_blobs, second.transfer.stored_blobs) == (len(image.blobs), 0)
    assert second.transfer.existing_blobs == len(image.blobs)


def test_what_was_remembered_is_made_again_when_the_blob_is_gone(tmp_path: Path) -> None:
    archive = written(tmp_path / "x.tar", docker_archive({NAME: image_of("gzip")}))
    load_archive(archive, tmp_path / "s")
    layer = manifest_in(tmp_path / "s").layers[0]
    (tmp_path / "s" / blob_path(layer)).unlink()
    load_archive(archive, tmp_path / "s")
    assert_whole(tmp_path / "s")


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    archive = written(tmp_path / "x.tar", docker_archive({NAME: image_of("gzip")}))
    load_archive(archive, tmp_path / "s")
    for path in (tmp_path / "s/.ocitool/cache").iterdir():
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line[:-2]}x\n[1]\nnull\n" for line in lines))
    load_archive(archive, tmp_path / "s")
    assert_whole(tmp_path / "s")


def test_a_remembered_layer_is_verified_all_the_same(tmp_path: Path) -> None:
    image = image_of("gzip")
    load_archive(written(tmp_path / "x.tar", docker_archive({NAME: image})), tmp_path / "s")
    members = docker_members({NAME: image})
    path = next(path for path in members if path.endswith("/layer.tar"))
    members[path] = image.tars[0].replace(b"1", b"9", 1)
    with pytest.raises(DigestMismatch):
        load_archive(written(tmp_path / "y.tar", tar_of(members)), tmp_path / "s")


# What does not fit its diff ID.


def wrong_diff_id(compression: Compression) -> BuiltImage:
    """Return an image whose second diff ID is that of other content."""
    good = image_of(compression)
    diff_ids = [str(good.diff_ids[0]), str(Digest.of(b"other"))]
    return build_image(
        LAYERS,
        compression=compression,
        config={"rootfs": {"type": "layers", "diff_ids": diff_ids}},
    )


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("wish", ["gzip", "zstd", "none"])
def test_a_layer_that_does_not_unpack_to_its_diff_id_is_not_converted(
    tmp_path: Path, compression: Compression, wish: str
) -> None:
    with pytest.raises(DigestMismatch, match="unpacks to"):
        converted(tmp_path, wrong_diff_id(compression), wish)
    assert list(contents(tmp_path / "s")) == ["index.json"]


@pytest.mark.parametrize("codec", ["gzip", "none", "bzip2"])
def test_an_image_without_a_manifest_is_verified_by_its_diff_ids(
    tmp_path: Path, codec: Compression
) -> None:
    image = wrong_diff_id("gzip")
    members = docker_members({NAME: image})
    paths = [path for path in members if path.endswith("/layer.tar")]
    stored = [compressed(tar, codec) for tar in image.tars]
    members |= dict(zip(paths, stored, strict=True))
    with pytest.raises(DigestMismatch):
        load_archive(written(tmp_path / "x.tar", tar_of(members)), tmp_path / "s")
    assert list(contents(tmp_path / "s")) == ["index.json"]


@pytest.mark.parametrize("right", [0, 1])
def test_one_layer_under_two_diff_ids_is_refused_whichever_is_right(
    tmp_path: Path, right: int
) -> None:
    tar = tar_of({"a": b"1"})
    other = str(Digest.of(b"other"))
    diff_ids = [str(Digest.of(tar)), other] if right == 0 else [other, str(Digest.of(tar))]
    image = build_image([tar, tar], config={"rootfs": {"type": "layers", "diff_ids": diff_ids}})
    config = f"{image.config.digest.hex}.json"
    members = {
        config: image.blobs[image.config.digest],
        "layer.tar.gz": compressed(tar, "gzip"),
        "manifest.json": docker_manifest([(config, [NAME], ["layer.tar.gz", "layer.tar.gz"])]),
    }
    with pytest.raises(DigestMismatch, match="unpacks to"):
        load_archive(written(tmp_path / "x.tar", tar_of(members)), tmp_path / "s")


def test_without_conversion_a_wrong_diff_id_is_left_to_verify(tmp_path: Path) -> None:
    converted(tmp_path, wrong_diff_id("gzip"), "keep")
    assert [problem.kind for problem in checked(tmp_path / "s").problems] == ["diff-id"]


def test_a_hybrid_archive_keeps_its_manifest(tmp_path: Path) -> None:
    image = image_of("none")
    report = load_archive(
        written(tmp_path / "x.tar", hybrid_archive({NAME: image})), tmp_path / "s"
    )
    assert report.images[0].digest == image.descriptor.digest


def test_a_layout_folder_is_converted_too(tmp_path: Path) -> None:
    write_layout(tmp_path / "d", {NAME: image_of("none")})
    load_archive(tmp_path / "d", tmp_path / "s", compression="gzip")
    with Layout.existing(str(tmp_path / "s")) as layout:
        assert layout.resolve(NAME).names == (NAME,)
    assert_whole(tmp_path / "s")
