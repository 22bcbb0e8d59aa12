"""Members of an archive by their path: spellings, links, and what is refused."""

import os
from pathlib import Path

import pytest

from ocitool.errors import MalformedArchive
from ocitool.formats.tar import SeekableInput, entries
from ocitool.fsops import Directory
from ocitool.places.archive.folder_members import FolderMembers
from ocitool.places.archive.members import TarMembers, read_member
from tests.support.images import Content, HardLink, Members, Symlink, tar_of, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def members_of(folder: Path, members: Members) -> TarMembers:
    path = folder / "archive.tar"
    path.write_bytes(tar_of(members))
    file = os.open(path, os.O_RDONLY)
    found = TarMembers(file, str(path))
    with path.open("rb") as stream:
        for entry in entries(SeekableInput(stream)):
            found.add(entry)
    return found


def content(members: TarMembers | FolderMembers, path: str) -> bytes | None:
    member = members.find(path)
    return None if member is None else read_member(members, member, 1 << 20)


def found_in(folder: Path, members: Members, path: str) -> bytes | None:
    opened = members_of(folder, members)
    try:
        return content(opened, path)
    finally:
        opened.close()


@pytest.mark.parametrize("written", ["a/b", "./a/b", "/a/b", "a//b", "a/./b"])
@pytest.mark.parametrize("asked", ["a/b", "./a/b", "/a/b"])
def test_a_path_has_one_meaning_however_it_is_spelt(folder: Path, written: str, asked: str) -> None:
    assert found_in(folder, {written: b"x"}, asked) == b"x"


def test_an_absent_path_is_none(folder: Path) -> None:
    assert found_in(folder, {"a": b"x"}, "b") is None


def test_a_folder_is_no_file(folder: Path) -> None:
    assert found_in(folder, {"a/": b"", "a/b": b"x"}, "a") is None


def test_a_symbolic_link_is_relative_to_its_folder(folder: Path) -> None:
    tree: dict[str, Content] = {"one/file": b"x", "two/link": Symlink("../one/file")}
    assert found_in(folder, tree, "two/link") == b"x"


def test_an_absolute_symbolic_link_starts_at_the_root_of_the_archive(folder: Path) -> None:
    tree: dict[str, Content] = {"one/file": b"x", "two/link": Symlink("/one/file")}
    assert found_in(folder, tree, "two/link") == b"x"


def test_a_hard_link_is_relative_to_the_root_of_the_archive(folder: Path) -> None:
    tree: dict[str, Content] = {"one/file": b"x", "two/link": HardLink("one/file")}
    assert found_in(folder, tree, "two/link") == b"x"


def test_a_link_to_a_folder_leads_on(folder: Path) -> None:
    tree: dict[str, Content] = {"one/file": b"x", "two": Symlink("one")}
    assert found_in(folder, tree, "two/file") == b"x"


def test_two_links_of_one_path_are_refused_on_the_way_too(folder: Path) -> None:
    tree: list[tuple[str, Content]] = [
        ("a/x", b"1"),
        ("b/x", b"2"),
        ("c", Symlink("a")),
        ("c", Symlink("b")),
    ]
    with pytest.raises(MalformedArchive, match="two members called 'c'"):
        found_in(folder, tree, "c/x")


def test_links_follow_links(folder: Path) -> None:
    tree: dict[str, Content] = {"a": Symlink("b"), "b": HardLink("c"), "c": b"x"}
    assert found_in(folder, tree, "a") == b"x"


def test_a_dangling_link_is_none(folder: Path) -> None:
    assert found_in(folder, {"a": Symlink("gone")}, "a") is None


@pytest.mark.parametrize(
    "tree",
    [
        {"a": Symlink("a")},
        {"a": Symlink("b"), "b": Symlink("a")},
        {"a": Symlink("a/b")},
        {"a": HardLink("a")},
    ],
)
def test_links_that_form_a_loop_are_refused(folder: Path, tree: dict[str, Content]) -> None:
    with pytest.raises(MalformedArchive, match="loop"):
        found_in(folder, tree, "a")


def test_forty_links_in_a_row_are_followed_and_one_more_is_not(folder: Path) -> None:
    chain: dict[str, Content] = {f"{n}": Symlink(f"{n + 1}") for n in range(41)}
    chain["41"] = b"x"
    assert found_in(folder, chain, "1") == b"x"
    with pytest.raises(MalformedArchive, match="loop"):
        found_in(folder, chain, "0")


@pytest.mark.parametrize("target", ["../x", "../../etc/passwd", "/../x", "b/../../x"])
def test_a_link_out_of_the_archive_is_refused(folder: Path, target: str) -> None:
    tree: dict[str, Content] = {"a": Symlink(target), "x": b"x"}
    with pytest.raises(MalformedArchive, match="leads out"):
        found_in(folder, tree, "a")


