"""What an image is: instructions, history, sizes, platforms, and layers that resist."""

from pathlib import Path

import pytest

from ocitool.errors import NotFound
from ocitool.oci import Digest, Platform
from ocitool.operations.inspect import ImageReport, inspect
from ocitool.places.archive import open_archive
from ocitool.places.layout import Layout
from tests.support.images import (
    Built,
    BuiltImage,
    Compression,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    describe,
    docker_archive,
    tar_of,
    whiteout,
    write_layout,
)
from tests.support.stores import Listener, platform, written

A = "docker.io/library/a:1"
FIXTURES = Path(__file__).parents[2] / "fixtures"
ONE = build_image([{"a": b"1" * 700}, {"b": b"2", whiteout("a"): b""}])
TWO = build_image([{"a": b"1" * 700}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)


def report_of(
    tmp_path: Path,
    built: Built,
    *,
    wanted: Platform | None = None,
    required: bool = False,
    measure: bool = True,
    without: tuple[Digest, ...] = (),
) -> ImageReport:
    layout = write_layout(tmp_path / "layout", {A: built}, without=without)
    with Layout.existing(str(layout)) as source:
        (root,) = source.roots()
        return inspect(source, root, platform=wanted, required=required, measure=measure)


def test_an_image_is_told_by_its_digests(tmp_path: Path) -> None:
    report = report_of(tmp_path, ONE)
    assert (report.names, report.label) == ((A,), None)
    assert report.digest == ONE.descriptor.digest
    assert report.image_id == ONE.config.digest
    assert (report.index_digest, report.platforms, report.attestations) == (None, (), 0)
    assert str(report.platform) == "linux/amd64"
    assert report.config.raw == ONE.blobs[ONE.config.digest]


def test_layers_are_numbered_from_the_lowest(tmp_path: Path) -> None:
    layers = report_of(tmp_path, ONE).layers
    assert [(x.number, x.digest, x.diff_id) for x in layers] == [
        (number + 1, ONE.layers[number].digest, ONE.diff_ids[number]) for number in range(2)
    ]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_sizes_are_stored_tar_and_files(tmp_path: Path, compression: Compression) -> None:
    image = build_image([{"a": b"1" * 700}, {"b": b"2", "c/": b""}], compression=compression)
    layers = report_of(tmp_path, image).layers
    assert [x.size for x in layers] == [layer.size for layer in image.layers]
    assert [x.tar_size for x in layers] == [len(tar) for tar in image.tars]
    assert [x.file_bytes for x in layers] == [700, 1]
    assert [x.entries for x in layers] == [1, 2]
    assert [x.problem for x in layers] == [None, None]


def test_the_whole_counts_every_blob_once(tmp_path: Path) -> None:
    twice = build_image([{"a": b"1"}, {"b": b"2"}, {"a": b"1"}])
    report = report_of(tmp_path, twice)
    assert report.size == sum(map(len, twice.blobs.values()))
    assert report.unpacked == sum(map(len, twice.tars))


def test_without_measuring_no_layer_is_read(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE})
    for layer in ONE.layers:
        (layout / blob_path(layer)).write_bytes(b"\xff" * layer.size)
    with Layout.existing(str(layout)) as source:
        report = inspect(source, source.roots()[0], measure=False)
    assert [x.tar_size for x in report.layers] == [None, None]
    assert [x.problem for x in report.layers] == [None, None]
    assert report.unpacked is None


# History.


def steps(*created_by: str | None) -> list[dict[str, object]]:
    """Return a history; None is a step without a layer."""
    return [
        {"created_by": text} if text else {"created_by": "ENV A=1", "empty_layer": True}
        for text in created_by
    ]


def told(tmp_path: Path, *created_by: str | None) -> ImageReport:
    return report_of(tmp_path, build_image([{"a": b"1"}, {"b": b"2"}], history=steps(*created_by)))


def test_each_layer_is_told_by_the_step_that_made_it(tmp_path: Path) -> None:
    report = told(tmp_path, None, "one", None, "two", None)
    assert [x.instruction for x in report.layers] == ["one", "two"]
    assert [step.layer for step in report.steps] == [None, 1, None, 2, None]


def test_a_short_history_leaves_the_upper_layers_untold(tmp_path: Path) -> None:
    report = told(tmp_path, "one")
    assert [x.instruction for x in report.layers] == ["one", None]


def test_a_long_history_is_not_guessed_at(tmp_path: Path) -> None:
    report = told(tmp_path, "one", "two", "three")
    assert [x.instruction for x in report.layers] == [None, None]
    assert [step.instruction for step in report.steps] == ["one", "two", "three"]
    assert [step.layer for step in report.steps] == [None, None, None]


