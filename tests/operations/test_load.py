"""load and save: all or nothing, names as they were, and one archive that every tool reads."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    NotFound,
    OcitoolError,
    Refused,
    UsageError,
)
from ocitool.formats.compression import Codec, DecompressingReader
from ocitool.oci import Digest
from ocitool.operations.load import load
from ocitool.operations.save import save_file
from ocitool.places.archive import open_archive
from ocitool.places.layout import Layout
from ocitool.transfer.report import CopyReport
from tests.support.images import (
    BuiltImage,
    Compression,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    docker_members,
    layout_files,
    oci_archive,
    tar_of,
    write_layout,
)
from tests.support.stores import (
    Listener,
    assert_whole,
    contents,
    load_archive,
    platform,
    roots_of,
    save_bytes,
    written,
)

A = "docker.io/library/a:1"
B = "docker.io/library/b:2"
ONE = build_image([{"a": b"1"}, {"b": b"2"}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


def loaded(
    tmp_path: Path, archive: bytes, *, clobber: bool = True, strict: bool = False
) -> CopyReport:
    path = written(tmp_path / "x.tar", archive)
    return load_archive(path, tmp_path / "s", clobber=clobber, strict=strict)


def damaged(image: BuiltImage, number: int) -> dict[str, bytes]:
    """Return the one blob of a layout that replaces a layer by noise of its length."""
    layer = image.layers[number]
    return {blob_path(layer): b"\xff" * layer.size}


# Loading.


def test_loading_tells_what_arrived(tmp_path: Path) -> None:
    report = loaded(tmp_path, oci_archive({A: ONE}))
    (image,) = report.images
    assert (image.names, image.digest) == ((A,), ONE.descriptor.digest)
    assert image.image_id == ONE.config.digest
    assert image.platforms == (platform("linux/amd64"),)
    assert report.transfer.stored_blobs == len(ONE.blobs)
    assert [(change.name, change.old) for change in report.moved] == [(A, None)]


def test_an_index_has_platforms_and_no_image_id(tmp_path: Path) -> None:
    (image,) = loaded(tmp_path, oci_archive({A: INDEX})).images
    assert image.image_id is None
    assert [str(p) for p in image.platforms] == ["linux/amd64", "linux/arm64"]
    assert image.digest == INDEX.descriptor.digest


def test_loading_again_changes_nothing(tmp_path: Path) -> None:
    loaded(tmp_path, oci_archive({A: ONE, B: TWO}))
    before = contents(tmp_path / "s")
    report = loaded(tmp_path, oci_archive({A: ONE, B: TWO}))
    assert contents(tmp_path / "s") == before
    assert (report.moved, report.transfer.stored_blobs) == ((), 0)


def test_a_bare_tag_is_reported_and_becomes_no_name(tmp_path: Path) -> None:
    (image,) = loaded(tmp_path, oci_archive({"1.0": ONE})).images
    assert (image.names, image.label) == ((), "1.0")
    assert roots_of(tmp_path / "s") == {}


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_when_the_second_image_fails_the_first_does_not_arrive_either(
    tmp_path: Path, kind: str
) -> None:
    loaded(tmp_path, oci_archive({"docker.io/library/old:1": build_image([{"o": b"0"}])}))
    before = contents(tmp_path / "s")
    if kind == "oci":
        archive = tar_of({**layout_files({A: ONE, B: TWO}), **damaged(TWO, 1)})
    else:
        members = docker_members({A: ONE, B: TWO})
        last = [path for path in members if path.endswith("/layer.tar")][-1]
        archive = tar_of({**members, last: TWO.tars[1].replace(b"3", b"4", 1)})
    with pytest.raises(DigestMismatch):
        loaded(tmp_path, archive)
    assert contents(tmp_path / "s") == before
    assert_whole(tmp_path / "s")


def test_a_failed_load_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        loaded(tmp_path, tar_of({**layout_files({A: ONE}), **damaged(ONE, 0)}))
    control = tmp_path / "s/.ocitool"
    assert [*(control / "tmp").iterdir(), *(control / "leases").iterdir()] == []


def test_a_failed_load_keeps_the_blobs_that_were_there_before(tmp_path: Path) -> None:
    loaded(tmp_path, oci_archive({A: ONE}))
    with pytest.raises(DigestMismatch):
        loaded(tmp_path, tar_of({**layout_files({A: ONE, B: TWO}), **damaged(TWO, 1)}))
    assert roots_of(tmp_path / "s") == {A: ONE.descriptor.digest}
    assert_whole(tmp_path / "s")


def test_a_layer_that_is_missing_names_its_digest_and_the_archive(tmp_path: Path) -> None:
    layer = ONE.layers[1].digest
    with pytest.raises(NotFound) as raised:
        loaded(tmp_path, oci_archive({A: ONE}, without=[layer]))
    assert str(layer) in raised.value.message
    assert "x.tar" in raised.value.message
    assert "incomplete" in str(raised.value.hint)


def test_another_number_of_layers_than_diff_ids_is_refused(tmp_path: Path) -> None:
    layers = [ONE.layers[0].to_json()]
    short = build_image([{"a": b"1"}, {"b": b"2"}], manifest={"layers": layers})
    with pytest.raises(IntegrityError, match=r"lists 1 layers, but its config has 2"):
        loaded(tmp_path, oci_archive({A: short}))


def test_a_name_moves_and_the_report_says_from_where(tmp_path: Path) -> None:
    loaded(tmp_path, oci_archive({A: ONE}))
    report = loaded(tmp_path, oci_archive({A: TWO}))
    (change,) = report.moved
    assert (change.old, change.new) == (ONE.descriptor.digest, TWO.descriptor.digest)
    assert roots_of(tmp_path / "s") == {A: TWO.descriptor.digest}


@pytest.mark.parametrize("archive", [oci_archive({A: TWO}), docker_archive({A: TWO})])
def test_without_clobber_a_name_stays_where_it_is(tmp_path: Path, archive: bytes) -> None:
    loaded(tmp_path, oci_archive({A: ONE}))
    before = contents(tmp_path / "s")
    with pytest.raises(Refused, match=A.rpartition("/")[2]):
        loaded(tmp_path, archive, clobber=False)
    assert contents(tmp_path / "s") == before


@pytest.mark.parametrize("archive", [oci_archive({A: ONE}), docker_archive({A: ONE})])
def test_without_clobber_the_same_image_may_come_again(tmp_path: Path, archive: bytes) -> None:
    loaded(tmp_path, archive)
    assert loaded(tmp_path, archive, clobber=False).moved == ()


def test_a_given_name_replaces_those_of_the_archive(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({A: ONE}))
    load_archive(path, tmp_path / "s", name=B)
    assert roots_of(tmp_path / "s") == {B: ONE.descriptor.digest}


def test_one_name_cannot_be_given_to_two_images(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({A: ONE, B: TWO}))
    with pytest.raises(UsageError, match="2 images"):
        load_archive(path, tmp_path / "s", name="docker.io/library/c:3")


def test_artifacts_do_not_count_when_one_name_is_given(tmp_path: Path) -> None:
    artifact = build_artifact(ONE.descriptor)
    path = written(tmp_path / "x.tar", oci_archive({A: ONE}, [artifact]))
    report = load_archive(path, tmp_path / "s", name=B)
    assert report.attached == 1
    assert roots_of(tmp_path / "s") == {B: ONE.descriptor.digest}
    assert_whole(tmp_path / "s")


def test_some_images_may_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({A: ONE, B: TWO}))
    with (
        open_archive(str(path)) as source,
        Layout.create(str(tmp_path / "s"), store=True) as layout,
    ):
        load(source, layout, roots=[source.resolve(B)])
    assert roots_of(tmp_path / "s") == {B: TWO.descriptor.digest}
    assert_whole(tmp_path / "s")


def test_one_platform_of_an_index_keeps_its_digest(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({A: INDEX}))
    load_archive(path, tmp_path / "s", platforms=[platform("linux/arm64")])
    assert roots_of(tmp_path / "s") == {A: TWO.descriptor.digest}
    assert_whole(tmp_path / "s")
    assert not (tmp_path / "s" / blob_path(ONE.config)).exists()


def test_a_platform_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", oci_archive({A: INDEX}))
    with pytest.raises(NotFound) as raised:
        load_archive(path, tmp_path / "s", platforms=[platform("linux/s390x")])
    assert raised.value.hint == "available: linux/amd64, linux/arm64"


def sparse() -> bytes:
    lacking = [digest for digest in TWO.blobs if digest not in ONE.blobs]
    return oci_archive({A: INDEX}, without=lacking)


def test_a_sparse_index_loads_and_reports_what_is_missing(tmp_path: Path) -> None:
    (image,) = loaded(tmp_path, sparse()).images
    assert image.digest == INDEX.descriptor.digest
    assert [child.digest for child in image.missing] == [TWO.descriptor.digest]
    assert_whole(tmp_path / "s")


def test_strictly_a_sparse_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"incomplete: .*linux/arm64"):
        loaded(tmp_path, sparse(), strict=True)
    assert list(contents(tmp_path / "s")) == ["index.json"]


def test_an_index_without_a_single_whole_image_is_refused(tmp_path: Path) -> None:
    lacking = [ONE.layers[0].digest]
    with pytest.raises(NotFound, match="incomplete"):
        loaded(tmp_path, oci_archive({A: INDEX}, without=lacking))


def test_children_that_arrive_later_complete_the_index(tmp_path: Path) -> None:
    loaded(tmp_path, sparse())
    (image,) = loaded(tmp_path, oci_archive({A: INDEX})).images
    assert image.missing == ()
    assert_whole(tmp_path / "s")


def test_artifacts_are_attached_and_no_images(tmp_path: Path) -> None:
    signature = build_artifact(ONE.descriptor)
    remark = build_artifact(signature.descriptor, b"a remark")
    report = loaded(tmp_path, oci_archive({A: ONE}, [signature, remark]))
    assert [image.names for image in report.images] == [(A,)]
    assert report.attached == 2
    assert_whole(tmp_path / "s")


def test_progress_ends_also_after_a_failure(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tar", tar_of({**layout_files({A: ONE}), **damaged(ONE, 0)}))
    listener = Listener()
    with (
        open_archive(str(path)) as source,
        Layout.create(str(tmp_path / "s"), store=True) as layout,
        pytest.raises(DigestMismatch),
    ):
        load(source, layout, observer=listener)
    assert listener.ended == len(listener.begun)


# Saving.


def stored(tmp_path: Path, **images: BuiltImage) -> Path:
    """Return a layout of images called docker.io/library/NAME:1."""
    named = {f"docker.io/library/{name}:1": image for name, image in images.items()}
    return write_layout(tmp_path / "layout", named)


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmembers()


def document(archive: bytes, path: str) -> object:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(path)
        assert file is not None
        return json.load(file)


def entries(archive: bytes) -> list[dict[str, object]]:
    index = document(archive, "index.json")
    assert isinstance(index, dict)
    found = index["manifests"]
    assert isinstance(found, list)
    return found


def annotations(archive: bytes) -> list[dict[str, str]]:
    return [dict(entry.get("annotations") or {}) for entry in entries(archive)]  # type: ignore[call-overload]


def test_documents_come_first_then_configs_then_layers(tmp_path: Path) -> None:
    names = [member.name for member in members(save_bytes(stored(tmp_path, a=ONE)))]
    assert names == [
        "oci-layout",
        "index.json",
        "manifest.json",
        "blobs",
        "blobs/sha256",
        blob_path(ONE.descriptor),
        blob_path(ONE.config),
        *(blob_path(layer) for layer in ONE.layers),
    ]


def test_headers_tell_nothing_of_time_owner_or_umask(tmp_path: Path) -> None:
    for member in members(save_bytes(stored(tmp_path, a=ONE))):
        assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
        assert (member.uname, member.gname) == ("", "")
        assert member.mode == (0o755 if member.isdir() else 0o644)
        assert member.isdir() or member.isreg()
        assert member.pax_headers == {}


def test_python_reads_every_blob_back(tmp_path: Path) -> None:
    archive = save_bytes(stored(tmp_path, a=ONE))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for digest, data in ONE.blobs.items():
            file = tar.extractfile(f"blobs/sha256/{digest.hex}")
            assert file is not None
            assert file.read() == data


def test_an_archive_fills_whole_records_as_tar_does(tmp_path: Path) -> None:
    archive = save_bytes(stored(tmp_path, a=ONE))
    assert len(archive) % 10240 == 0
    assert archive.endswith(bytes(1024))


def test_each_blob_is_there_once(tmp_path: Path) -> None:
    archive = save_bytes(stored(tmp_path, a=ONE, b=TWO))
    names = [member.name for member in members(archive)]
    assert len(names) == len(set(names))


def test_an_image_that_is_asked_for_twice_is_saved_once(tmp_path: Path) -> None:
    layout = stored(tmp_path, a=ONE)
    assert save_bytes(layout, [A, A]) == save_bytes(layout, [A])


def test_manifest_json_is_what_docker_wants(tmp_path: Path) -> None:
    assert document(save_bytes(stored(tmp_path, a=ONE)), "manifest.json") == [
        {
            "Config": blob_path(ONE.config),
            "RepoTags": [A],
            "Layers": [blob_path(layer) for layer in ONE.layers],
        }
    ]


def test_all_tags_of_one_image_are_in_one_entry(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE, B: ONE})
    archive = save_bytes(layout)
    (entry,) = document(archive, "manifest.json")  # type: ignore[misc]
    assert entry["RepoTags"] == [A, B]  # type: ignore[has-type]
    assert [found["digest"] for found in entries(archive)] == [str(ONE.descriptor.digest)] * 2


def test_a_name_without_a_tag_is_no_tag_for_docker(tmp_path: Path) -> None:
    name = f"docker.io/library/a@{ONE.descriptor.digest}"
    archive = save_bytes(write_layout(tmp_path / "layout", {name: ONE}))
    (entry,) = document(archive, "manifest.json")  # type: ignore[misc]
    assert entry["RepoTags"] == []  # type: ignore[has-type]
    assert annotations(archive) == [{IMAGE_NAME: name, REF_NAME: name}]
    assert loaded(tmp_path, archive).images[0].names == (name,)


def test_an_image_without_a_name_has_an_empty_list_of_tags(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {}, [ONE])
    archive = save_bytes(layout, [str(ONE.descriptor.digest)])
    (entry,) = document(archive, "manifest.json")  # type: ignore[misc]
    assert entry["RepoTags"] == []  # type: ignore[has-type]
    assert annotations(archive) == [{}]


def test_index_json_holds_the_full_name_and_the_tag(tmp_path: Path) -> None:
    archive = save_bytes(stored(tmp_path, a=ONE))
    assert annotations(archive) == [{IMAGE_NAME: A, REF_NAME: "1"}]


def test_a_tag_of_two_images_is_written_in_full(tmp_path: Path) -> None:
    archive = save_bytes(stored(tmp_path, a=ONE, b=TWO))
    assert [found[REF_NAME] for found in annotations(archive)] == [A, "docker.io/library/b:1"]


def test_a_tag_that_is_also_a_label_is_written_in_full(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE, "1": TWO})
    archive = save_bytes(layout)
    assert [found[REF_NAME] for found in annotations(archive)] == [A, "1"]


def test_a_label_stays_a_label(tmp_path: Path) -> None:
    archive = save_bytes(write_layout(tmp_path / "layout", {"stable": ONE}))
    assert annotations(archive) == [{REF_NAME: "stable"}]


def test_the_same_images_give_the_same_bytes_wherever_they_are(tmp_path: Path) -> None:
    first = stored(tmp_path / "one", a=ONE, b=TWO)
    second = stored(tmp_path / "two", a=ONE, b=TWO)
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
    former = os.umask(0o077)
    try:
        assert save_bytes(second) == save_bytes(first)
    finally:
        os.umask(former)


def test_an_index_is_saved_whole_with_one_image_for_docker(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    archive = save_bytes(layout, featured=platform("linux/arm64"))
    (entry,) = document(archive, "manifest.json")  # type: ignore[misc]
    assert entry["Config"] == blob_path(TWO.config)  # type: ignore[has-type]
    assert [found["digest"] for found in entries(archive)] == [str(INDEX.descriptor.digest)]
    names = {member.name for member in members(archive)}
    assert {f"blobs/sha256/{digest.hex}" for digest in INDEX.blobs} <= names


def test_docker_gets_the_first_image_when_its_platform_is_not_there(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    archive = save_bytes(layout, featured=platform("linux/s390x"))
    (entry,) = document(archive, "manifest.json")  # type: ignore[misc]
    assert entry["Config"] == blob_path(ONE.config)  # type: ignore[has-type]


def test_one_platform_is_saved_alone_and_complete(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    archive = save_bytes(layout, platforms=[platform("linux/arm64")])
    assert [found["digest"] for found in entries(archive)] == [str(TWO.descriptor.digest)]
    report = loaded(tmp_path, archive)
    assert report.images[0].missing == ()
    assert_whole(tmp_path / "s")


def test_saving_a_sparse_index_warns(tmp_path: Path) -> None:
    lacking = [digest for digest in TWO.blobs if digest not in ONE.blobs]
    layout = write_layout(tmp_path / "layout", {A: INDEX}, without=lacking)
    listener = Listener()
    archive = save_bytes(layout, observer=listener)
    assert any("linux/arm64" in warning for warning in listener.warnings)
    assert entries(archive)[0]["digest"] == str(INDEX.descriptor.digest)


def test_strictly_a_sparse_index_is_not_saved(tmp_path: Path) -> None:
    lacking = [digest for digest in TWO.blobs if digest not in ONE.blobs]
    layout = write_layout(tmp_path / "layout", {A: INDEX}, without=lacking)
    with pytest.raises(NotFound, match="incomplete"):
        save_bytes(layout, strict=True)


def test_blobs_with_sha512_keep_their_place(tmp_path: Path) -> None:
    image = build_image([{"a": b"1"}], algorithm="sha512")
    archive = save_bytes(stored(tmp_path, a=image))
    names = [member.name for member in members(archive)]
    assert "blobs/sha512" in names
    assert blob_path(image.layers[0]) in names
    report = loaded(tmp_path, archive)
    assert report.images[0].digest == image.descriptor.digest
    assert_whole(tmp_path / "s")


def test_artifacts_go_along_with_their_image(tmp_path: Path) -> None:
    signature = build_artifact(ONE.descriptor)
    remark = build_artifact(signature.descriptor, b"a remark")
    other = build_artifact(TWO.descriptor, b"of another image")
    layout = write_layout(tmp_path / "layout", {A: ONE, B: TWO}, [remark, signature, other])
    archive = save_bytes(layout, [A])
    assert {found["digest"] for found in entries(archive)} == {
        str(built.descriptor.digest) for built in (ONE, signature, remark)
    }
    assert len(document(archive, "manifest.json")) == 1  # type: ignore[arg-type]
    assert loaded(tmp_path, archive).attached == 2
    assert_whole(tmp_path / "s")


def test_an_artifact_of_the_chosen_platform_goes_along(tmp_path: Path) -> None:
    kept = build_artifact(TWO.descriptor, b"of arm64")
    left = build_artifact(ONE.descriptor, b"of amd64")
    layout = write_layout(tmp_path / "layout", {A: INDEX}, [kept, left])
    archive = save_bytes(layout, [A], platforms=[platform("linux/arm64")])
    assert {found["digest"] for found in entries(archive)} == {
        str(built.descriptor.digest) for built in (TWO, kept)
    }


def test_zstd_layers_are_saved_with_a_warning(tmp_path: Path) -> None:
    listener = Listener()
    save_bytes(stored(tmp_path, a=build_image(compression="zstd")), observer=listener)
    assert any("docker before version 23" in warning for warning in listener.warnings)


def test_gzip_layers_are_saved_without_a_word(tmp_path: Path) -> None:
    listener = Listener()
    save_bytes(stored(tmp_path, a=ONE), observer=listener)
    assert listener.warnings == []


def test_progress_of_saving_adds_up(tmp_path: Path) -> None:
    listener = Listener()
    save_bytes(stored(tmp_path, a=ONE), observer=listener)
    ((_, total),) = listener.begun
    assert total == sum(map(len, ONE.blobs.values()))
    assert listener.advanced + ONE.descriptor.size == total


@pytest.mark.parametrize(
    ("first", "second"), [("gzip", "zstd"), ("gzip", "none"), ("none", "gzip")]
)
def test_two_forms_of_one_image_come_back_as_they_were(
    tmp_path: Path, first: Compression, second: Compression
) -> None:
    # The same config twice: docker sees one image with two tags.
    forms = {
        A: build_image([{"a": b"1"}], compression=first),
        B: build_image([{"a": b"1"}], compression=second),
    }
    archive = save_bytes(write_layout(tmp_path / "layout", forms))
    loaded(tmp_path, archive)
    expected = {name: form.descriptor.digest for name, form in forms.items()}
    assert roots_of(tmp_path / "s") == expected


def test_an_index_and_one_of_its_images_come_back_under_their_own_names(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX, B: ONE})
    loaded(tmp_path, save_bytes(layout, featured=platform("linux/amd64")))
    assert roots_of(tmp_path / "s") == {A: INDEX.descriptor.digest, B: ONE.descriptor.digest}


# Into a file.


def saved_file(tmp_path: Path, name: str, layout: Path) -> Path:
    with Layout.existing(str(layout)) as source:
        save_file(source, source.roots(), str(tmp_path / name))
    return tmp_path / name


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
def test_a_name_that_says_gzip_gets_gzip(tmp_path: Path, name: str) -> None:
    layout = stored(tmp_path, a=ONE)
    data = saved_file(tmp_path, name, layout).read_bytes()
    assert gzip.decompress(data) == save_bytes(layout)


@pytest.mark.parametrize("name", ["x.tar.zst", "x.tzst"])
def test_a_name_that_says_zstd_gets_zstd(tmp_path: Path, name: str) -> None:
    layout = stored(tmp_path, a=ONE)
    data = saved_file(tmp_path, name, layout).read_bytes()
    reader = DecompressingReader(io.BytesIO(data))
    assert reader.read(1 << 30) == save_bytes(layout)
    assert (reader.drain(), reader.codec) == (0, Codec.ZSTD)


@pytest.mark.parametrize("name", ["x.tar.xz", "x.tbz2", "x.zip"])
def test_a_name_that_promises_another_compression_is_refused(tmp_path: Path, name: str) -> None:
    layout = stored(tmp_path, a=ONE)
    with pytest.raises(UsageError, match=name):
        saved_file(tmp_path, name, layout)
    assert not (tmp_path / name).exists()


def test_any_other_name_gets_a_plain_tar(tmp_path: Path) -> None:
    layout = stored(tmp_path, a=ONE)
    assert saved_file(tmp_path, "x.tar", layout).read_bytes() == save_bytes(layout)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_a_file_from_a_damaged_image_does_not_appear(tmp_path: Path, name: str) -> None:
    layout = stored(tmp_path, a=ONE)
    (layout / blob_path(ONE.layers[1])).write_bytes(b"\xff" * ONE.layers[1].size)
    before = set(tmp_path.iterdir())
    with pytest.raises(DigestMismatch):
        saved_file(tmp_path, name, layout)
    assert set(tmp_path.iterdir()) == before


def test_a_damaged_image_leaves_the_former_file(tmp_path: Path) -> None:
    layout = stored(tmp_path, a=ONE)
    (layout / blob_path(ONE.layers[1])).write_bytes(b"\xff" * ONE.layers[1].size)
    written(tmp_path / "x.tar", b"the former file")
    with pytest.raises(DigestMismatch):
        saved_file(tmp_path, "x.tar", layout)
    assert (tmp_path / "x.tar").read_bytes() == b"the former file"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    layout = stored(tmp_path, a=ONE)
    written(tmp_path / "x.tar", b"the former file")
    assert saved_file(tmp_path, "x.tar", layout).read_bytes() == save_bytes(layout)


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    layout = stored(tmp_path, a=ONE)
    with pytest.raises(OcitoolError):
        saved_file(tmp_path, "gone/x.tar", layout)


def test_what_was_saved_loads_with_equal_digests(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX, B: ONE, "tag": TWO})
    report = loaded(tmp_path, save_bytes(layout))
    found = {image.names or image.label: image.digest for image in report.images}
    expected: dict[object, Digest] = {
        (A,): INDEX.descriptor.digest,
        (B,): ONE.descriptor.digest,
        "tag": TWO.descriptor.digest,
    }
    assert found == expected


def test_artifacts_of_an_image_that_is_converted_are_left_out_with_a_warning(
    tmp_path: Path,
) -> None:
    signature = build_artifact(ONE.descriptor)
    remark = build_artifact(signature.descriptor, b"a remark")
    path = written(tmp_path / "x.tar", oci_archive({A: ONE}, [signature, remark]))
    listener = Listener()
    report = load_archive(path, tmp_path / "s", compression="zstd", observer=listener)
    assert report.attached == 0
    assert "left out 2 attached artifacts" in " ".join(listener.warnings)
    assert roots_of(tmp_path / "s") == {A: report.images[0].digest}


def test_artifacts_of_an_index_are_left_out_of_a_subset_with_a_warning(tmp_path: Path) -> None:
    index = build_index([ONE, TWO])
    signature = build_artifact(index.descriptor)
    path = written(tmp_path / "x.tar", oci_archive({A: index}, [signature]))
    listener = Listener()
    wanted = [platform("linux/amd64")]
    report = load_archive(path, tmp_path / "s", platforms=wanted, observer=listener)
    assert report.attached == 0
    assert "left out 1 attached artifact," in " ".join(listener.warnings)


def test_the_form_of_docker_is_saved_with_a_label_and_a_total(tmp_path: Path) -> None:
    folder = stored(tmp_path, one=build_image([{"a": b"1" * 70_000}], compression="gzip"))
    listener = Listener()
    with Layout.existing(str(folder)) as layout:
        save_file(layout, layout.roots(), str(tmp_path / "x.tar"), form="docker", observer=listener)
    assert [label for label, _ in listener.begun] == ["measuring", "saving"]
    size = (tmp_path / "x.tar").stat().st_size
    assert listener.begun[1][1] == pytest.approx(size, rel=0.2)
    assert all(total > 0 for _, total in listener.begun)
    assert listener.ended == 2
    # What was counted is what was promised: the layer as it is stored, then the plain files.
    assert listener.advanced == sum(total for _, total in listener.begun)
