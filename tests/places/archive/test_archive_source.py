"""The union of manifest.json and index.json, names, and manifests that are made up."""

import json
from pathlib import Path

import pytest

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    MalformedArchive,
    MalformedDocument,
    NotFound,
    Refused,
    SizeMismatch,
)
from ocitool.image.content import Root
from ocitool.oci import Descriptor, Digest, Manifest, parse_manifest
from ocitool.places.archive import ArchiveSource, open_archive
from tests.support.images import (
    BuiltImage,
    Compression,
    Content,
    Members,
    Symlink,
    as_json,
    blob_path,
    build_image,
    build_index,
    compressed,
    docker_archive,
    docker_manifest,
    docker_members,
    hybrid_members,
    index_file,
    layout_files,
    named_entry,
    oci_archive,
    tar_of,
)
from tests.support.stores import written

A = "docker.io/library/a:1"
B = "docker.io/library/b:2"
ONE = build_image([{"a": b"1"}, {"b": b"2"}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}], config={"author": "two"})


def opened(tmp_path: Path, archive: bytes | Members) -> ArchiveSource:
    data = archive if isinstance(archive, bytes) else tar_of(archive)
    source = open_archive(str(written(tmp_path / "x.tar", data)))
    assert isinstance(source, ArchiveSource)
    return source


def roots(tmp_path: Path, archive: bytes | Members) -> tuple[Root, ...]:
    with opened(tmp_path, archive) as source:
        return source.roots()


def digests(found: tuple[Root, ...]) -> list[Digest]:
    return [root.descriptor.digest for root in found]


def manifest_of(source: ArchiveSource, root: Root) -> Manifest:
    with source.open(root.descriptor) as blob:
        document = parse_manifest(blob.read_all(1 << 20), root.descriptor.media_type)
    assert isinstance(document, Manifest)
    return document


# What is in the archive: the union.


def test_an_oci_archive_keeps_digest_and_name(tmp_path: Path) -> None:
    (root,) = roots(tmp_path, oci_archive({A: ONE}))
    assert (root.descriptor.digest, root.names) == (ONE.descriptor.digest, (A,))
    assert root.label is None


def test_a_hybrid_image_is_there_once_under_its_own_digest(tmp_path: Path) -> None:
    found = roots(tmp_path, hybrid_members({A: ONE, B: TWO}))
    assert digests(found) == [ONE.descriptor.digest, TWO.descriptor.digest]


def test_an_image_that_index_json_forgets_is_found_in_manifest_json(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE, B: TWO})
    members["index.json"] = index_file([named_entry(ONE.descriptor, A)])
    first, second = roots(tmp_path, members)
    assert (first.descriptor.digest, first.names) == (ONE.descriptor.digest, (A,))
    assert second.names == (B,)


def test_an_image_that_manifest_json_forgets_is_found_in_index_json(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE, B: TWO})
    entries = json.loads(hybrid_members({A: ONE})["manifest.json"])  # type: ignore[arg-type]
    members["manifest.json"] = as_json(entries)
    assert [root.names for root in roots(tmp_path, members)] == [(A,), (B,)]


@pytest.mark.parametrize("index", [b'{"manifests":null}', b'{"manifests":[]}', b"{}"])
def test_an_empty_index_leaves_manifest_json_in_charge(tmp_path: Path, index: bytes) -> None:
    members = {**hybrid_members({A: ONE}), "index.json": index}
    assert [root.names for root in roots(tmp_path, members)] == [(A,)]


def test_names_of_both_documents_count(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE})
    paths = [blob_path(layer) for layer in ONE.layers]
    members["manifest.json"] = docker_manifest([(blob_path(ONE.config), [B], paths)])
    assert roots(tmp_path, members)[0].names == (A, B)


def test_manifest_json_names_what_index_json_does_not(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE})
    members["index.json"] = index_file([named_entry(ONE.descriptor, None)])
    (root,) = roots(tmp_path, members)
    assert (root.descriptor.digest, root.names) == (ONE.descriptor.digest, (A,))


def test_a_full_name_replaces_a_bare_tag(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE})
    members["index.json"] = index_file([named_entry(ONE.descriptor, "1")])
    (root,) = roots(tmp_path, members)
    assert (root.names, root.label) == ((A,), None)


