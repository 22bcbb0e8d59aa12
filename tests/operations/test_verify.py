"""Is it whole? Every kind of damage is found and called by its name."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.oci import Digest
from ocitool.operations.verify import VerifyReport, verify
from ocitool.places.archive import open_archive
from ocitool.places.layout import Layout
from tests.support.images import (
    BuiltImage,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    compressed,
    describe,
    docker_archive,
    hybrid_archive,
    layout_files,
    oci_archive,
    tar_of,
    write_layout,
)
from tests.support.stores import Listener, contents, written

A = "docker.io/library/a:1"
ONE = build_image([{"a": b"1"}, {"b": b"2" * 9000}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", {A: ONE})


def report_of(layout: Path, *, fast: bool = False, jobs: int = 4) -> VerifyReport:
    with Layout.existing(str(layout)) as source:
        return verify(source, fast=fast, jobs=jobs)


def found(layout: Path, *, fast: bool = False) -> list[tuple[str, str]]:
    return [(p.kind, p.subject) for p in report_of(layout, fast=fast).problems]


def path_of(layout: Path, digest: Digest) -> Path:
    return layout / "blobs" / digest.algorithm / digest.hex


def test_a_sound_layout_has_no_problems(layout: Path) -> None:
    report = report_of(layout)
    assert report.sound
    assert (report.roots, report.blobs) == (1, len(ONE.blobs))
    assert report.size == sum(map(len, ONE.blobs.values()))
    assert (report.absent, report.unreferenced, report.unknown_files) == ((), (), ())


def test_verifying_changes_nothing(layout: Path) -> None:
    before = contents(layout)
    report_of(layout)
    assert contents(layout) == before
    assert not (layout / ".ocitool").exists()


@pytest.mark.parametrize("jobs", [1, 8])
@pytest.mark.parametrize("position", [0, 40, -1])
def test_one_flipped_bit_of_a_layer_is_found(layout: Path, position: int, jobs: int) -> None:
    path = layout / blob_path(ONE.layers[1])
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    (problem,) = report_of(layout, jobs=jobs).problems
    assert (problem.kind, problem.subject) == ("digest", str(ONE.layers[1].digest))


def test_damage_at_the_beginning_of_a_large_layer_is_a_wrong_digest(tmp_path: Path) -> None:
    noise = b"".join(Digest.of(str(n).encode()).hex.encode() for n in range(60_000))
    image = build_image([{"noise": noise}])
    layout = write_layout(tmp_path / "layout", {A: image})
    path = layout / blob_path(image.layers[0])
    data = bytearray(path.read_bytes())
    assert len(data) > 1 << 20
    # A kind of block that deflate does not have, so unpacking ends long before the blob does.
    data[10] |= 0b110
    path.write_bytes(data)
    assert found(layout) == [("digest", str(image.layers[0].digest))]


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_one_flipped_bit_of_a_document_is_found(layout: Path, which: str) -> None:
    digest = ONE.descriptor.digest if which == "manifest" else ONE.config.digest
    path = path_of(layout, digest)
    path.write_bytes(path.read_bytes().replace(b":", b";", 1))
    assert ("digest", str(digest)) in found(layout)


@pytest.mark.parametrize("fast", [False, True])
def test_a_truncated_blob_has_the_wrong_size(layout: Path, *, fast: bool) -> None:
    path = layout / blob_path(ONE.layers[1])
    os.truncate(path, 100)
    report = report_of(layout, fast=fast)
    (problem,) = [p for p in report.problems if p.kind == "size"]
    assert problem.subject == str(ONE.layers[1].digest)
    assert f"is 100 bytes; {A} needs {ONE.layers[1].size}" in problem.message


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_a_blob_that_is_gone_is_missing(layout: Path, which: str, *, fast: bool) -> None:
    digest = {
        "manifest": ONE.descriptor.digest,
        "config": ONE.config.digest,
        "layer": ONE.layers[0].digest,
    }[which]
    path_of(layout, digest).unlink()
    assert ("missing", str(digest)) in found(layout, fast=fast)


def test_a_missing_blob_is_named_with_the_image_that_needs_it(layout: Path) -> None:
    path_of(layout, ONE.layers[0].digest).unlink()
    (problem,) = report_of(layout).problems
    assert A in problem.message


def test_every_damaged_blob_is_listed(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    damaged = [ONE.layers[1], TWO.layers[1], ONE.config]
    for descriptor in damaged:
        (layout / blob_path(descriptor)).write_bytes(b"\xff" * descriptor.size)
    kinds = dict(p[::-1] for p in found(layout))
    assert {kinds[str(d.digest)] for d in damaged} == {"digest"}


def wrong_diff_id() -> BuiltImage:
    diff_ids = [str(ONE.diff_ids[0]), str(Digest.of(b"other"))]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return build_image([{"a": b"1"}, {"b": b"2" * 9000}], config={"rootfs": rootfs})


def test_a_layer_that_unpacks_to_something_else_is_found(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: wrong_diff_id()})
    assert found(layout) == [("diff-id", str(ONE.layers[1].digest))]
    assert found(layout, fast=True) == []


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_layer_that_two_images_promise_differently_is_found(tmp_path: Path, wrong: int) -> None:
    images = [ONE, wrong_diff_id()] if wrong else [wrong_diff_id(), ONE]
    layout = write_layout(tmp_path / "layout", dict(zip("ab", images, strict=True)))
    assert found(layout) == [("diff-id", str(ONE.layers[1].digest))]


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-9], lambda data: data + b"junk", lambda data: data[:5] + data]
)
def test_a_layer_that_cannot_be_unpacked_though_its_digest_is_right(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    data = spoil(compressed(ONE.tars[0], "gzip"))
    layer = describe(data, "application/vnd.oci.image.layer.v1.tar+gzip")
    image = build_image([{"a": b"1"}], manifest={"layers": [layer.to_json()]})
    layout = write_layout(tmp_path / "layout", {A: image})
    (layout / blob_path(layer)).write_bytes(data)
    (layout / blob_path(image.layers[0])).unlink()
    assert found(layout) == [("diff-id", str(layer.digest))]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none", "bzip2", "xz"])
def test_layers_are_unpacked_whatever_their_type_says(tmp_path: Path, compression: str) -> None:
    image = build_image([{"a": b"1"}], compression=compression)  # type: ignore[arg-type]
    layers = [{**image.layers[0].to_json(), "mediaType": "application/vnd.oci.image.layer.v1.tar"}]
    lying = build_image(
        [{"a": b"1"}],
        compression=compression,  # type: ignore[arg-type]
        manifest={"layers": layers},
    )
    layout = write_layout(tmp_path / "layout", {A: lying})
    assert report_of(layout).sound


def test_another_number_of_layers_than_diff_ids_is_a_bad_document(tmp_path: Path) -> None:
    layers = [ONE.layers[0].to_json()]
    short = build_image([{"a": b"1"}, {"b": b"2" * 9000}], manifest={"layers": layers})
    layout = write_layout(tmp_path / "layout", {A: short})
    assert ("document", str(short.descriptor.digest)) in found(layout)


def test_a_manifest_that_is_none_is_a_bad_document(tmp_path: Path) -> None:
    odd = build_image([{"a": b"1"}], manifest={"config": None})
    layout = write_layout(tmp_path / "layout", {A: odd})
    assert ("document", str(odd.descriptor.digest)) in found(layout, fast=True)


def test_a_config_that_is_none_is_a_bad_document(tmp_path: Path) -> None:
    odd = build_image([{"a": b"1"}], config={"rootfs": None})
    layout = write_layout(tmp_path / "layout", {A: odd})
    assert ("document", str(odd.config.digest)) in found(layout)


def test_a_damaged_config_does_not_hide_a_damaged_layer(layout: Path) -> None:
    for descriptor in (ONE.config, ONE.layers[1]):
        (layout / blob_path(descriptor)).write_bytes(b"\xff" * descriptor.size)
    assert set(found(layout)) == {
        ("digest", str(ONE.config.digest)),
        ("digest", str(ONE.layers[1].digest)),
    }


def test_an_absent_platform_is_no_damage(tmp_path: Path) -> None:
    lacking = [digest for digest in TWO.blobs if digest not in ONE.blobs]
    layout = write_layout(tmp_path / "layout", {A: INDEX}, without=lacking)
    report = report_of(layout)
    assert report.sound
    assert [child.digest for child in report.absent] == [TWO.descriptor.digest]


def test_a_platform_whose_manifest_was_cut_is_damage(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    os.truncate(layout / blob_path(TWO.descriptor), 10)
    assert ("size", str(TWO.descriptor.digest)) in found(layout)
    assert report_of(layout).absent == ()


def test_fast_reads_no_layer(layout: Path) -> None:
    path = layout / blob_path(ONE.layers[1])
    path.write_bytes(b"\xff" * ONE.layers[1].size)
    assert report_of(layout, fast=True).sound
    assert not report_of(layout).sound


def test_a_blob_that_no_image_needs_is_told_and_no_damage(layout: Path) -> None:
    extra = describe(b"extra", "x")
    (layout / blob_path(extra)).write_bytes(b"extra")
    report = report_of(layout)
    assert report.sound
    assert report.unreferenced == (extra.digest,)


def test_a_damaged_blob_that_no_image_needs_is_damage(layout: Path) -> None:
    extra = describe(b"extra", "x")
    (layout / blob_path(extra)).write_bytes(b"EXTRA")
    assert found(layout) == [("digest", str(extra.digest))]


@pytest.mark.parametrize("name", ["sha256/notes.txt", "sha256/ABC", "md5/0123", "stray"])
def test_a_file_among_the_blobs_that_is_none_is_a_stray(layout: Path, name: str) -> None:
    path = layout / "blobs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    report = report_of(layout)
    assert report.sound
    assert report.unknown_files == (f"blobs/{name}",)


def within(seconds: float, run: Callable[[], VerifyReport]) -> VerifyReport:
    """Return what `run` returns, and fail when it takes longer."""
    results: list[VerifyReport] = []
    thread = threading.Thread(target=lambda: results.append(run()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, "still running"
    return results[0]


@pytest.mark.parametrize("which", ["layer", "manifest", "unreferenced"])
def test_a_fifo_in_place_of_a_blob_is_damage_and_does_not_hang(layout: Path, which: str) -> None:
    digest = {
        "layer": ONE.layers[0].digest,
        "manifest": ONE.descriptor.digest,
        "unreferenced": Digest.of(b"extra"),
    }[which]
    path_of(layout, digest).unlink(missing_ok=True)
    os.mkfifo(path_of(layout, digest))
    report = within(20, lambda: report_of(layout))
    assert not report.sound


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_link_or_folder_in_place_of_a_blob_is_damage(
    layout: Path, tmp_path: Path, kind: str
) -> None:
    path = layout / blob_path(ONE.layers[0])
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    assert not report_of(layout).sound


@pytest.mark.parametrize("liar", [0, 1])
def test_one_of_two_entries_of_an_image_that_lies_about_its_size_is_damage(
    tmp_path: Path, liar: int
) -> None:
    layout = write_layout(tmp_path, {A: ONE, "docker.io/library/a:2": ONE})
    document = json.loads((layout / "index.json").read_bytes())
    document["manifests"][liar]["size"] += 1
    (layout / "index.json").write_text(json.dumps(document))
    assert found(layout) == [("size", str(ONE.descriptor.digest))]


def test_some_images_may_be_checked_alone(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE, "other": TWO})
    (layout / blob_path(TWO.layers[1])).write_bytes(b"\xff" * TWO.layers[1].size)
    with Layout.existing(str(layout)) as source:
        assert verify(source, [source.resolve(A)]).sound
        assert not verify(source, [source.resolve("other")]).sound


def test_artifacts_are_checked_too(tmp_path: Path) -> None:
    artifact = build_artifact(ONE.descriptor)
    layout = write_layout(tmp_path / "layout", {A: ONE}, [artifact])
    assert report_of(layout).sound
    (layout / blob_path(artifact.content)).write_bytes(b"\xff" * artifact.content.size)
    assert found(layout) == [("digest", str(artifact.content.digest))]


def test_progress_adds_up(layout: Path) -> None:
    listener = Listener()
    with Layout.existing(str(layout)) as source:
        report = verify(source, observer=listener)
    assert listener.begun == [("verifying", report.size)]
    assert (listener.advanced, listener.ended) == (report.size, 1)


@pytest.mark.parametrize(
    "archive", [oci_archive({A: ONE}), docker_archive({A: ONE}), hybrid_archive({A: ONE})]
)
def test_an_archive_is_verified_where_it_is(tmp_path: Path, archive: bytes) -> None:
    with open_archive(str(written(tmp_path / "x.tar", archive))) as source:
        assert verify(source).sound


def test_damage_in_an_archive_is_found_where_it_is(tmp_path: Path) -> None:
    layer = ONE.layers[1]
    files = {**layout_files({A: ONE}), blob_path(layer): b"\xff" * layer.size}
    with open_archive(str(written(tmp_path / "x.tar", tar_of(files)))) as source:
        assert [(p.kind, p.subject) for p in verify(source).problems] == [
            ("digest", str(layer.digest))
        ]


def test_a_blob_of_an_archive_with_another_size_has_the_wrong_size(tmp_path: Path) -> None:
    layer = ONE.layers[1]
    files = {**layout_files({A: ONE}), blob_path(layer): b"short"}
    with open_archive(str(written(tmp_path / "x.tar", tar_of(files)))) as source:
        (problem,) = verify(source).problems
    assert (problem.kind, problem.subject) == ("size", str(layer.digest))


RECORDS = {
    "pins": "pins.json",
    "containers": "containers/0123.json",
    "trash": "trash/20260102T030405.000006-01234567/run.json",
}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("fast", [False, True], ids=["whole", "fast"])
def test_a_record_of_the_store_that_cannot_be_read_is_damage(
    layout: Path, record: str, *, fast: bool
) -> None:
    assert report_of(layout, fast=fast).sound
    path = layout / ".ocitool" / RECORDS[record]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    (problem,) = report_of(layout, fast=fast).problems
    assert (problem.kind, problem.subject) == ("record", record)
    assert path.name in problem.message
