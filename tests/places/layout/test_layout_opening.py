"""Opening a layout that exists, and folders that are none."""

import functools
import os
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, NotFound
from ocitool.places.layout import Layout
from tests.support.disk import open_descriptors, time_limit
from tests.support.images import build_image, write_layout
from tests.support.layouts import A, image, store

FIXTURES = Path(__file__).parents[3] / "fixtures"


def test_a_path_where_nothing_is_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no image layout at"):
        Layout.existing(str(tmp_path / "none"))


def test_reading_makes_nothing(tmp_path: Path) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    with Layout.existing(str(tmp_path / "l")) as layout:
        layout.roots()
        layout.former_names()
    assert sorted(os.listdir(tmp_path / "l")) == ["blobs", "index.json", "oci-layout"]


def test_an_empty_folder_is_a_layout_that_is_not_there_yet(tmp_path: Path) -> None:
    # Another process may have begun to make one in it.
    with pytest.raises(NotFound, match="still empty"):
        Layout.existing(str(tmp_path))


def test_an_ordinary_folder_is_no_layout(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IntegrityError, match="not an OCI image layout"):
        Layout.existing(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b'{"imageLayoutVersion":"2.0.0"}',
        b'{"imageLayoutVersion":null}',
        b"{}",
        b"[]",
        b"",
        b"not json",
        b'{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}',
        b'{"imageLayoutVersion":"1.0.0"}' + b" " * 5000,
    ],
)
def test_another_version_or_no_version_is_refused(tmp_path: Path, content: bytes) -> None:
    write_layout(tmp_path, {"1.0": build_image()})
    (tmp_path / "oci-layout").write_bytes(content)
    before = open_descriptors()
    with pytest.raises(IntegrityError, match="oci-layout"):
        Layout.existing(str(tmp_path))
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_a_document_that_is_no_regular_file_is_refused(
    tmp_path: Path, name: str, kind: str
) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    path = tmp_path / "l" / name
    path.rename(tmp_path / "moved")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "moved")
    else:
        path.mkdir()
    with (
        time_limit(5, "opening"),
        pytest.raises(IntegrityError),
        Layout.existing(str(tmp_path / "l")) as layout,
    ):
        layout.roots()


def test_a_linked_control_folder_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "l" / ".ocitool").symlink_to(tmp_path / "elsewhere")
    before = open_descriptors()
    with pytest.raises(IntegrityError):
        Layout.existing(str(tmp_path / "l"))
    assert open_descriptors() == before


def test_a_layout_without_an_index_is_damaged_and_not_empty(tmp_path: Path) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    (tmp_path / "l" / "index.json").unlink()
    with (
        Layout.existing(str(tmp_path / "l")) as layout,
        pytest.raises(IntegrityError, match="missing"),
    ):
        layout.roots()


@pytest.mark.parametrize("left", [None, b"", b'{"schemaVersion":2,"manifests":null}', b'{"sch'])
def test_a_store_that_lost_its_index_is_damaged_and_not_empty(
    tmp_path: Path, left: bytes | None
) -> None:
    with store(tmp_path / "s", a=image("a")):
        (tmp_path / "s" / "index.json").unlink()
    if left is not None:
        (tmp_path / "s" / "index.json").write_bytes(left)
    with (
        Layout.existing(str(tmp_path / "s")) as layout,
        pytest.raises(IntegrityError, match=r"index\.json") as caught,
    ):
        layout.roots()
    assert "verify --repair" in (caught.value.hint or "")


def test_a_store_that_lost_its_version_file_is_damaged_and_not_made_anew(tmp_path: Path) -> None:
    with store(tmp_path, a=image("a")):
        (tmp_path / "oci-layout").unlink()
    (tmp_path / "index.json").unlink()
    before = sorted(os.listdir(tmp_path))
    for opened in (Layout.existing, functools.partial(Layout.create, store=True)):
        with pytest.raises(IntegrityError, match="oci-layout") as caught:
            opened(str(tmp_path))
        assert "verify --repair" in (caught.value.hint or "")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'{"schemaVersion":2,"manifests":[{}]}',
        b'{"schemaVersion":2,"manifests":{}}',
        b'{"schemaVersion":2,"manifestr":[]}',
        b'{"schemaVersion":2,"manifests":[],"manifests":[]}',
        b'{"manifests":[{"mediaType":"m","digest":"sha256:../../x","size":1}]}',
        b'{"manifests":[{"mediaType":"m","digest":"sha256:' + b"a" * 64 + b'","size":-1}]}',
    ],
)
def test_a_malformed_index_is_refused(tmp_path: Path, content: bytes) -> None:
    write_layout(tmp_path, {})
    (tmp_path / "index.json").write_bytes(content)
    with (
        Layout.existing(str(tmp_path)) as layout,
        pytest.raises(IntegrityError, match=r"index\.json"),
    ):
        layout.roots()


def test_an_index_that_docker_25_wrote_without_entries_is_empty(tmp_path: Path) -> None:
    write_layout(tmp_path, {})
    (tmp_path / "index.json").write_bytes(b'{"schemaVersion":2,"manifests":null}')
    with Layout.existing(str(tmp_path)) as layout:
        assert layout.roots() == ()


def test_an_index_beyond_eight_mebibytes_is_read_in_our_store_alone(tmp_path: Path) -> None:
    with store(tmp_path / "s", a=image("a")):
        pass
    write_layout(tmp_path / "l", {"1.0": image("a")})
    for folder in ("s", "l"):
        with (tmp_path / folder / "index.json").open("ab") as file:
            file.write(b" " * (9 << 20))
    with Layout.existing(str(tmp_path / "s")) as layout:
        assert len(layout.roots()) == 1
    with (
        Layout.existing(str(tmp_path / "l")) as layout,
        pytest.raises(IntegrityError, match="larger"),
    ):
        layout.roots()


def test_closing_can_be_repeated_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    with store(tmp_path / "s", a=image("a")) as layout:
        root = layout.resolve(A)
        layout.open(root.descriptor).close()
        layout.close()
    layout.close()
    assert open_descriptors() == before


def test_a_layout_that_umoci_wrote_is_read() -> None:
    with Layout.existing(str(FIXTURES / "umoci047-layout")) as layout:
        roots = layout.roots()
        assert [root.label for root in roots] == ["base", "v1", "v2"]
        assert all(root.names == () for root in roots)
        assert not layout.is_store
        assert layout.resolve("v1") == roots[1]
        for root in roots:
            assert layout.has(root.descriptor)
            with layout.open(root.descriptor) as blob:
                assert len(blob.read_all(10_000)) == root.descriptor.size