def test_manifest_json_names_the_index_that_holds_its_image(tmp_path: Path) -> None:
    index = build_index([ONE, build_image(platform="linux/arm64")])
    members: dict[str, Content] = dict(layout_files({"1": index}))
    paths = [blob_path(layer) for layer in ONE.layers]
    members["manifest.json"] = docker_manifest([(blob_path(ONE.config), [A], paths)])
    (root,) = roots(tmp_path, members)
    assert (root.descriptor.digest, root.names) == (index.descriptor.digest, (A,))


def test_an_entry_of_an_unknown_type_does_not_hide_the_image_that_it_is(tmp_path: Path) -> None:
    plain = build_image([{"a": b"1"}], compression="none")
    members = hybrid_members({A: plain})
    entry = named_entry(plain.descriptor, A)
    members["index.json"] = index_file([{**entry, "mediaType": "application/vnd.example.odd"}])
    with opened(tmp_path, members) as source:
        (root,) = source.roots()
        assert root.names == (A,)
        assert manifest_of(source, root).config.digest == plain.config.digest


def test_an_oci_manifest_that_lost_its_layers_gives_way(tmp_path: Path) -> None:
    # Docker 25.0.0 wrote such manifests (moby#47065).
    bare = build_image([{"a": b"1"}, {"b": b"2"}], manifest={"layers": []})
    members = hybrid_members({A: bare})
    paths = [blob_path(layer) for layer in ONE.layers]
    members |= {path: ONE.blobs[x.digest] for path, x in zip(paths, ONE.layers, strict=True)}
    members["manifest.json"] = docker_manifest([(blob_path(bare.config), [B], paths)])
    with opened(tmp_path, members) as source:
        (root,) = source.roots()
        assert root.names == (A, B)
        assert root.descriptor.digest != bare.descriptor.digest
        assert len(manifest_of(source, root).layers) == 2


# Names.


def test_several_tags_of_one_image_are_one_root(tmp_path: Path) -> None:
    (root,) = roots(tmp_path, oci_archive({A: ONE, B: ONE}))
    assert root.names == (A, B)


def test_a_bare_tag_is_a_label_and_no_name_is_invented(tmp_path: Path) -> None:
    (root,) = roots(tmp_path, oci_archive({"1.0": ONE}))
    assert (root.names, root.label) == ((), "1.0")


def test_an_image_may_have_neither_name_nor_label(tmp_path: Path) -> None:
    (root,) = roots(tmp_path, oci_archive({}, [ONE]))
    assert (root.names, root.label) == ((), None)


def test_a_full_name_in_ref_name_alone_is_a_name(tmp_path: Path) -> None:
    entry = {
        **named_entry(ONE.descriptor, None),
        "annotations": {"org.opencontainers.image.ref.name": "quay.io/x/y:3"},
    }
    members = {**layout_files({A: ONE}), "index.json": index_file([entry])}
    assert roots(tmp_path, members)[0].names == ("quay.io/x/y:3",)


def test_a_name_of_two_images_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    members = layout_files({A: ONE, B: TWO})
    members["index.json"] = index_file(
        [named_entry(ONE.descriptor, A), named_entry(TWO.descriptor, A)]
    )
    with opened(tmp_path, members) as source:
        with pytest.raises(Refused, match=r"a:1' names more than one image"):
            source.resolve(A)
        assert source.resolve(str(TWO.descriptor.digest)).names == (A,)


def test_one_tag_in_two_repositories_is_two_names(tmp_path: Path) -> None:
    names = ["docker.io/library/a:1", "docker.io/library/b:1"]
    found = roots(tmp_path, oci_archive(dict(zip(names, (ONE, TWO), strict=True))))
    assert [root.names for root in found] == [(name,) for name in names]


def test_an_image_is_found_by_name_label_and_digest(tmp_path: Path) -> None:
    with opened(tmp_path, oci_archive({A: ONE, "2": TWO})) as source:
        first, second = source.roots()
        assert source.resolve(A) == first
        assert source.resolve("2") == second
        assert source.resolve(str(TWO.descriptor.digest)) == second


def test_a_name_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    with (
        opened(tmp_path, oci_archive({A: ONE, "2": TWO})) as source,
        pytest.raises(NotFound) as raised,
    ):
        source.resolve("b:1")
    assert raised.value.hint == f"it holds {A}, 2"


