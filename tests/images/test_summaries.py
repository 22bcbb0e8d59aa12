"""What a list of images shows, and that it is remembered without ever becoming wrong."""

from pathlib import Path

from ocitool.images.summaries import ImageSummary, image_summaries
from ocitool.oci import Descriptor
from ocitool.places.layout import Layout
from tests.support.images import (
    CREATED,
    Built,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    write_files,
    write_layout,
)
from tests.support.layouts import A, bring, image, store

IMAGE = build_image(
    [{"one": b"1"}, {"two": b"2"}], config={"config": {"Labels": {"note": "a label"}}}
)
ARM = image("arm", platform="linux/arm64/v8")
CACHE = Path(".ocitool") / "cache" / "summaries.jsonl"


def summary_of(layout: Layout, built: Built) -> ImageSummary:
    return image_summaries(layout, layout.roots())[built.descriptor.digest]


def size_of(*parts: Built) -> int:
    blobs = {digest: data for part in parts for digest, data in part.blobs.items()}
    return sum(len(data) for data in blobs.values())


def corrupt(folder: Path, descriptor: Descriptor) -> None:
    path = folder / blob_path(descriptor)
    path.write_bytes(b"#" * path.stat().st_size)


def test_an_image_in_a_line(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        assert summary_of(layout, IMAGE) == ImageSummary(
            kind="image",
            image_ids=(str(IMAGE.config.digest),),
            children=(str(IMAGE.descriptor.digest), str(IMAGE.config.digest)),
            platforms=("linux/amd64",),
            created=CREATED,
            size=size_of(IMAGE),
            layers=tuple(str(layer.digest) for layer in IMAGE.layers),
            layer_sizes=tuple(layer.size for layer in IMAGE.layers),
            parts={str(IMAGE.config.digest): IMAGE.config.size},
            labels={"note": "a label"},
        )


def test_an_index_shows_all_its_images_and_counts_every_blob_once(tmp_path: Path) -> None:
    index = build_index([IMAGE, ARM], attested=True)
    with store(tmp_path, a=index) as layout:
        summary = summary_of(layout, index)
    assert summary.kind == "index"
    assert summary.image_ids == (str(IMAGE.config.digest), str(ARM.config.digest))
    assert summary.platforms == ("linux/amd64", "linux/arm64")
    assert summary.size == size_of(index)
    assert summary.missing == 0


def test_a_layer_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    twice = build_image([{"f": b"same"}, {"f": b"same"}])
    with store(tmp_path, a=twice) as layout:
        summary = summary_of(layout, twice)
    assert summary.size == size_of(twice)
    assert len(summary.layers) == 1


def test_an_attached_artifact_is_no_image_and_names_its_subject(tmp_path: Path) -> None:
    artifact = build_artifact(IMAGE.descriptor)
    with store(tmp_path, a=IMAGE) as layout:
        bring(layout, artifact)
        summary = summary_of(layout, artifact)
    assert summary.kind == "artifact"
    assert summary.subject == str(IMAGE.descriptor.digest)
    assert summary.artifact_type == "application/vnd.example.signature"


def test_a_damaged_image_has_a_problem_and_disturbs_no_other(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE, b=ARM) as layout:
        corrupt(tmp_path, IMAGE.config)
        assert "hashes to" in (summary_of(layout, IMAGE).problem or "")
        assert summary_of(layout, ARM).problem is None


def test_a_problem_is_not_remembered(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        path = tmp_path / blob_path(IMAGE.config)
        corrupt(tmp_path, IMAGE.config)
        assert summary_of(layout, IMAGE).problem
        path.write_bytes(IMAGE.blobs[IMAGE.config.digest])
        assert summary_of(layout, IMAGE).problem is None


def test_what_was_read_once_is_not_read_again(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        before = summary_of(layout, IMAGE)
        for file in (tmp_path / "blobs" / "sha256").iterdir():
            file.unlink()
        assert summary_of(layout, IMAGE) == before


def test_another_process_remembers_too(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        before = summary_of(layout, IMAGE)
        corrupt(tmp_path, IMAGE.descriptor)
    with Layout.existing(str(tmp_path)) as layout:
        assert summary_of(layout, IMAGE) == before


def test_nothing_is_written_when_all_is_remembered(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        summary_of(layout, IMAGE)
        size = (tmp_path / CACHE).stat().st_size
        summary_of(layout, IMAGE)
        assert (tmp_path / CACHE).stat().st_size == size


def test_the_memory_can_be_deleted(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        before = summary_of(layout, IMAGE)
        (tmp_path / CACHE).unlink()
        assert summary_of(layout, IMAGE) == before
        assert (tmp_path / CACHE).exists()


def test_a_memory_of_another_shape_is_read_anew(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE) as layout:
        before = summary_of(layout, IMAGE)
        line = f'["{IMAGE.descriptor.digest}", {{"kind": 7}}]\n'
        (tmp_path / CACHE).write_text(line)
        assert summary_of(layout, IMAGE) == before


def test_the_children_that_a_sparse_index_lacks_may_come_later(tmp_path: Path) -> None:
    index = build_index([IMAGE, ARM])
    with store(tmp_path, a=index) as layout:
        for blob in (ARM.descriptor, ARM.config, *ARM.layers):
            (tmp_path / blob_path(blob)).unlink()
        assert summary_of(layout, index).missing == 1
        assert summary_of(layout, index).platforms == ("linux/amd64",)
        write_files(tmp_path, {f"blobs/sha256/{d.hex}": data for d, data in ARM.blobs.items()})
        assert summary_of(layout, index).missing == 0


def test_a_layout_of_another_tool_is_summed_up_and_left_as_it_is(tmp_path: Path) -> None:
    write_layout(tmp_path, {"1.0": IMAGE})
    with Layout.existing(str(tmp_path)) as layout:
        assert summary_of(layout, IMAGE).size == size_of(IMAGE)
    assert not (tmp_path / ".ocitool").exists()


def test_only_the_roots_that_were_asked_for_are_summed_up(tmp_path: Path) -> None:
    with store(tmp_path, a=IMAGE, b=ARM) as layout:
        assert list(image_summaries(layout, [layout.resolve(A)])) == [IMAGE.descriptor.digest]
