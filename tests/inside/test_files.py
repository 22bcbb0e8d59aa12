"""Files of images: listed, found, read and copied, with what each layer did to them."""

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from ocitool.errors import (
    DigestMismatch,
    IntegrityError,
    MalformedArchive,
    NotFound,
    Refused,
    UsageError,
)
from ocitool.image.layers import EntryKind
from ocitool.images.opening import open_source
from ocitool.inside.content import read_members
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.listing import FileEntry, list_files
from ocitool.inside.searching import FileQuery, find_files
from ocitool.inside.story import Event, stories
from ocitool.inside.taking import read_file, require_layers, take
from tests.support.images import Compression, build_image
from tests.support.root_files import Node, folder, hard_link, link, program
from tests.support.small_images import CODECS, FORMS, file, gone, opaque, small_image, write_image
from tests.support.sparse import SPARSE_FORMS, holed, sparse_tar

Layers = Sequence[Sequence[Node]]


class Look(Protocol):
    """Opens an image of these layers and looks inside."""

    def __call__(self, *layers: Sequence[Node], **options: Any) -> AbstractContextManager[Inside]:
        """Return a block with the merged tree."""


@pytest.fixture
def look(tmp_path: Path) -> Look:
    @contextmanager
    def looking(
        *layers: Sequence[Node],
        codec: Compression = "none",
        steps: Sequence[str] | None = None,
        **options: Any,
    ) -> Iterator[Inside]:
        path = write_image(tmp_path, small_image(*layers, codec=codec, steps=steps))
        with open_source(f"oci:{path}") as opened:
            yield look_inside(opened.source, opened.root, **options)

    return looking


def paths(entries: Iterator[FileEntry]) -> list[str]:
    return [entry.path for entry in entries]


def content(inside: Inside, path: str) -> bytes:
    return b"".join(read_file(inside, path))


BASE = (
    folder("etc"),
    file("etc/passwd", 100),
    folder("usr"),
    folder("usr/bin"),
    program("usr/bin/su", b"su"),
    link("bin", "usr/bin"),
)


class TestListing:
    def test_a_folder_sorted_by_name_with_all_that_is_known(self, look: Look) -> None:
        with look(BASE, steps=["/bin/sh -c #(nop) ADD file:1 in / "]) as inside:
            assert paths(list_files(inside)) == ["bin", "etc", "usr"]
            (found,) = list_files(inside, "/etc")
        assert found == FileEntry(
            path="etc/passwd",
            type=EntryKind.FILE,
            size=100,
            mode=0o644,
            uid=0,
            gid=0,
            mtime=1_000_000,
            layer=1,
            instruction="ADD file:1 in /",
        )

    def test_links_in_the_path_are_followed_and_shown_as_they_are(self, look: Look) -> None:
        with look(BASE) as inside:
            assert paths(list_files(inside, "/bin/")) == ["usr/bin/su"]
            assert next(list_files(inside)).link == "usr/bin"

    def test_everything_below_and_a_file_itself(self, look: Look) -> None:
        with look(BASE) as inside:
            assert paths(list_files(inside, "usr", recursive=True)) == ["usr/bin", "usr/bin/su"]
            assert paths(list_files(inside, "/etc/passwd")) == ["etc/passwd"]
            with pytest.raises(NotFound, match="'/etc/shadow' is not in the image"):
                paths(list_files(inside, "/etc/shadow"))

    def test_which_layers_a_file_hides(self, look: Look) -> None:
        again = [file("etc/passwd", 7)]
        with look(BASE, again, [gone("etc/passwd")], again, again) as inside:
            (found,) = list_files(inside, "etc")
        # The third layer deleted it: what was there before is not what the fourth one hides.
        assert (found.layer, found.hides) == (5, (4,))

    def test_one_layer_alone_has_its_own_files_and_what_it_hides(self, look: Look) -> None:
        upper = [file("etc/hosts", 5), gone("etc/passwd"), opaque("usr")]
        with look(BASE, upper, layers=[2]) as inside:
            found = list(list_files(inside, recursive=True, with_whiteouts=True))
            in_etc = paths(list_files(inside, "etc", with_whiteouts=True))
        assert [(one.path, str(one.type)) for one in found] == [
            ("etc", "directory"),
            ("etc/hosts", "file"),
            ("etc/passwd", "whiteout"),
            ("usr", "opaque whiteout"),
        ]
        assert in_etc == ["etc/hosts", "etc/passwd"]

    def test_the_image_as_a_layer_left_it(self, look: Look) -> None:
        with look(BASE, [gone("etc/passwd")], up_to=1) as inside:
            assert paths(list_files(inside, "etc")) == ["etc/passwd"]
        with (
            pytest.raises(UsageError, match="has no layer 3"),
            look(BASE, [gone("etc/passwd")], up_to=3),
        ):
            pass

    def test_digests_where_they_were_computed(self, look: Look) -> None:
        with look(BASE, hashes=Hashes.ALL) as inside:
            (found,) = list_files(inside, "etc")
        assert found.sha256 == hashlib.sha256(file("etc/passwd", 100).data).hexdigest()