def test_a_label_of_two_images_is_ambiguous(tmp_path: Path) -> None:
    members = layout_files({"1": ONE, "2": TWO})
    members["index.json"] = index_file(
        [named_entry(ONE.descriptor, "1"), named_entry(TWO.descriptor, "1")]
    )
    with (
        opened(tmp_path, members) as source,
        pytest.raises(Refused, match="more than one image"),
    ):
        source.resolve("1")


# Manifests that are made up.


def test_a_made_up_manifest_is_the_same_every_time(tmp_path: Path) -> None:
    archive = docker_archive({A: ONE})
    first = roots(tmp_path, archive)
    reordered = tar_of(dict(reversed(docker_members({B: ONE}).items())))
    assert digests(first) == digests(roots(tmp_path, reordered))


def test_a_made_up_manifest_keeps_the_bytes_of_the_config(tmp_path: Path) -> None:
    image = build_image(config={"unknown": {"z": 1, "a": 2}})
    indented = json.dumps(json.loads(image.blobs[image.config.digest]), indent=3).encode()
    members = docker_members({A: image})
    members[f"{image.config.digest.hex}.json"] = indented
    with opened(tmp_path, members) as source:
        config = manifest_of(source, source.roots()[0]).config
        assert config.digest == Digest.of(indented)
        with source.open(config) as blob:
            assert blob.read_all(1 << 20) == indented


def test_the_layers_of_a_made_up_manifest_are_their_diff_ids(tmp_path: Path) -> None:
    with opened(tmp_path, docker_archive({A: ONE})) as source:
        layers = manifest_of(source, source.roots()[0]).layers
        assert tuple(layer.digest for layer in layers) == ONE.diff_ids
        assert tuple(layer.size for layer in layers) == tuple(map(len, ONE.tars))


def with_layers(image: BuiltImage, codec: Compression) -> dict[str, Content]:
    members = docker_members({A: image})
    paths = [path for path in members if path.endswith("/layer.tar")]
    members |= {path: compressed(tar, codec) for path, tar in zip(paths, image.tars, strict=True)}
    return members


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("gzip", "+gzip"), ("zstd", "+zstd"), ("bzip2", ""), ("xz", ""), ("none", "")],
)
def test_layers_are_recognised_by_their_bytes(
    tmp_path: Path, codec: Compression, suffix: str
) -> None:
    with opened(tmp_path, with_layers(ONE, codec)) as source:
        layer = manifest_of(source, source.roots()[0]).layers[0]
        assert layer.media_type == f"application/vnd.oci.image.layer.v1.tar{suffix}"
        origin = source.synthesized[source.roots()[0].descriptor.digest].layers[0]
        assert (origin.codec, origin.diff_id) == (codec, ONE.diff_ids[0])
        with source.open(layer) as blob:
            assert blob.read_all(1 << 20) == compressed(ONE.tars[0], codec)


def test_only_images_without_a_manifest_have_an_origin(tmp_path: Path) -> None:
    members = hybrid_members({A: ONE, B: TWO})
    members["index.json"] = index_file([named_entry(ONE.descriptor, A)])
    with opened(tmp_path, members) as source:
        assert list(source.synthesized) == [source.resolve(B).descriptor.digest]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_layers_than_diff_ids_is_refused(tmp_path: Path, count: int) -> None:
    members = docker_members({A: ONE})
    paths = [path for path in members if path.endswith("/layer.tar")]
    config = f"{ONE.config.digest.hex}.json"
    members["manifest.json"] = docker_manifest([(config, [A], (paths * 2)[:count])])
    with pytest.raises(MalformedArchive, match=rf"lists {count} layers, but .* 2 diff IDs"):
        opened(tmp_path, members)


def test_layers_in_the_wrong_order_are_found_when_they_are_read(tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}, {"b": b"2"}])
    members = docker_members({A: image})
    paths = [path for path in members if path.endswith("/layer.tar")]
    config = f"{image.config.digest.hex}.json"
    members["manifest.json"] = docker_manifest([(config, [A], paths[::-1])])
    with opened(tmp_path, members) as source:
        layer = manifest_of(source, source.roots()[0]).layers[0]
        with (
            source.open(layer) as blob,
            pytest.raises(DigestMismatch, match="layer 1 of 2"),
        ):
            blob.read_all(1 << 20)


