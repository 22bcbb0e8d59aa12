"""Any image survives saving and loading; any damage to an archive is noticed or harmless."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocitool.errors import OcitoolError
from ocitool.formats.compression import Codec, Compressor
from ocitool.oci import Digest
from tests.support.examples import part_of
from tests.support.images import (
    Built,
    BuiltImage,
    Compression,
    Content,
    Symlink,
    build_artifact,
    build_image,
    build_index,
    docker_archive,
    hybrid_archive,
    oci_archive,
    write_layout,
)
from tests.support.stores import (
    assert_whole,
    contents,
    load_archive,
    roots_of,
    save_bytes,
    written,
)

SETTINGS = settings(
    max_examples=part_of(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = tuple(f"registry.example/team/app{n}:{n % 2}" for n in range(4))

CONFIGS: tuple[dict[str, object], ...] = (
    {},
    {"history": None},
    {"x-unknown": {"b": 1, "a": [2]}},
)

paths = st.lists(st.sampled_from(["a", "b", "etc", "x.y", "ü", ".wh.a"]), min_size=1, max_size=3)
contents_of_files = st.one_of(
    st.binary(max_size=600), st.builds(Symlink, st.sampled_from(["a", "../b", "/etc"]))
)


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Content]:
    """Draw the members of a layer, often few enough to be equal to another one's."""
    found = draw(st.lists(st.tuples(paths, contents_of_files), max_size=3))
    return {"/".join(parts): content for parts, content in found}


@st.composite
def images(draw: st.DrawFn, platform: str = "linux/amd64") -> BuiltImage:
    return build_image(
        draw(st.lists(layers(), max_size=3)),
        platform=platform,
        compression=draw(st.sampled_from(["gzip", "zstd", "none"])),
        docker=draw(st.booleans()),
        config=draw(st.sampled_from(CONFIGS)),
        manifest=draw(st.sampled_from([{}, {"annotations": {"k": "v"}}])),
    )


@st.composite
def indexes(draw: st.DrawFn) -> Built:
    amd64, arm64 = draw(images()), draw(images(platform="linux/arm64"))
    return build_index([amd64, arm64], attested=draw(st.booleans()))


roots = st.lists(st.one_of(images(), indexes()), min_size=1, max_size=3)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def named(built: list[Built]) -> dict[str, Built]:
    return dict(zip(NAMES, built, strict=False))


def digests_of(built: dict[str, Built]) -> dict[str, Digest]:
    return {name: one.descriptor.digest for name, one in built.items()}


@SETTINGS
@given(roots)
def test_any_images_keep_their_digests_through_save_and_load(built: list[Built]) -> None:
    with folder() as here:
        layout = write_layout(here / "layout", named(built))
        archive = save_bytes(layout)
        load_archive(written(here / "x.tar", archive), here / "s")
        assert roots_of(here / "s") == digests_of(named(built))
        assert_whole(here / "s")


@SETTINGS
@given(roots)
def test_what_was_loaded_is_saved_byte_for_byte_as_before(built: list[Built]) -> None:
    with folder() as here:
        archive = save_bytes(write_layout(here / "layout", named(built)))
        load_archive(written(here / "x.tar", archive), here / "s")
        assert save_bytes(here / "s", list(named(built))) == archive


@SETTINGS
@given(st.lists(images(), min_size=1, max_size=3))
def test_any_old_docker_archive_keeps_its_image_ids(built: list[BuiltImage]) -> None:
    with folder() as here:
        archive = docker_archive(dict(zip(NAMES, built, strict=False)))
        report = load_archive(written(here / "x.tar", archive), here / "s")
        ids = {name: image.image_id for image in report.images for name in image.names}
        expected = {
            name: Digest.of(image.blobs[image.config.digest])
            for name, image in zip(NAMES, built, strict=False)
        }
        assert ids == expected
        assert_whole(here / "s")


@SETTINGS
@given(roots, st.sampled_from(["gzip", "zstd", "none"]))
def test_any_image_can_be_converted_and_is_whole_afterwards(
    built: list[Built], compression: Compression
) -> None:
    with folder() as here:
        archive = written(here / "x.tar", oci_archive(named(built)))
        first = load_archive(archive, here / "s", compression=compression)
        assert_whole(here / "s")
        again = load_archive(archive, here / "s", compression=compression)
        assert [image.digest for image in again.images] == [i.digest for i in first.images]
        assert again.transfer.stored_blobs == 0


