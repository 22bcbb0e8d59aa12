"""Which paths a writable layer changes, and by which letter: docker's rules, case by case."""

import os
import time

import pytest

from ocitool.errors import Refused
from ocitool.fsops import Directory
from ocitool.image.layers import Spot, prune
from tests.containers.writable.trees import TIME, Trees, needs_root

pytestmark = needs_root


class TestFiles:
    def test_new_ones_are_added_with_their_folders(self, trees: Trees) -> None:
        trees.write("upper", "n/e/w", "text")
        assert trees.letters() == ["A n", "A n/e", "A n/e/w"]

    @pytest.mark.parametrize("text", ["longer than before", "after!"])
    def test_written_ones_are_changed_and_so_is_each_folder_above(
        self, trees: Trees, text: str
    ) -> None:
        trees.write("lower", "a/b/f", "before")
        trees.write("upper", "a/b/f", text, time=TIME + 1)
        assert trees.letters() == ["C a", "C a/b", "C a/b/f"]

    def test_another_content_of_the_same_size_and_time_is_a_change(self, trees: Trees) -> None:
        trees.write("lower", "f", "before")
        trees.write("upper", "f", "after!")
        assert trees.letters() == ["C f"]

    def test_a_copy_of_what_the_image_has_is_none(self, trees: Trees) -> None:
        trees.write("both", "a/f", "same")
        assert trees.letters() == []

    def test_a_mode_an_owner_and_an_attribute_are_changes(self, trees: Trees) -> None:
        trees.write("both", "mode").chmod(0o600)
        os.chown(trees.write("both", "owner"), 5, 6)
        os.setxattr(trees.write("both", "attribute"), "user.x", b"1")
        (trees.upper / "mode").chmod(0o640)
        os.chown(trees.upper / "owner", 7, 6)
        os.setxattr(trees.upper / "attribute", "user.x", b"2")
        assert trees.letters() == ["C attribute", "C mode", "C owner"]

    def test_another_target_of_a_link_is_a_change(self, trees: Trees) -> None:
        for root, target in ((trees.upper, "there"), (trees.lower, "where")):
            (root / "l").symlink_to(target)
            os.utime(root / "l", ns=(TIME, TIME), follow_symlinks=False)
        assert trees.letters() == ["C l"]

    def test_another_type_is_a_change_whatever_was_there(self, trees: Trees) -> None:
        trees.write("lower", "folder/inner")
        trees.write("upper", "folder", "now a file")
        trees.write("lower", "file", "x")
        trees.write("upper", "file/inner", "y")
        assert trees.letters() == ["C file", "A file/inner", "C folder"]

    def test_names_that_are_not_text_are_kept_as_they_are(self, trees: Trees) -> None:
        (trees.upper / os.fsdecode(b"odd\xff\n")).touch()
        assert trees.letters() == [f"A odd{os.fsdecode(bytes([0xFF]))}\n"]


class TestDeleted:
    def test_a_deleted_path_is_one_line_whatever_it_held(self, trees: Trees) -> None:
        trees.write("lower", "d/in/f")
        trees.delete("d/in")
        assert trees.letters() == ["C d", "D d/in"]

    def test_a_whiteout_of_nothing_is_no_change(self, trees: Trees) -> None:
        trees.delete("d/never")
        assert trees.letters() == ["A d"]

    def test_an_opaque_folder_deletes_each_name_that_it_does_not_have(self, trees: Trees) -> None:
        trees.write("lower", "o/kept", "1")
        trees.write("lower", "o/gone/x")
        trees.write("lower", "o/in/gone")
        trees.write("upper", "o/kept", "2")
        trees.write("upper", "o/in/new")
        trees.mark("o", "opaque")
        assert trees.letters() == [
            "C o",
            "D o/gone",
            "C o/in",
            "D o/in/gone",
            "A o/in/new",
            "C o/kept",
        ]
        hidden = {one.path for one in trees.changes() if one.hidden}
        assert hidden == {"o/gone", "o/in/gone"}

    @pytest.mark.parametrize("feature", ["redirect", "metacopy"])
    def test_a_feature_that_names_another_path_is_refused(self, trees: Trees, feature: str) -> None:
        if feature == "redirect":
            trees.folder("upper", "moved")
        else:
            os.truncate(trees.write("upper", "moved"), 5000)
        trees.mark("moved", feature, b"/elsewhere")
        with pytest.raises(Refused, match=f"uses {feature} at 'moved'"):
            trees.changes()


class TestFolders:
    def test_a_mode_is_a_change_and_a_time_is_none(self, trees: Trees) -> None:
        trees.folder("lower", "mode")
        trees.folder("upper", "mode", 0o700)
        os.utime(trees.folder("both", "time"), (1, 1))
        assert trees.letters() == ["C mode"]

    def test_they_stand_before_what_is_in_them_and_before_longer_names(self, trees: Trees) -> None:
        for path in ("a/x", "a-b", "a.b"):
            trees.write("upper", path)
        assert trees.letters() == ["A a", "A a/x", "A a-b", "A a.b"]

    def test_what_only_mounts_needed_is_left_out_and_the_rest_is_not(self, trees: Trees) -> None:
        trees.folder("upper", "mnt/made/point")
        trees.folder("upper", "both/point")
        trees.write("upper", "both/file")
        trees.folder("lower", "etc")
        trees.write("upper", "etc/hosts")
        skip = ("mnt/made/point", "both/point", "etc/hosts")
        assert trees.letters(skip=skip) == ["A both", "A both/file"]


class TestHardLinks:
    def test_a_new_name_of_an_old_file_brings_the_old_one_into_the_layer(
        self, trees: Trees
    ) -> None:
        old = trees.write("both", "d/old", "same")
        os.link(trees.upper / "d/old", trees.upper / "new")
        assert old.stat().st_nlink == 1
        assert [(one.letter, one.path) for one in trees.changes()] == [
            (None, "d"),
            (None, "d/old"),
            ("A", "new"),
        ]
        assert trees.letters() == ["A new"]


class TestSize:
    def test_a_hundred_thousand_files_are_listed_within_two_seconds(self, trees: Trees) -> None:
        # A tenth of both here.
        for number in range(100):
            folder = trees.folder("upper", f"d{number}")
            for inner in range(100):
                os.mknod(folder / str(inner))
        began = time.process_time()
        assert len(trees.changes()) == 10_100
        assert time.process_time() - began < 0.3

    def test_a_tree_deeper_than_any_path_is_walked(self, trees: Trees) -> None:
        here = os.open(trees.upper, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        try:
            assert len(trees.changes()) == 1500
        finally:
            # Too deep for the clean-up of pytest.
            with Directory.open(str(trees.upper)) as upper:
                prune(Spot(upper, "", "d"))