class TestFinding:
    LAYERS = (
        (
            *BASE,
            file("usr/bin/ping", 30_000, mode=0o4755),
            file("usr/bin/wall", 10, mode=0o2755),
            folder("usr/tmp", 0o2777),
            hard_link("usr/bin/traceroute", "usr/bin/ping"),
            Node(path="etc/null", type=b"3", device=(1, 3)),
            Node(path="etc/pipe", type=b"6"),
        ),
        (gone("etc/passwd"), file("usr/bin/wall", 20, time=2_000_000)),
    )

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (FileQuery(name="p*"), ["etc/pipe", "usr/bin/ping"]),
            (FileQuery(name="/usr/*/su"), ["usr/bin/su"]),
            (FileQuery(name="[", types="f"), []),
            (FileQuery(types="d"), ["", "etc", "usr", "usr/bin", "usr/tmp"]),
            (FileQuery(types="l"), ["bin"]),
            (FileQuery(types="cp"), ["etc/null", "etc/pipe"]),
            (FileQuery(types="h"), ["usr/bin/ping", "usr/bin/traceroute"]),
            (FileQuery(least=20), ["usr/bin/ping", "usr/bin/traceroute", "usr/bin/wall"]),
            (FileQuery(most=19), ["usr/bin/su"]),
            (FileQuery(set_id=True), ["usr/bin/ping", "usr/bin/traceroute"]),
            (FileQuery(newer=1_000_000), ["usr/bin/wall"]),
            (FileQuery(name="wall", most=5), []),
        ],
    )
    def test_what_is_asked_for(self, look: Look, query: FileQuery, expected: list[str]) -> None:
        with look(*self.LAYERS) as inside:
            assert paths(find_files(inside, query)) == expected

    def test_below_a_path_and_what_is_out_of_sight(self, look: Look) -> None:
        with look(*self.LAYERS) as inside:
            assert paths(find_files(inside, FileQuery(types="f"), "/bin")) == [
                f"usr/bin/{name}" for name in ("ping", "su", "traceroute", "wall")
            ]
            hidden = list(find_files(inside, FileQuery(), hidden=True))
            below = paths(find_files(inside, FileQuery(), "/etc/passwd", hidden=True))
        assert [(one.path, one.layer, one.hidden_by, one.how) for one in hidden] == [
            ("etc/passwd", 1, 2, "deleted"),
            ("usr/bin/wall", 1, 2, "overwritten"),
        ]
        assert below == ["etc/passwd"]

    def test_whiteouts_of_one_layer(self, look: Look) -> None:
        with look(*self.LAYERS, layers=[2]) as inside:
            found = paths(find_files(inside, FileQuery(types="w"), with_whiteouts=True))
        assert found == ["etc/passwd"]

    def test_a_type_that_nobody_knows(self) -> None:
        with pytest.raises(UsageError, match="'x' is not a type of files"):
            FileQuery(types="fx")