UPPER: dict[str, Content] = {"b": b"2" * 300, "c": Symlink("b")}
IMAGE = build_image([{"a": b"1" * 300}, UPPER])
OTHER = build_image([{"a": b"1" * 300}, {"d": b"4"}], platform="linux/arm64")
INDEX = build_index([IMAGE, OTHER], attested=True)
ARCHIVES: dict[str, bytes] = {
    "docker": docker_archive({NAMES[0]: IMAGE, NAMES[1]: OTHER}),
    "oci": oci_archive({NAMES[0]: INDEX}, [build_artifact(IMAGE.descriptor)]),
    "hybrid": hybrid_archive({NAMES[0]: IMAGE, NAMES[1]: OTHER}),
}


def gzipped(data: bytes) -> bytes:
    compressor = Compressor(Codec.GZIP)
    return compressor.compress(data) + compressor.flush()


ARCHIVES["gzipped"] = gzipped(ARCHIVES["hybrid"])


def loads_whole_or_leaves_nothing(archive: bytes) -> None:
    """Load a damaged archive: an error of ours and no change, or a store that is whole."""
    with folder() as here:
        load_archive(
            written(here / "old.tar", oci_archive({"registry.example/old:1": OTHER})), here / "s"
        )
        before = contents(here / "s")
        try:
            load_archive(written(here / "x.tar", archive), here / "s")
        except OcitoolError:
            assert contents(here / "s") == before
        assert_whole(here / "s")


@settings(SETTINGS, max_examples=part_of(40))
@given(st.data())
def test_a_flipped_byte_is_noticed_or_harmless(data: st.DataObject) -> None:
    archive = bytearray(ARCHIVES[data.draw(st.sampled_from(sorted(ARCHIVES)))])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(archive) - 1))
        archive[position] ^= data.draw(st.integers(1, 255))
    loads_whole_or_leaves_nothing(bytes(archive))


@settings(SETTINGS, max_examples=part_of(30))
@given(st.data())
def test_a_cut_archive_is_noticed_or_harmless(data: st.DataObject) -> None:
    archive = ARCHIVES[data.draw(st.sampled_from(sorted(ARCHIVES)))]
    loads_whole_or_leaves_nothing(archive[: data.draw(st.integers(0, len(archive) - 1))])


@settings(SETTINGS, max_examples=part_of(30))
@given(st.data())
def test_a_block_that_is_lost_or_doubled_is_noticed_or_harmless(data: st.DataObject) -> None:
    archive = ARCHIVES[data.draw(st.sampled_from(["docker", "oci", "hybrid"]))]
    at = 512 * data.draw(st.integers(0, len(archive) // 512 - 1))
    block = data.draw(st.sampled_from([b"", archive[at : at + 512] * 2, bytes(512)]))
    loads_whole_or_leaves_nothing(archive[:at] + block + archive[at + 512 :])


@settings(SETTINGS, max_examples=part_of(30))
@given(st.data())
def test_other_text_in_the_documents_is_noticed_or_harmless(data: st.DataObject) -> None:
    archive = ARCHIVES[data.draw(st.sampled_from(["docker", "oci", "hybrid"]))]
    old, new = data.draw(
        st.sampled_from(
            [
                (b'"manifests"', b'"Manifests"'),
                (b'"Config"', b'"Bonfig"'),
                (b'"size":', b'"size":-'),
                (b'"layers":[', b'"layers":{'),
                (b"sha256:", b"sha512:"),
                (b"sha256:", b"sha256;"),
                (b"manifest.v1+json", b"manifest.v1+jso "),
                (b"blobs/sha256/", b"blobs/../../x/"),
                (b'"RepoTags":["', b'"RepoTags":["@'),
                (b'"schemaVersion":2', b'"schemaVersion":1'),
                (b'"diff_ids":', b'"diff_idz":'),
                (b'"type":"layers"', b'"type":"lawyer"'),
                (b"linux", b"l\xffnux"),
                (b":null", b":[[[["),
            ]
        )
    )
    at = data.draw(st.integers(0, len(archive)))
    position = archive.find(old, at)
    position = position if position >= 0 else archive.find(old)
    if position >= 0:
        end = position + len(new)
        archive = archive[:position] + new + archive[end:]
    loads_whole_or_leaves_nothing(archive)
