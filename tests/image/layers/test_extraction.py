"""Unpacking layers into a folder: attributes, whiteouts, limits, and what is refused."""

import contextlib
import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch, LimitExceeded, MalformedArchive, StorageError
from ocitool.fsops import Directory
from ocitool.image.layers import Extracted, Extraction, Keep
from ocitool.oci import DEFAULT_LIMITS, Digest, Limits
from tests.support.root_files import Node, folder, hard_link, layer_of, link

ALL = Keep(owners=True, set_id=True, attributes=True, special=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@contextlib.contextmanager
def extraction(path: Path, keep: Keep | None, limits: Limits) -> Iterator[Extraction]:
    path.mkdir(mode=0o700, exist_ok=True)
    with Directory.open(str(path)) as root, Extraction(root, keep=keep, limits=limits) as one:
        yield one


def unpack(
    path: Path, *layers: bytes, keep: Keep | None = None, limits: Limits = DEFAULT_LIMITS
) -> Extracted:
    with extraction(path, keep, limits) as one:
        for layer in layers:
            one.layer(io.BytesIO(layer), Digest.of(layer), stored=Digest.of(layer))
        return one.finish()


def test_modes_and_times_are_those_of_the_members(tmp_path: Path) -> None:
    unpack(
        tmp_path / "r",
        layer_of(
            folder("d", 0o500, time=1000),
            Node(path="d/f", data=b"x", mode=0o640, time=2000.5),
            link("d/l", "f"),
        ),
    )
    status = (tmp_path / "r/d").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o500, 1000)
    status = (tmp_path / "r/d/f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 2000.5)
    assert (tmp_path / "r/d/l").lstat().st_mtime == 1_000_000


def test_a_folder_that_is_made_on_the_way_can_be_entered_by_all(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(tmp_path / "r", layer_of(Node(path="a/b/c")))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "r/a/b").stat().st_mode) == 0o755


def test_without_being_asked_no_bit_owner_device_or_attribute_is_kept(tmp_path: Path) -> None:
    report = unpack(
        tmp_path / "r",
        layer_of(
            Node(path="s", mode=0o6755, owner=(7, 8), attributes={"user.a": "b"}),
            Node(path="null", type=tarfile.CHRTYPE, device=(1, 3)),
            Node(path="pipe", type=tarfile.FIFOTYPE),
        ),
    )
    status = (tmp_path / "r/s").stat()
    assert stat.S_IMODE(status.st_mode) == 0o755
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
    assert os.listxattr(tmp_path / "r/s") == []
    assert sorted(os.listdir(tmp_path / "r")) == ["s"]
    assert (report.special, report.attributes) == (2, 1)


@as_root
def test_root_keeps_owners_bits_devices_and_portable_attributes(tmp_path: Path) -> None:
    hostile = {"trusted.overlay.opaque": "y", "user.overlay.redirect": "/", "security.x": "z"}
    report = unpack(
        tmp_path / "r",
        layer_of(
            folder("d", 0o2755, owner=(3, 4), attributes={"user.d": "e"}),
            Node(path="s", mode=0o6755, owner=(7, 8), attributes={"user.a": "b", **hostile}),
            Node(path="null", type=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
            Node(path="gone", type=tarfile.CHRTYPE, device=(0, 0)),
            Node(path="pipe", type=tarfile.FIFOTYPE, owner=(5, 6)),
            link("l", "s"),
        ),
        keep=ALL,
    )
    status = (tmp_path / "r/s").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o6755, 7, 8)
    assert os.listxattr(tmp_path / "r/s") == ["user.a"]
    status = (tmp_path / "r/d").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2755, 3, 4)
    assert os.getxattr(tmp_path / "r/d", "user.d") == b"e"
    status = (tmp_path / "r/null").stat()
    assert stat.S_ISCHR(status.st_mode)
    assert (status.st_rdev, stat.S_IMODE(status.st_mode)) == (os.makedev(1, 3), 0o666)
    assert stat.S_ISFIFO((tmp_path / "r/pipe").stat().st_mode)
    # An overlay would take a device 0/0 for a deleted file.
    assert not (tmp_path / "r/gone").exists()
    assert (report.special, report.attributes) == (1, 3)


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    unpack(tmp_path / "r", layer_of(Node(path="a", data=b"x"), hard_link("d/b", "/a")))
    assert (tmp_path / "r/a").stat().st_ino == (tmp_path / "r/d/b").stat().st_ino


def test_a_file_that_tar_wrote_twice_stays_one(tmp_path: Path) -> None:
    unpack(tmp_path / "r", layer_of(Node(path="a", data=b"x"), hard_link("a", "a")))
    assert (tmp_path / "r/a").read_bytes() == b"x"


def test_a_hard_link_to_what_was_left_out_is_left_out(tmp_path: Path) -> None:
    device = Node(path="null", type=tarfile.CHRTYPE, device=(1, 3))
    report = unpack(tmp_path / "r", layer_of(device, hard_link("zero", "null")))
    assert os.listdir(tmp_path / "r") == []
    assert report.special == 2


def test_a_whiteout_hides_what_is_below_and_not_what_its_own_layer_brings(tmp_path: Path) -> None:
    lower = layer_of(folder("d"), Node(path="d/old"), Node(path="f"))
    upper = layer_of(Node(path="d/new"), Node(path=".wh.d"), Node(path=".wh.f"))
    unpack(tmp_path / "r", lower, upper)
    assert sorted(str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r").rglob("*")) == [
        "d",
        "d/new",
    ]