def test_one_diff_id_with_two_sizes_is_refused(tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}, {"a": b"1"}])
    members = docker_members({A: image})
    paths = [path for path in members if path.endswith("/layer.tar")]
    members[paths[1]] = image.tars[0] + bytes(512)
    with pytest.raises(MalformedArchive, match="of the same diff ID"):
        opened(tmp_path, members)


@pytest.mark.parametrize("missing", ["layer", "config"])
def test_a_missing_file_is_named_with_its_image(tmp_path: Path, missing: str) -> None:
    members = docker_members({A: ONE})
    layer = next(path for path in members if path.endswith("/layer.tar"))
    path = layer if missing == "layer" else f"{ONE.config.digest.hex}.json"
    del members[path]
    with pytest.raises(NotFound) as raised:
        opened(tmp_path, members)
    assert path in raised.value.message
    assert A in raised.value.message
    assert "incomplete" in str(raised.value.hint)


def test_an_empty_layer_path_is_a_missing_layer(tmp_path: Path) -> None:
    members = docker_members({A: ONE})
    config = f"{ONE.config.digest.hex}.json"
    members["manifest.json"] = docker_manifest([(config, [A], ["", ""])])
    with pytest.raises(NotFound, match="layer 1 of 2"):
        opened(tmp_path, members)


def test_a_blob_path_that_lies_is_refused(tmp_path: Path) -> None:
    members = {**hybrid_members({A: ONE}), "index.json": index_file([])}
    members[blob_path(ONE.layers[0])] = ONE.blobs[ONE.layers[1].digest]
    with pytest.raises(IntegrityError, match="docker would not notice"):
        opened(tmp_path, members)


def test_a_config_that_is_no_config_is_refused_by_name(tmp_path: Path) -> None:
    members = docker_members({A: ONE})
    members[f"{ONE.config.digest.hex}.json"] = b"[]"
    with pytest.raises(MalformedDocument, match=ONE.config.digest.hex):
        opened(tmp_path, members)


def test_a_layer_that_is_a_link_is_read_through_it(tmp_path: Path) -> None:
    members = docker_members({A: ONE, B: TWO})
    assert any(isinstance(content, Symlink) for content in members.values())
    with opened(tmp_path, members) as source:
        layer = manifest_of(source, source.resolve(B)).layers[0]
        with source.open(layer) as blob:
            assert blob.read_all(1 << 20) == TWO.tars[0]


# Reading.


def test_a_blob_with_another_size_is_neither_there_nor_opened(tmp_path: Path) -> None:
    layer = ONE.layers[0]
    wrong = Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size + 1)
    with opened(tmp_path, oci_archive({A: ONE})) as source:
        assert source.has(layer)
        assert not source.has(wrong)
        with pytest.raises(SizeMismatch, match=f"promises {layer.size + 1}"):
            source.open(wrong)


def test_a_missing_blob_is_not_found_with_advice(tmp_path: Path) -> None:
    layer = ONE.layers[0]
    with opened(tmp_path, oci_archive({A: ONE}, without=[layer.digest])) as source:
        assert not source.has(layer)
        with pytest.raises(NotFound, match="is missing from") as raised:
            source.open(layer)
    assert raised.value.hint


def test_a_damaged_blob_is_found_at_its_end(tmp_path: Path) -> None:
    layer = ONE.layers[0]
    data = bytearray(ONE.blobs[layer.digest])
    data[-1] ^= 1
    members = {**layout_files({A: ONE}), blob_path(layer): bytes(data)}
    with (
        opened(tmp_path, members) as source,
        source.open(layer) as blob,
        pytest.raises(DigestMismatch, match="is damaged"),
    ):
        blob.read_all(1 << 20)


def test_a_document_that_is_index_and_manifest_at_once_is_refused(tmp_path: Path) -> None:
    both = build_image(manifest={"manifests": []})
    members = hybrid_members({A: both})
    with pytest.raises(MalformedDocument, match="index and as a manifest"):
        opened(tmp_path, members)


def test_an_oci_entry_whose_manifest_is_damaged_does_not_become_another_image(
    tmp_path: Path,
) -> None:
    members = hybrid_members({A: ONE})
    members[blob_path(ONE.descriptor)] = ONE.manifest.replace(b"2", b"3", 1)
    with pytest.raises(DigestMismatch):
        opened(tmp_path, members)
