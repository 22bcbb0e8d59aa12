"""Making a layout: by anyone, at the same moment as others, over nothing that is somebody's."""

import os
import stat
import time
from pathlib import Path

import pytest

from ocitool.errors import IntegrityError, NotFound, Refused, StorageError
from ocitool.fsops import Directory
from ocitool.places.layout import Layout
from ocitool.places.layout.lock import locked
from tests.support.disk import open_descriptors
from tests.support.images import build_image, layout_files, write_files, write_layout
from tests.support.layouts import A, bring, image, names_of, program, store
from tests.support.stores import checked, contents


def test_a_new_layout_is_empty_and_valid(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "s"), store=True) as layout:
        assert layout.roots() == ()
    assert (tmp_path / "s" / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert checked(tmp_path / "s").sound


def test_only_what_the_specification_names_is_in_a_new_layout(tmp_path: Path) -> None:
    Layout.create(str(tmp_path / "s"), store=True).close()
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        ".ocitool",
        "blobs",
        "index.json",
        "oci-layout",
    ]


def test_parent_folders_are_made(tmp_path: Path) -> None:
    Layout.create(str(tmp_path / "a" / "b" / "s"), store=True).close()
    assert (tmp_path / "a" / "b" / "s" / "index.json").is_file()


def test_a_store_is_closed_to_other_users(tmp_path: Path) -> None:
    Layout.create(str(tmp_path / "s"), store=True).close()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_a_store_knows_itself_when_it_is_opened_again(tmp_path: Path) -> None:
    Layout.create(str(tmp_path / "s"), store=True).close()
    with Layout.existing(str(tmp_path / "s")) as layout:
        assert layout.is_store


def test_a_layout_is_no_store(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "l")) as layout:
        assert not layout.is_store


def test_creating_again_changes_nothing(tmp_path: Path) -> None:
    with store(tmp_path / "s", a=image("a")):
        pass
    before = contents(tmp_path / "s")
    with Layout.create(str(tmp_path / "s"), store=True) as layout:
        assert list(names_of(layout)) == [A]
    assert contents(tmp_path / "s") == before


def test_a_layout_does_not_become_a_store(tmp_path: Path) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    with Layout.create(str(tmp_path / "l"), store=True) as layout:
        assert not layout.is_store
    with Layout.existing(str(tmp_path / "l")) as layout:
        assert not layout.is_store


def test_a_layout_of_another_tool_keeps_its_index(tmp_path: Path) -> None:
    write_layout(tmp_path / "l", {"1.0": build_image()})
    before = contents(tmp_path / "l")
    Layout.create(str(tmp_path / "l")).close()
    assert contents(tmp_path / "l") == before


@pytest.mark.parametrize("name", ["notes.txt", "index.json", "blobs"])
def test_a_folder_with_something_else_in_it_is_refused_and_untouched(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"mine")
    before = open_descriptors()
    with pytest.raises(Refused, match="not an image layout") as caught:
        Layout.create(str(tmp_path), store=True)
    assert caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert open_descriptors() == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"mine")
    with pytest.raises(StorageError):
        Layout.create(str(tmp_path / "s"), store=True)


def test_what_a_killed_process_had_begun_is_finished(tmp_path: Path) -> None:
    (tmp_path / ".ocitool").mkdir()
    (tmp_path / "blobs").mkdir()
    with Layout.create(str(tmp_path), store=True) as layout:
        assert layout.is_store
        bring(layout, image("a"), A)
    assert checked(tmp_path).sound


def test_a_layout_that_was_only_begun_is_empty_to_readers(tmp_path: Path) -> None:
    (tmp_path / ".ocitool").mkdir()
    with pytest.raises(NotFound, match="empty"):
        Layout.existing(str(tmp_path))


@pytest.mark.parametrize("name", [".ocitool", "blobs"])
def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".ocitool").mkdir()
    path = tmp_path / "s" / name
    if path.exists():
        path.rmdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError):
        Layout.create(str(tmp_path / "s"), store=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_who_makes_a_layout_waits_for_another_who_is_making_it(tmp_path: Path) -> None:
    source = """
        import sys
        from ocitool.places.layout import Layout
        Layout.create(sys.argv[1], store=True).close()
    """
    (tmp_path / ".ocitool").mkdir()
    with Directory.open(str(tmp_path / ".ocitool")) as control, locked(control):
        late = program(source, str(tmp_path))
        deadline = time.monotonic() + 10
        while not (tmp_path / ".ocitool" / "tmp").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        files = layout_files({A: image("a")})
        assert not (tmp_path / "oci-layout").exists()
        write_files(tmp_path, files)
    _, errors = late.communicate(timeout=60)
    assert late.returncode == 0, errors
    assert (tmp_path / "index.json").read_bytes() == files["index.json"]


CREATE = """
    import os, sys
    from ocitool.places.layout import Layout
    sys.stdin.read()
    for n in range(20):
        with Layout.create(os.path.join(sys.argv[1], str(n)), store=True) as layout:
            assert layout.is_store, n
            assert layout.roots() == (), n
            assert sorted(layout.folder.names())[0] == ".ocitool", n
"""


def test_many_processes_can_make_one_store_at_once(tmp_path: Path) -> None:
    processes = [program(CREATE, str(tmp_path)) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    for number in range(20):
        with Layout.existing(str(tmp_path / str(number))) as layout:
            assert layout.is_store
        assert os.listdir(tmp_path / str(number) / ".ocitool" / "tmp") == []