def test_a_path_out_of_the_archive_is_refused(folder: Path) -> None:
    with pytest.raises(MalformedArchive, match="leads out"):
        found_in(folder, {"a": b"x"}, "../a")


def test_two_members_of_one_path_are_refused_where_they_are_used(folder: Path) -> None:
    twice = [("a", b"1"), ("a", b"2"), ("b", b"3")]
    with pytest.raises(MalformedArchive, match="two members called 'a'"):
        found_in(folder, twice, "a")


def test_two_members_of_one_path_do_no_harm_elsewhere(folder: Path) -> None:
    assert found_in(folder, [("a", b"1"), ("a", b"2"), ("b", b"3")], "b") == b"3"


@pytest.mark.parametrize("first", ["./a", "/a"])
def test_two_spellings_of_one_path_are_two_members_of_it(folder: Path, first: str) -> None:
    with pytest.raises(MalformedArchive, match="two members"):
        found_in(folder, [(first, b"1"), ("a", b"2")], "a")


@pytest.mark.parametrize(
    "twice", [[("a", Symlink("b")), ("a", b"1")], [("a", b"1"), ("a", Symlink("b"))]]
)
def test_a_file_and_a_link_of_one_path_are_refused(
    folder: Path, twice: list[tuple[str, Content]]
) -> None:
    with pytest.raises(MalformedArchive, match="two members"):
        found_in(folder, [*twice, ("b", b"2")], "a")


def test_a_blob_may_be_there_twice_for_its_digest_decides(folder: Path) -> None:
    path = f"blobs/sha256/{'0' * 64}"
    assert found_in(folder, [(path, b"1"), (path, b"1")], path) == b"1"


def test_a_member_over_the_limit_is_not_read(folder: Path) -> None:
    members = members_of(folder, {"a": b"12345"})
    member = members.find("a")
    assert member is not None
    with pytest.raises(MalformedArchive, match="limit is 4"):
        read_member(members, member, 4)
    assert read_member(members, member, 5) == b"12345"
    members.close()


def test_a_member_cut_by_the_end_of_the_file_is_refused(folder: Path) -> None:
    members = members_of(folder, {"a": b"x" * 2000})
    member = members.find("a")
    assert member is not None
    os.truncate(folder / "archive.tar", 1000)
    with pytest.raises(MalformedArchive, match="cut short"):
        read_member(members, member, 1 << 20)
    members.close()


def test_files_of_a_folder_are_members(folder: Path) -> None:
    write_files(folder, {"a/b": b"x"})
    members = FolderMembers(Directory.open(str(folder)))
    assert content(members, "./a//b") == b"x"
    assert content(members, "a/c") is None
    members.close()


@pytest.mark.parametrize("path", ["../secret", "a/../../secret"])
def test_no_path_leads_out_of_a_folder(folder: Path, path: str) -> None:
    write_files(folder, {"secret": b"x", "inner/a/b": b"y"})
    members = FolderMembers(Directory.open(str(folder / "inner")))
    with pytest.raises(MalformedArchive, match="leads out"):
        members.find(path)
    members.close()


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_of_a_folder_is_no_file(folder: Path, path: str) -> None:
    members = FolderMembers(Directory.open(str(folder)))
    assert members.find(path) is None
    members.close()


@pytest.mark.parametrize("link", ["file", "folder/secret"])
def test_absolute_links_of_a_folder_begin_at_its_root(folder: Path, link: str) -> None:
    write_files(folder, {"outside/secret": b"x", "inner/a": b"y"})
    (folder / "inner/file").symlink_to(folder / "outside/secret")
    (folder / "inner/folder").symlink_to(folder / "outside")
    members = FolderMembers(Directory.open(str(folder / "inner")))
    assert members.find(link) is None
    members.close()


def test_relative_links_of_a_folder_are_followed_inside_it(folder: Path) -> None:
    write_files(folder, {"a/layer.tar": b"x"})
    (folder / "b").mkdir()
    (folder / "b/layer.tar").symlink_to("../a/layer.tar")
    (folder / "c").symlink_to("b")
    members = FolderMembers(Directory.open(str(folder)))
    assert content(members, "b/layer.tar") == b"x"
    assert content(members, "c/layer.tar") == b"x"
    members.close()


def test_links_of_a_folder_that_form_a_loop_are_refused(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    members = FolderMembers(Directory.open(str(folder)))
    with pytest.raises(MalformedArchive, match="loop"):
        members.find("a")
    members.close()