@pytest.mark.parametrize("history", [None, []])
def test_a_history_may_be_absent(tmp_path: Path, history: object) -> None:
    image = build_image([{"a": b"1"}], config={"history": history})
    report = report_of(tmp_path, image)
    assert report.steps == ()
    assert [x.instruction for x in report.layers] == [None]


def test_an_image_may_have_no_layers(tmp_path: Path) -> None:
    report = report_of(tmp_path, build_image([]))
    assert (report.layers, report.unpacked) == ((), 0)


# Platforms.


@pytest.mark.parametrize(("wanted", "image"), [("linux/amd64", ONE), ("linux/arm64", TWO)])
def test_of_an_index_the_wanted_platform_is_shown(
    tmp_path: Path, wanted: str, image: BuiltImage
) -> None:
    report = report_of(tmp_path, INDEX, wanted=platform(wanted), required=True)
    assert report.digest == image.descriptor.digest
    assert report.index_digest == INDEX.descriptor.digest
    assert report.index_media_type == INDEX.descriptor.media_type


def test_of_an_index_the_first_is_shown_when_none_is_wanted(tmp_path: Path) -> None:
    assert report_of(tmp_path, INDEX).digest == ONE.descriptor.digest


def test_a_usual_platform_that_is_not_there_gives_way_to_the_first(tmp_path: Path) -> None:
    report = report_of(tmp_path, INDEX, wanted=platform("linux/s390x"))
    assert report.digest == ONE.descriptor.digest


def test_a_platform_that_is_required_and_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="linux/s390x") as raised:
        report_of(tmp_path, INDEX, wanted=platform("linux/s390x"), required=True)
    assert raised.value.hint == "available: linux/amd64, linux/arm64"


def test_platforms_and_attestations_of_an_index_are_listed_apart(tmp_path: Path) -> None:
    report = report_of(tmp_path, INDEX)
    assert [(str(p.platform), p.digest) for p in report.platforms] == [
        ("linux/amd64", ONE.descriptor.digest),
        ("linux/arm64", TWO.descriptor.digest),
    ]
    assert report.attestations == 2


def test_an_absent_platform_is_listed_without_a_size(tmp_path: Path) -> None:
    lacking = tuple(digest for digest in TWO.blobs if digest not in ONE.blobs)
    report = report_of(tmp_path, INDEX, without=lacking)
    assert [p.size is None for p in report.platforms] == [False, True]


def test_an_absent_attestation_is_no_platform(tmp_path: Path) -> None:
    lacking = tuple(child.digest for child in INDEX.children[2:])
    report = report_of(tmp_path, INDEX, without=lacking)
    assert [str(p.platform) for p in report.platforms] == ["linux/amd64", "linux/arm64"]


def test_an_artifact_is_no_image_and_says_what_it_is(tmp_path: Path) -> None:
    artifact = build_artifact(None, artifact_type="application/vnd.example.chart")
    with pytest.raises(NotFound, match=r"not an image but an artifact .*vnd\.example\.chart"):
        report_of(tmp_path, artifact)


# Layers that resist.


def test_a_damaged_layer_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE})
    (layout / blob_path(ONE.layers[1])).write_bytes(b"\xff" * ONE.layers[1].size)
    with Layout.existing(str(layout)) as source:
        report = inspect(source, source.roots()[0])
    first, second = report.layers
    assert (first.file_bytes, first.problem) == (700, None)
    assert (second.file_bytes, second.tar_size) == (None, None)
    assert second.problem
    assert report.unpacked is None


def test_a_layer_of_another_diff_id_is_measured_and_reported(tmp_path: Path) -> None:
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(b"other"))]}
    (layer,) = report_of(tmp_path, build_image([{"a": b"1"}], config={"rootfs": rootfs})).layers
    assert layer.file_bytes == 1
    assert layer.problem is not None
    assert "unpacks to" in layer.problem


def test_a_layer_that_is_no_tar_is_reported(tmp_path: Path) -> None:
    (layer,) = report_of(tmp_path, build_image([b"this is no tar"])).layers
    assert layer.problem
    assert layer.entries is None


