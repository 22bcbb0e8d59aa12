"""`verify` proves an archive or a layout exactly where `load` takes it.

`verify` proves one thing more: that every layer unpacks to its diff ID.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.hostile import CASES
from ocitool.errors import OcitoolError
from ocitool.images.locations import parse_place
from ocitool.images.opening import open_source
from ocitool.operations.load import load
from ocitool.operations.verify import VerifyReport, verify
from ocitool.places.layout import Layout
from tests.support.examples import part_of
from tests.support.foreign_bundles import imgpkg_members, sync_files
from tests.support.images import (
    Built,
    blob_path,
    build_artifact,
    build_image,
    build_index,
    tar_of,
    write_files,
    write_layout,
)
from tests.test_corpus import Case, all_cases

A = "registry.example/team/a:1"
B = "registry.example/team/b:1"
ONE = build_image([{"a": b"1"}, {"b": b"2" * 300}])
TWO = build_image([{"a": b"1"}, {"c": b"3"}], platform="linux/arm64")
INDEX = build_index([ONE, TWO], attested=True)
IMAGES: dict[str, dict[str, Built]] = {
    "image": {A: ONE},
    "index": {A: INDEX},
    "two": {A: ONE, B: INDEX},
}
ARTIFACT = build_artifact(ONE.descriptor)


def loads(text: str, store: Path) -> bool:
    try:
        with (
            open_source(parse_place(text), store=str(store)) as opened,
            Layout.create(str(store), store=True) as layout,
        ):
            load(opened.source, layout, roots=opened.roots)
    except OcitoolError:
        return False
    return True


def verified(text: str) -> VerifyReport | None:
    """Return what `verify` finds in the images, or None where it cannot read them at all."""
    try:
        with open_source(parse_place(text), store="none") as opened:
            return verify(opened.source, opened.roots)
    except OcitoolError:
        return None


def assert_agreed(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        loaded = loads(text, Path(folder) / "store")
    report = verified(text)
    if loaded:
        assert report is not None
        assert [problem for problem in report.problems if problem.kind != "diff-id"] == []
    else:
        assert report is None or not report.sound


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: f"{case.folder.name}/{case.name}")
def test_for_every_archive_of_the_collections(case: Case) -> None:
    assert_agreed(str(case.path))


def test_for_every_hostile_input_as_it_is_stated() -> None:
    refused = [case for case in CASES if case.outcome.load != 0 and case.place != "store"]
    assert len(refused) > 300
    assert [case.name for case in refused if case.outcome.verify == 0] == []


@settings(max_examples=part_of(25), deadline=None)
@given(st.data())
def test_for_layouts_and_archives_whose_blobs_are_gone_cut_or_changed(data: st.DataObject) -> None:
    assert_agreed_when_damaged(data)


@pytest.mark.soak
@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_for_a_thousand_layouts_and_archives_that_are_damaged(data: st.DataObject) -> None:
    assert_agreed_when_damaged(data)


def assert_agreed_when_damaged(data: st.DataObject) -> None:
    images = IMAGES[data.draw(st.sampled_from(sorted(IMAGES)))]
    with tempfile.TemporaryDirectory() as folder:
        layout = write_layout(Path(folder) / "layout", images, nameless=[ARTIFACT])
        for path in data.draw(st.lists(st.sampled_from(blobs_of(layout)), max_size=3, unique=True)):
            damage(path, data.draw(st.sampled_from(["gone", "gone", "cut", "changed"])))
        assert_agreed(f"oci:{layout}")
        assert_agreed(str(layout))


def blobs_of(layout: Path) -> list[Path]:
    return sorted((layout / "blobs" / "sha256").iterdir())


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.write_bytes(b"\xff" * path.stat().st_size)


def test_an_index_of_which_nothing_is_there_is_damage(tmp_path: Path) -> None:
    lacking = [digest for image in (ONE, TWO) for digest in image.blobs]
    layout = write_layout(tmp_path / "layout", {A: INDEX}, without=lacking)
    report = verified(f"oci:{layout}")
    assert report is not None
    assert [problem.kind for problem in report.problems] == ["incomplete"]
    assert_agreed(f"oci:{layout}")


def test_a_platform_that_lacks_a_layer_is_absent(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {A: INDEX})
    (layout / blob_path(TWO.layers[1])).unlink()
    report = verified(f"oci:{layout}")
    assert report is not None
    assert report.problems == ()
    assert [child.digest for child in report.absent] == [TWO.descriptor.digest]


FOREIGN: dict[str, Callable[[], dict[str, bytes]]] = {
    "imgpkg": lambda: imgpkg_members(IMAGES["two"]),
    "skopeo sync": lambda: sync_files(IMAGES["two"]),
}


@pytest.mark.parametrize("form", sorted(FOREIGN))
@settings(max_examples=part_of(20), deadline=None)
@given(st.data())
def test_a28_for_bundles_of_other_tools_that_are_damaged(form: str, data: st.DataObject) -> None:
    files = FOREIGN[form]()
    for name in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=2, unique=True)):
        how = data.draw(st.sampled_from(["gone", "cut", "changed"]))
        content = files.pop(name)
        if how != "gone":
            files[name] = content[:-1] if how == "cut" else b"\xff" * len(content)
    with tempfile.TemporaryDirectory() as folder:
        assert_agreed(str(write_files(Path(folder) / "unpacked", files)))
        (Path(folder) / "x.tar").write_bytes(tar_of(files))
        assert_agreed(f"{folder}/x.tar")