class TestReading:
    @pytest.mark.parametrize("codec", CODECS)
    def test_the_content_of_a_file_whatever_the_codec(self, look: Look, codec: Compression) -> None:
        big = file("usr/big", 700_000)
        with look((*BASE, big, file("z", 3)), [file("etc/passwd", 5)], codec=codec) as inside:
            assert content(inside, "/usr/big") == big.data
            assert content(inside, "etc/passwd") == file("etc/passwd", 5).data
            assert content(inside, "/bin/su") == b"su"

    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_of_archive(self, tmp_path: Path, form: Any) -> None:
        path = write_image(tmp_path, small_image(BASE, codec="gzip"), form)
        place = f"oci:{path}" if form == "layout" else str(path)
        with open_source(place) as opened:
            inside = look_inside(opened.source, opened.root)
            assert content(inside, "/etc/passwd") == file("etc/passwd", 100).data

    def test_a_hard_link_keeps_its_content_when_the_first_name_gets_another(
        self, look: Look
    ) -> None:
        first = [file("t1", 3, "123"), hard_link("t2", "t1"), hard_link("t3", "t1")]
        with look(first, [file("t1", 3, "456")]) as inside:
            found = [content(inside, name) for name in ("t1", "t2", "t3")]
        assert found == [b"456", b"123", b"123"]

    def test_the_last_member_of_a_path_counts(self, look: Look) -> None:
        with look([file("a", 3, "old"), file("a", 3, "new")], codec="gzip") as inside:
            assert content(inside, "a") == b"new"

    def test_a_folder_and_a_device_have_no_content(self, look: Look) -> None:
        with look((*BASE, Node(path="null", type=b"3", device=(1, 3)))) as inside:
            with pytest.raises(UsageError, match="'/etc' is a directory"):
                read_file(inside, "/etc")
            with pytest.raises(UsageError, match="'/null' is a character device"):
                read_file(inside, "null")

    def test_links_that_lead_nowhere_or_in_a_circle_say_their_chain(self, look: Look) -> None:
        with look([link("a", "b"), link("b", "/a"), link("c", "../../etc/d")]) as inside:
            with pytest.raises(NotFound, match=r"more than 40 links \('a' -> 'b', 'b' -> '/a'\)$"):
                read_file(inside, "a")
            with pytest.raises(NotFound, match=r"not in the image.*'c' -> '../../etc/d'"):
                read_file(inside, "c")

    def test_links_never_lead_out_of_the_image(self, look: Look) -> None:
        layer = [link("up", "../../../../etc/passwd"), file("etc/passwd", 4, "ours")]
        with look(layer) as inside:
            assert content(inside, "up") == b"ours"
            assert content(inside, "/../../up") == b"ours"

    def test_bytes_that_changed_after_they_were_hashed(self, look: Look, tmp_path: Path) -> None:
        with look([file("a", 5, "right")], hashes=Hashes.ALL) as inside:
            (blob,) = [
                path
                for path in (tmp_path / "layout/blobs/sha256").iterdir()
                if b"right" in path.read_bytes()
            ]
            blob.write_bytes(blob.read_bytes().replace(b"right", b"wrong"))
            with pytest.raises(DigestMismatch, match="content of '/a' is damaged"):
                content(inside, "a")

    def test_a_sparse_file_without_its_map_is_refused(self, tmp_path: Path) -> None:
        member = tarfile.TarInfo("s")
        member.size = 512
        member.pax_headers = {"GNU.sparse.size": "4096", "GNU.sparse.numblocks": "1"}
        tar = member.tobuf(tarfile.PAX_FORMAT) + bytes(512)
        path = write_image(tmp_path, build_image([tar], compression="none"))
        with open_source(f"oci:{path}") as opened:
            inside = look_inside(opened.source, opened.root)
            with pytest.raises(MalformedArchive, match="map of the sparse file 's' is not"):
                content(inside, "s")

    @pytest.mark.parametrize("form", SPARSE_FORMS)
    @pytest.mark.parametrize("compression", ["none", "gzip"])
    def test_sparse_files_have_zeros_for_their_holes(
        self, tmp_path: Path, form: str, compression: Literal["none", "gzip"]
    ) -> None:
        tar = sparse_tar(form, {"d/f": holed(), "d/g": b"next", "d/h": holed(3)})
        path = write_image(tmp_path, build_image([tar], compression=compression))
        with open_source(f"oci:{path}") as opened:
            inside = look_inside(opened.source, opened.root)
            assert content(inside, "d/f") == holed()
            assert content(inside, "d/h") == holed(3)
            take(inside, "d", str(tmp_path / "all"))
            take(inside, "d/f", str(tmp_path / "one"))
            rows = range(len(inside.table(1)))
            parts = {row: part.read(10) for row, part in read_members(inside, 1, rows)}
        assert (tmp_path / "all/f").read_bytes() == (tmp_path / "one").read_bytes() == holed()
        assert (tmp_path / "all/g").read_bytes() == b"next"
        assert (tmp_path / "all/h").read_bytes() == holed(3)
        assert parts == {0: bytes(10), 1: b"next", 2: bytes(10)}