@pytest.mark.parametrize(
    ("media_type", "urls", "says"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", [], "encrypted"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", ["https://x.example/"], "fo"),
        ("application/vnd.example.odd", [], "not a layer"),
    ],
)
def test_a_layer_that_cannot_be_looked_into_says_why(
    tmp_path: Path, media_type: str, urls: list[str], says: str
) -> None:
    value = {**describe(b"opaque", media_type).to_json(), "urls": urls}
    known = build_image([{"a": b"1"}, {"b": b"2"}])
    layers = [value, known.layers[1].to_json()]
    image = build_image([{"a": b"1"}, {"b": b"2"}], manifest={"layers": layers})
    layout = write_layout(tmp_path / "layout", {A: image})
    (layout / f"blobs/sha256/{Digest.of(b'opaque').hex}").write_bytes(b"opaque")
    with Layout.existing(str(layout)) as source:
        layer = inspect(source, source.roots()[0]).layers[0]
    assert layer.problem is not None
    assert says in layer.problem


def test_a_file_that_hides_another_in_one_layer_counts_alone(tmp_path: Path) -> None:
    tar = tar_of([("a", b"1" * 700), ("a", b"2" * 30)])
    (layer,) = report_of(tmp_path, build_image([tar])).layers
    assert (layer.file_bytes, layer.entries) == (30, 2)


# Cache.


def test_what_was_measured_once_is_not_read_again(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE})
    Layout.create(str(layout)).close()
    first, second = Listener(), Listener()
    reports = []
    for listener in (first, second):
        with Layout.existing(str(layout)) as source:
            (root,) = source.roots()
            cache = source.cache("layers")
            reports.append(inspect(source, root, cache=cache, observer=listener))
    assert reports[0] == reports[1]
    assert first.advanced == sum(layer.size for layer in ONE.layers)
    assert second.begun == []


def test_a_layer_that_failed_is_tried_again(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE})
    Layout.create(str(layout)).close()
    path = layout / blob_path(ONE.layers[1])
    data = path.read_bytes()
    path.write_bytes(b"\xff" * len(data))
    with Layout.existing(str(layout)) as source:
        (root,) = source.roots()
        assert inspect(source, root, cache=source.cache("layers")).layers[1].problem
    path.write_bytes(data)
    with Layout.existing(str(layout)) as source:
        assert inspect(source, root, cache=source.cache("layers")).layers[1].problem is None


def test_memory_of_another_shape_is_no_obstacle(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: ONE})
    Layout.create(str(layout)).close()
    with Layout.existing(str(layout)) as source:
        (root,) = source.roots()
        source.cache("layers").update({str(ONE.layers[0].digest): {"old": 1}})
        report = inspect(source, root, cache=source.cache("layers"))
    assert report.layers[0].file_bytes == 700


# A real image.


def test_a_real_docker_archive_is_described(tmp_path: Path) -> None:
    with open_archive(str(FIXTURES / "docker20-app-single.tar")) as source:
        (root,) = source.roots()
        report = inspect(source, root)
    assert report.names == ("docker.io/fmt/app:1.0",)
    assert len(report.layers) == 5
    assert all(layer.problem is None for layer in report.layers)
    assert [layer.size for layer in report.layers] == [layer.tar_size for layer in report.layers]
    assert all(layer.instruction for layer in report.layers)
    assert [step.layer for step in report.steps if step.layer] == [1, 2, 3, 4, 5]


def test_a_plain_layer_of_an_archive_is_measured_by_its_headers(tmp_path: Path) -> None:
    image = build_image([{"a": b"\1" * (8 << 20), "b": b"2"}], compression="none")
    path = written(tmp_path / "x.tar", docker_archive({A: image}))
    with open_archive(str(path)) as source:
        before = _bytes_read()
        report = inspect(source, source.roots()[0])
        assert _bytes_read() - before < 1 << 20
    (layer,) = report.layers
    assert (layer.tar_size, layer.file_bytes, layer.entries) == (
        layer.size,
        (8 << 20) + 1,
        2,
    )
    assert layer.problem is None


def _bytes_read() -> int:
    (line,) = [x for x in Path("/proc/self/io").read_text().splitlines() if x.startswith("rchar")]
    return int(line.split()[1])


def test_of_very_many_members_of_plain_layers_only_the_size_is_told(tmp_path: Path) -> None:
    few, many = ({f"{n}": b"" for n in range(count)} for count in (9, 10_001))
    image = build_image([few, many, {"last": b""}], compression="none")
    path = written(tmp_path / "x.tar", docker_archive({A: image}))
    with open_archive(str(path)) as source:
        layers = inspect(source, source.roots()[0]).layers
    assert [layer.entries for layer in layers] == [9, None, 1]
    assert [layer.tar_size for layer in layers] == [layer.size for layer in image.layers]
    assert [layer.problem for layer in layers] == [None] * 3
