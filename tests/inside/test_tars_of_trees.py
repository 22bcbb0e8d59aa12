"""The merged tree as a tar: what is in it, in which order, and with which bytes."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, MalformedArchive
from ocitool.images.opening import open_source
from ocitool.inside.image import Inside, look_inside
from ocitool.inside.layer_tar import layer_tar
from ocitool.inside.tarring import merged_tar, sorted_tar
from tests.support.images import BuiltImage, build_image
from tests.support.root_files import Node, folder, hard_link, layer_of, link, program
from tests.support.small_images import CODECS, file, gone, opaque, small_image, write_image
from tests.support.sparse import SPARSE_FORMS, holed, sparse_tar

EVERYTHING = (
    folder("etc", 0o700, owner=(3_000_000, 70_000)),
    file("etc/capable", 10, attributes={"security.capability": "abc"}),
    program("etc/early", b"x"),
    Node(path="etc/old", data=b"1", time=-1.5),
    Node(path="etc/exact", data=b"2", time=1_700_000_000.25),
    Node(path="etc/root", data=b"3", mode=0o6755, owner=(1 << 22, (1 << 32) - 2)),
    Node(path="etc/null", type=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
    Node(path="etc/loop0", type=tarfile.BLKTYPE, device=(7, 0)),
    Node(path="etc/pipe", type=tarfile.FIFOTYPE),
    link("etc/link", "../nowhere"),
    file("etc/first", 3000),
    hard_link("etc/second", "etc/first"),
    file("é/" + "n" * 150, 5),
    file("etc/\udcff", 6),
)
Members = dict[str, tuple[object, ...]]


def members(data: bytes) -> Members:
    """Return what a reader sees of each member; a later one of the same name is an error."""
    found: Members = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            assert member.name not in found
            content = tar.extractfile(member) if member.isreg() else None
            found[member.name] = (
                member.type,
                member.mode,
                (member.uid, member.gid),
                member.mtime,
                member.linkname,
                (member.devmajor, member.devminor),
                {k: v for k, v in member.pax_headers.items() if "xattr" in k},
                content.read() if content is not None else None,
            )
    return found


def tar_of(
    image: BuiltImage, folder: Path, *, sort: bool = False, up_to: int | None = None
) -> bytes:
    with open_source(f"oci:{write_image(folder, image)}") as opened:
        inside = look_inside(opened.source, opened.root, up_to=up_to)
        return b"".join(pieces(inside, sort=sort))


def pieces(inside: Inside, *, sort: bool) -> Iterator[bytes]:
    root = inside.tree.find("")
    return sorted_tar(inside, root, "") if sort else merged_tar(inside, root, "")


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_everything_that_a_header_says_survives(tmp_path: Path, codec: str, sort: bool) -> None:
    image = small_image(EVERYTHING, codec=codec)  # type: ignore[arg-type]
    expected = members(layer_of(*EVERYTHING))
    found = members(tar_of(image, tmp_path, sort=sort))
    # Of the folder that no member describes there is one now.
    assert found.pop("é")[:4] == (tarfile.DIRTYPE, 0o755, (0, 0), 0)
    first, second = found["etc/first"], found["etc/second"]
    assert (first[0], second[0]) == (tarfile.REGTYPE, tarfile.LNKTYPE)
    assert found == expected


def test_a_layer_that_is_wholly_visible_is_copied_byte_for_byte(tmp_path: Path) -> None:
    layer = layer_of(folder("d"), file("d/a", 700), file("d/b", 10), link("d/c", "a"))
    files = layer[512 : -(-len(layer) % 10240) or None]
    found = tar_of(build_image([layer], compression="gzip"), tmp_path)
    header_of_d = 512
    assert found[header_of_d : header_of_d + 2048 + 512] == files[: 2048 + 512]


def test_what_layers_hid_is_not_there_and_folders_come_first(tmp_path: Path) -> None:
    image = small_image(
        [folder("d"), file("d/x", 5), file("d/y", 6), folder("e"), file("e/z", 7), file("f", 8)],
        [gone("d/x"), opaque("e"), file("e/new", 9), file("f/below", 4)],
        [file("d/y", 60), folder("late"), folder("late/er")],
        codec="gzip",
    )
    found = members(tar_of(image, tmp_path))
    assert list(found) == ["d", "e", "f", "late", "late/er", "e/new", "f/below", "d/y"]
    assert found["d/y"][-1] == file("d/y", 60).data


class TestHardLinks:
    def test_the_next_name_has_the_content_of_a_file_whose_first_is_gone(
        self, tmp_path: Path
    ) -> None:
        image = small_image(
            [file("a", 900), hard_link("b", "a"), hard_link("c", "b"), file("z", 1)],
            [file("a", 3, "new")],
            codec="gzip",
        )
        for sort in (False, True):
            found = members(tar_of(image, tmp_path, sort=sort))
            assert found["a"][-1] == b"new"
            assert (found["b"][0], found["b"][-1]) == (tarfile.REGTYPE, file("a", 900).data)
            assert (found["c"][0], found["c"][4]) == (tarfile.LNKTYPE, "b")

    def test_a_name_of_a_lower_layers_file(self, tmp_path: Path) -> None:
        image = small_image([file("a", 9)], [hard_link("b", "a")])
        found = members(tar_of(image, tmp_path))
        assert (found["a"][0], found["b"][0], found["b"][4]) == (
            tarfile.REGTYPE,
            tarfile.LNKTYPE,
            "a",
        )


def test_a_member_below_a_link_of_a_lower_layer_is_where_the_link_leads(tmp_path: Path) -> None:
    image = small_image(
        [folder("usr"), folder("usr/lib"), file("usr/lib/a", 4), link("lib", "usr/lib")],
        [file("lib/a", 5, "upper"), file("lib/b", 6)],
    )
    found = members(tar_of(image, tmp_path))
    assert sorted(found) == ["lib", "usr", "usr/lib", "usr/lib/a", "usr/lib/b"]
    assert found["usr/lib/a"][-1] == b"upper"


def test_names_that_other_readers_refuse_are_written_anew(tmp_path: Path) -> None:
    image = small_image([folder("d"), file("d/../e/../f", 5), file("/g", 6), file("./h", 7)])
    found = members(tar_of(image, tmp_path))
    assert sorted(found) == ["d", "f", "g", "h"]


def test_headers_that_hold_for_several_members_are_written_to_each(tmp_path: Path) -> None:
    header = tarfile.TarInfo.create_pax_global_header({"mtime": "5.5", "uid": "77"})
    layer = header + layer_of(file("a", 5), file("b", 6))
    image = build_image([layer_of(file("c", 1)), layer])
    found = members(tar_of(image, tmp_path))
    assert {name: (what[2], what[3]) for name, what in found.items()} == {
        "a": ((77, 0), 5.5),
        "b": ((77, 0), 5.5),
        "c": ((0, 0), 1_000_000),
    }


@pytest.mark.parametrize("sort", [False, True])
def test_times_keep_every_digit(tmp_path: Path, sort: bool) -> None:
    texts = {"d": "1700000000.123456789", "d/f": "-1.987654321", "d/g": "1700000000.500000000"}
    layer = b""
    for name, text in texts.items():
        member = tarfile.TarInfo(name)
        member.type = tarfile.DIRTYPE if name == "d" else tarfile.REGTYPE
        member.pax_headers = {"mtime": text}
        layer += member.tobuf(tarfile.PAX_FORMAT)
    data = tar_of(build_image([layer], compression="gzip"), tmp_path, sort=sort)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: member.pax_headers["mtime"].rstrip("0") for member in tar}
    assert found == {name: text.rstrip("0") for name, text in texts.items()}


class TestSorted:
    LAYERS = (
        [folder("b"), file("b/2", 700), file("a", 3), hard_link("c", "a")],
        [file("b/1", 5), gone("a")],
    )

    def test_the_same_tree_gives_the_same_bytes_whatever_the_layers_are(
        self, tmp_path: Path
    ) -> None:
        tars = set()
        for number, codec in enumerate(CODECS):
            place = tmp_path / str(number)
            place.mkdir()
            tars.add(tar_of(small_image(*self.LAYERS, codec=codec), place, sort=True))
        squashed = small_image(
            [file("c", 3, "a\n"), folder("b"), file("b/1", 5), file("b/2", 700)], codec="zstd"
        )
        tars.add(tar_of(squashed, tmp_path, sort=True))
        (only,) = tars
        assert list(members(only)) == ["b", "b/1", "b/2", "c"]
        assert len(only) % 10240 == 0


def test_a_layer_alone_is_its_own_tar(tmp_path: Path) -> None:
    image = small_image([file("a", 5)], [gone("a"), file("b", 6)], codec="gzip")
    with open_source(f"oci:{write_image(tmp_path, image)}") as opened:
        inside = look_inside(opened.source, opened.root, layers=[])
        assert b"".join(layer_tar(inside, 2)) == image.tars[1]


@pytest.mark.parametrize("codec", CODECS)
def test_damage_is_an_error_at_the_end(tmp_path: Path, codec: str) -> None:
    image = small_image([file("a", 3000, "abc")], codec=codec)  # type: ignore[arg-type]
    path = write_image(tmp_path, image)
    with open_source(f"oci:{path}") as opened:
        inside = look_inside(opened.source, opened.root)
        blob = path / "blobs/sha256" / image.layers[0].digest.hex
        data = bytearray(blob.read_bytes())
        data[-20 if codec != "none" else 600] ^= 1
        blob.write_bytes(data)
        for sort in (False, True):
            with pytest.raises((DigestMismatch, MalformedArchive)):
                b"".join(pieces(inside, sort=sort))
        with pytest.raises((DigestMismatch, MalformedArchive)):
            b"".join(layer_tar(inside, 1))


@pytest.mark.parametrize("form", SPARSE_FORMS)
class TestSparseFiles:
    def test_sorted_they_have_zeros_for_their_holes(self, tmp_path: Path, form: str) -> None:
        tar = sparse_tar(form, {"d/f": holed(), "d/g": b"next", "d/h": holed(3)})
        whole = [file("d/g", 4)]
        image = build_image([tar, layer_of(*whole)], compression="gzip")
        found = members(tar_of(image, tmp_path, sort=True))
        assert (found["d/f"][-1], found["d/h"][-1]) == (holed(), holed(3))
        assert found["d/f"][0] == tarfile.REGTYPE

    def test_else_gnu_tar_reads_what_is_exported(self, tmp_path: Path, form: str) -> None:
        tar = sparse_tar(form, {"d/f": holed(), "d/g": b"next"})
        exported = tar_of(build_image([tar], compression="none"), tmp_path)
        assert len(exported) < len(holed())
        out = tmp_path / "out"
        out.mkdir()
        subprocess.run(["tar", "-C", out, "-xf", "-"], input=exported, check=True)
        assert ((out / "d/f").read_bytes(), (out / "d/g").read_bytes()) == (holed(), b"next")