class TestLayersThatCannotBeRead:
    def test_a_damaged_or_missing_layer_is_no_answer(self, tmp_path: Path) -> None:
        image = small_image(BASE, [file("b", 3)], codec="gzip")
        path = write_image(tmp_path, image)
        blob = path / "blobs/sha256" / image.layers[1].digest.hex
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
        with open_source(f"oci:{path}") as opened:
            inside = look_inside(opened.source, opened.root)
            with pytest.raises(IntegrityError, match="layer 2 cannot be read"):
                require_layers(inside)
            require_layers(look_inside(opened.source, opened.root, up_to=1))
        blob.unlink()
        with open_source(f"oci:{path}") as opened:
            inside = look_inside(opened.source, opened.root)
            with pytest.raises(NotFound, match="layer 2 cannot be read"):
                require_layers(inside)


class TestStories:
    def test_what_each_layer_did(self, look: Look) -> None:
        layers = [
            [folder("etc"), file("etc/a", 10)],
            [file("etc/a", 20)],
            [file("etc/a", 20, owner=(7, 7))],
            [gone("etc/a")],
            [link("etc/a", "b")],
            [folder("other")],
        ]
        steps = [f"RUN step {number}" for number in range(1, 7)]
        with look(*layers, steps=steps, hashes=Hashes.ALL) as inside:
            found = stories(inside, ["etc/a", "etc"])
        assert [(one.layer, one.action, one.what, one.size) for one in found["etc/a"]] == [
            (1, "added", (), 10),
            (2, "changed", ("content",), 20),
            (3, "changed", ("owner",), 20),
            (4, "deleted", (), 0),
            (5, "added", (), 0),
        ]
        assert found["etc/a"][2].instruction == "RUN step 3"
        assert found["etc"] == (Event(layer=1, action="added", instruction="RUN step 1", size=0),)

    def test_a_deleted_folder_is_the_end_of_what_was_in_it(self, look: Look) -> None:
        with look(BASE, [gone("usr")], [file("usr/bin/su", 9)]) as inside:
            found = stories(inside, ["usr/bin/su"])["usr/bin/su"]
        assert [(one.layer, one.action) for one in found] == [
            (1, "added"),
            (2, "deleted"),
            (3, "added"),
        ]