def test_an_opaque_folder_shows_only_its_own_layer_wherever_its_marker_stands(
    tmp_path: Path,
) -> None:
    lower = layer_of(folder("d"), Node(path="d/old"), folder("d/sub"), Node(path="d/sub/old"))
    upper = layer_of(Node(path="d/sub/new"), Node(path="d/.wh..wh..opq"), Node(path="d/more"))
    unpack(tmp_path / "r", lower, upper)
    assert sorted(str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r/d").rglob("*")) == [
        "d/more",
        "d/sub",
        "d/sub/new",
    ]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_whiteout_of_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MalformedArchive):
        unpack(tmp_path / "r", layer_of(Node(path=f"d/{name}")))


@pytest.mark.parametrize(
    "node",
    [
        Node(path="/."),
        Node(path="."),
        link("./", "/etc"),
        hard_link("a", "../../etc/passwd"),
        hard_link("a", "nothing"),
        hard_link("a", "/"),
        Node(path="a", owner=(2**32 - 1, 0)),
        link("a", ""),
    ],
)
def test_members_that_make_no_sense_are_refused(tmp_path: Path, node: Node) -> None:
    with pytest.raises(MalformedArchive):
        unpack(tmp_path / "r", layer_of(node))


def test_a_chain_of_links_that_lead_up_stays_inside(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 16)
    nodes = [folder("/".join(["d"] * n)) for n in range(1, 17)]
    chain = link(f"{deep}/up", "/".join([".."] * 40) + "/etc")
    unpack(tmp_path / "r", layer_of(nodes, chain, Node(path=f"{deep}/up/x", data=b"mine")))
    assert (tmp_path / "r/etc/x").read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == ["r"]


def test_a_link_loop_is_refused_in_no_time(tmp_path: Path) -> None:
    with pytest.raises(MalformedArchive, match="too many links"):
        unpack(tmp_path / "r", layer_of(link("a", "b"), link("b", "a"), Node(path="a/x")))


def test_a_tree_deeper_than_files_may_be_open_is_unpacked_replaced_and_gone(tmp_path: Path) -> None:
    path = "/".join(["d"] * 2000)
    replaced = layer_of(Node(path=".wh.d"), Node(path="d", data=b"flat"))
    unpack(tmp_path / "r", layer_of(Node(path=f"{path}/x", data=b"deep")), replaced)
    assert (tmp_path / "r/d").read_bytes() == b"flat"


def test_a_name_longer_than_the_limits_is_refused(tmp_path: Path) -> None:
    for path in ("n" * 256, "/".join(["dd"] * 1400)):
        with pytest.raises(LimitExceeded):
            unpack(tmp_path / "r", layer_of(Node(path=path)))


@pytest.mark.parametrize(
    ("limit", "value", "error"),
    [
        ("extracted_entries", 2, LimitExceeded),
        ("extracted_bytes", 5, LimitExceeded),
        ("free_disk_percent", 101, StorageError),
    ],
)
def test_limits_end_the_unpacking(
    tmp_path: Path, limit: str, value: int, error: type[Exception]
) -> None:
    layer = layer_of(Node(path="a", data=b"xxx"), Node(path="b", data=b"yyy"), Node(path="c"))
    with pytest.raises(error):
        unpack(tmp_path / "r", layer, limits=DEFAULT_LIMITS.with_limit(limit, value))
    assert not (tmp_path / "r/c").exists()


def test_a_file_that_would_exceed_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    limits = DEFAULT_LIMITS.with_limit("extracted_bytes", 1000)
    with pytest.raises(LimitExceeded):
        unpack(tmp_path / "r", layer_of(Node(path="a", data=bytes(100_000))), limits=limits)
    assert (tmp_path / "r/a").stat().st_size == 0


def test_a_layer_that_is_not_what_the_config_promises_is_refused(tmp_path: Path) -> None:
    layer = layer_of(Node(path="a"))
    with extraction(tmp_path / "r", None, DEFAULT_LIMITS) as one, pytest.raises(DigestMismatch):
        one.layer(
            io.BytesIO(gzip.compress(layer)), Digest.of(b"other"), stored=Digest.of(b"stored")
        )


def test_what_follows_the_end_of_the_tar_counts(tmp_path: Path) -> None:
    layer = layer_of(Node(path="a"))
    longer = layer + bytes(100_000)
    with extraction(tmp_path / "r", None, DEFAULT_LIMITS) as one:
        one.layer(io.BytesIO(gzip.compress(longer)), Digest.of(longer), stored=Digest.of(b"x"))
        with pytest.raises(DigestMismatch):
            one.layer(io.BytesIO(gzip.compress(longer)), Digest.of(layer), stored=Digest.of(b"x"))


def test_many_opaque_markers_cost_no_square(tmp_path: Path) -> None:
    files = [Node(path=f"d/{number}") for number in range(2000)]
    markers = [Node(path="d/.wh..wh..opq") for _ in range(2000)]
    with extraction(tmp_path / "r", None, DEFAULT_LIMITS) as one:
        layer = layer_of(files, markers)
        one.layer(io.BytesIO(layer), Digest.of(layer), stored=Digest.of(layer))
        calls = 0
        real = os.stat

        def counted(*arguments: object, **options: object) -> os.stat_result:
            nonlocal calls
            calls += 1
            return real(*arguments, **options)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "stat", counted)
            again = layer_of(files, markers)
            one.layer(io.BytesIO(again), Digest.of(again), stored=Digest.of(again))
    assert calls < 20_000
    assert len(os.listdir(tmp_path / "r/d")) == 2000


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    unpack(tmp_path / "r", layer_of(Node(path=name, data=b"x")))
    assert (tmp_path / "r" / name).read_bytes() == b"x"