class TestTaking:
    def test_a_file_into_a_folder_and_under_a_new_name(self, look: Look, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        with look(BASE) as inside:
            taken = take(inside, "/bin/su", str(out))
            assert take(inside, "bin/su", str(out / "other")).destination == str(out / "other")
        assert (taken.path, taken.destination) == ("usr/bin/su", str(out / "su"))
        assert (out / "su").read_bytes() == b"su"
        assert stat.S_IMODE((out / "su").stat().st_mode) == 0o755
        assert (out / "su").stat().st_mtime == 1_000_000
        assert sorted(os.listdir(out)) == ["other", "su"]

    def test_a_folder_with_links_hard_links_and_modes(self, look: Look, tmp_path: Path) -> None:
        layer = [
            folder("d", 0o500),
            file("d/set", 3, mode=0o6755, owner=(5, 6)),
            hard_link("d/same", "d/set"),
            link("d/out", "/etc/passwd"),
            Node(path="d/null", type=b"3", device=(1, 3)),
        ]
        with look(layer) as inside:
            taken = take(inside, "d", str(tmp_path / "copy"))
        copy = tmp_path / "copy"
        assert sorted(os.listdir(copy)) == ["out", "same", "set"]
        assert os.readlink(copy / "out") == "/etc/passwd"
        assert (copy / "same").stat().st_ino == (copy / "set").stat().st_ino
        assert stat.S_IMODE((copy / "set").stat().st_mode) == 0o755
        assert (copy / "set").stat().st_uid == os.geteuid()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o500
        assert taken.extracted.special == 1
        copy.chmod(0o700)

    def test_nothing_is_overwritten_unasked(self, look: Look, tmp_path: Path) -> None:
        target = tmp_path / "su"
        target.write_bytes(b"mine")
        (tmp_path / "etc").mkdir()
        with look(BASE) as inside:
            with pytest.raises(Refused, match="is there already"):
                take(inside, "bin/su", str(tmp_path))
            assert target.read_bytes() == b"mine"
            with pytest.raises(Refused, match="folders are not merged"):
                take(inside, "etc", str(tmp_path), overwrite=True)
            take(inside, "bin/su", str(tmp_path), overwrite=True)
        assert target.read_bytes() == b"su"
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".ocitool")]

    def test_a_link_at_the_destination_is_not_followed(self, look: Look, tmp_path: Path) -> None:
        (tmp_path / "precious").write_bytes(b"mine")
        (tmp_path / "su").symlink_to("precious")
        with look(BASE) as inside:
            with pytest.raises(Refused):
                take(inside, "bin/su", str(tmp_path))
            take(inside, "bin/su", str(tmp_path), overwrite=True)
        assert (tmp_path / "precious").read_bytes() == b"mine"
        assert not (tmp_path / "su").is_symlink()

    def test_a_link_of_the_image_leads_nothing_out_of_the_destination(
        self, look: Look, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        layer = [folder("d"), link("d/l", str(outside)), file("d/l/evil", 4)]
        with look(layer) as inside:
            take(inside, "/d", str(tmp_path / "copy"))
        assert os.listdir(outside) == []

    def test_the_whole_image_needs_a_new_folder(self, look: Look, tmp_path: Path) -> None:
        with look(BASE) as inside:
            with pytest.raises(UsageError, match="is there already"):
                take(inside, "/", "/")
            take(inside, "/", str(tmp_path / "all"))
        assert sorted(os.listdir(tmp_path / "all")) == ["bin", "etc", "usr"]

    def test_a_place_that_is_not_there(self, look: Look, tmp_path: Path) -> None:
        with look(BASE) as inside:
            with pytest.raises(NotFound, match="there is no folder"):
                take(inside, "bin/su", str(tmp_path / "a/b"))
            with pytest.raises(NotFound, match="not in the image"):
                take(inside, "nothing", str(tmp_path))

    def test_a_device_alone_is_not_copied(self, look: Look, tmp_path: Path) -> None:
        with (
            look([Node(path="null", type=b"3", device=(1, 3))]) as inside,
            pytest.raises(UsageError, match="which is not copied"),
        ):
            take(inside, "null", str(tmp_path))
