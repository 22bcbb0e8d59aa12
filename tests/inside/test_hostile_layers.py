"""Layers that mean harm: a limit, a named problem, or the right answer in little time."""

import hashlib
import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.hostile.images import ZSTD_LAYER, layout
from fixtures.hostile.tars import (
    END,
    block,
    hard_link,
    long_name,
    member,
    pax,
    record,
    symlink,
    tar,
)
from ocitool.errors import LimitExceeded, NotFound
from ocitool.formats.compression import Codec, Compressor
from ocitool.images.opening import open_source
from ocitool.inside.image import Inside, look_inside
from ocitool.oci import DEFAULT_LIMITS, Limits
from tests.inside.looking import looking
from tests.support.images import Compression, build_image, write_files
from tests.support.insides import looked_into

FEW = DEFAULT_LIMITS.with_limit("extracted_entries", 100)


def look(*layers: bytes, codec: Compression = "none", limits: Limits = DEFAULT_LIMITS) -> Inside:
    return looked_into(build_image(list(layers), compression=codec), limits=limits)


def kinds(inside: Inside) -> list[str]:
    return [problem.kind for problem in inside.problems]


def paths(inside: Inside) -> list[str]:
    return [node.path for node in inside.tree.walk() if node.path]


def deep(count: int, name: str = "d") -> str:
    return "/".join([name] * count)


REFUSED: dict[str, tuple[Callable[[], bytes], Limits, str]] = {
    "more members than the limit": (
        lambda: tar(*(member(f"{number}") for number in range(101))),
        FEW,
        "more than 100 members",
    ),
    "more folders without members than the limit": (
        lambda: tar(*(member(f"{number}/a/b/c") for number in range(34))),
        FEW,
        "more than 100 folders",
    ),
    "a path of more than 4,096 bytes": (
        lambda: tar({deep(2049): b""}),
        DEFAULT_LIMITS,
        "longer than 4096 bytes",
    ),
    "a path 10,000 folders deep": (
        lambda: tar({deep(10_000): b""}),
        DEFAULT_LIMITS,
        "longer than 4096 bytes",
    ),
    "a name of 256 bytes": (
        lambda: tar({"ä" * 128: b""}),
        DEFAULT_LIMITS,
        "a name in it than 255",
    ),
    "a name of 256 bytes in a whiteout": (
        lambda: tar({f"a/.wh.{'n' * 252}": b""}),
        DEFAULT_LIMITS,
        "a name in it than 255",
    ),
    "a link of 64 KiB": (
        lambda: tar(long_name("x" * 65_536, b"K"), symlink("l", "x")),
        DEFAULT_LIMITS,
        "longer than 4096 bytes",
    ),
    "a path of more than 4,096 bytes, through a link": (
        lambda: tar(
            {f"{deep(1500)}/x": b""},
            long_name(deep(1500), b"K"),
            symlink("l", "x"),
            {f"l/{deep(1500, 'e')}": b""},
        ),
        DEFAULT_LIMITS,
        "leads deeper than 4096 bytes",
    ),
    "a PAX record of 2 MiB": (
        lambda: tar(pax(record("path", "x" * (2 << 20))), member("x")),
        DEFAULT_LIMITS,
        "extension headers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
class TestLimits:
    def test_a_layer_beyond_a_limit_is_refused(self, name: str) -> None:
        make, limits, says = REFUSED[name]
        with pytest.raises(LimitExceeded, match=says):
            look(make(), codec="zstd", limits=limits)

    def test_so_is_one_that_is_read_by_its_headers(self, name: str, tmp_path: Path) -> None:
        make, limits, says = REFUSED[name]
        image = build_image([make()], compression="none")
        with (
            pytest.raises(LimitExceeded, match=says),
            looking(tmp_path, image, limits=limits),
        ):
            pass


def test_a_bomb_is_refused_long_before_its_end(tmp_path: Path) -> None:
    zeros = zstd(bytes(64 << 20))
    bomb = zstd(block("zeros", size=1 << 36)) + zeros * 1024
    assert len(bomb) < 10 << 20
    path = write_files(tmp_path, layout([bomb], layer_type=ZSTD_LAYER))
    before = time.process_time()
    with (
        open_source(str(path)) as opened,
        pytest.raises(LimitExceeded, match="a decompression bomb"),
    ):
        look_inside(opened.source, opened.root)
    # All of it is 64 GiB.
    assert time.process_time() - before < 10


def zstd(data: bytes) -> bytes:
    compressor = Compressor(Codec.ZSTD)
    return compressor.compress(data) + compressor.flush()


DAMAGED = {
    "cut in a header": tar(member("x"), block("y")[:77], end=b""),
    "cut in a member": tar(member("x"), block("y", size=10_000), end=b""),
    "a bad checksum": tar(member("x"), member("y", checksum=b"000001\0 ")),
    "a member of 2^62 bytes": tar(block("y", size=b"\x80\0\0\0" + (1 << 62).to_bytes(8))),
    "two PAX sizes": tar(pax(record("size", "1"), record("size", "2")), member("x")),
    "an owner beyond 64 bits": tar(pax(record("uid", "9999999999999999999")), member("x")),
    "no tar": b"just a text\n" * 100,
}


@pytest.mark.parametrize("codec", ["none", "gzip"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_layer_is_a_problem_and_the_others_are_shown(
    name: str, codec: Compression
) -> None:
    inside = look(tar(member("a")), DAMAGED[name], tar(member("c")), codec=codec)
    assert kinds(inside) == ["damaged"]
    assert [layer.problem is None for layer in inside.layers] == [True, False, True]
    assert paths(inside) == ["a", "c"]


class TestNames:
    def test_the_spellings_of_a_path_are_one(self) -> None:
        spellings = ["a/b", "./a/b", "/a/b", "a//b", "a/./b", "a/b/", "../a/b", "x/../a/b", "a/b/."]
        inside = look(tar({spelling.removesuffix("/"): b"xx" for spelling in spellings}))
        assert paths(inside) == ["a", "a/b"]
        # Looking for one is like a process does: x is not there.
        for spelling in set(spellings) - {"x/../a/b"}:
            assert inside.tree.find(spelling).path == "a/b"

    def test_nothing_leads_out_of_the_image(self) -> None:
        inside = look(
            tar(
                symlink("up", "../../../../etc"),
                symlink("root", "/etc/passwd"),
                {"etc/passwd": b"inside", "../../outside": b"inside too"},
                hard_link("hard", "../../../etc/passwd"),
            )
        )
        for path in ("up/passwd", "root", "hard", "../../etc/passwd", "/../etc/passwd"):
            assert inside.tree.find(path).size == 6
        assert inside.tree.find("outside").size == 10

    def test_a_loop_of_links_ends_and_shows_its_links(self) -> None:
        inside = look(tar(symlink("a", "b"), symlink("b", "c/x"), symlink("c", "/a")))
        with pytest.raises(NotFound, match=r"more than 40 links \('a' -> 'b', 'b' -> 'c/x', "):
            inside.tree.find("a/file")

    def test_a_link_to_nothing_shows_its_links(self) -> None:
        inside = look(tar(symlink("a", "b"), symlink("b", "gone")))
        with pytest.raises(NotFound, match=r"is not in the image \('a' -> 'b', 'b' -> 'gone'\)"):
            inside.tree.find("a")

    def test_members_below_a_loop_are_a_problem(self) -> None:
        inside = look(tar(symlink("a", "b"), symlink("b", "a"), {"a/x": b"x", "c": b"x"}))
        assert kinds(inside) == ["link_loop"]
        assert paths(inside) == ["a", "b", "c"]

    def test_every_byte_is_kept_in_names_and_links(self) -> None:
        raw = bytes(code for code in range(1, 256) if code != ord("/"))
        text = raw.decode("utf-8", "surrogateescape")
        inside = look(
            tar(
                *(member(bytes([code]) + b"!") for code in raw),
                long_name(raw, b"K"),
                symlink("link", "x"),
            )
        )
        assert inside.tree.find("link", follow=False).link == text
        for code in raw:
            name = (bytes([code]) + b"!").decode("utf-8", "surrogateescape")
            assert inside.tree.find(name).path == name

    def test_the_deepest_path_is_walked_without_recursion(self) -> None:
        inside = look(tar({deep(2048): b"x"}))
        found = paths(inside)
        assert len(found) == 2048
        assert found[-1] == deep(2048)
        assert inside.tree.find(deep(2048)).size == 1


class TestOddities:
    def test_whiteouts_of_nothing_are_problems_and_no_more(self) -> None:
        names = [".wh.", ".wh..", ".wh...", ".wh.ghost", "a/.wh.x", "no/where/.wh.y", "../.wh.z"]
        inside = look(tar({"a": b"x"}), tar(dict.fromkeys(names, b""), {"b": b"x"}))
        assert kinds(inside) == ["stray_whiteout"] * len(names)
        assert paths(inside) == ["a", "b"]

    def test_the_root_cannot_be_replaced(self) -> None:
        inside = look(tar(symlink("/.", "/etc"), symlink("", "/"), member("."), {"a": b"x"}))
        assert set(kinds(inside)) == {"root_replaced"}
        assert paths(inside) == ["a"]

    def test_hard_links_to_nothing_are_problems(self) -> None:
        inside = look(
            tar({"d/x": b""}, hard_link("a", "gone"), hard_link("b", "d"), hard_link("c", "/"))
        )
        assert kinds(inside) == ["hard_link_to_nothing"] * 3
        assert paths(inside) == ["d", "d/x"]

    def test_what_lies_below_a_file_replaces_it(self) -> None:
        inside = look(tar({"a": b"12345"}), tar({"a/b": b"x"}))
        assert kinds(inside) == ["below_a_file"]
        assert paths(inside) == ["a", "a/b"]

    def test_of_many_problems_a_hundred_are_kept(self) -> None:
        inside = look(tar(*(block(f".wh.{number}") for number in range(5000))))
        assert len(inside.problems) == 101
        assert inside.problems[-1].text == "and 4900 more like these"

    def test_a_sparse_file_counts_its_whole_size(self) -> None:
        sparse = pax(
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", "x"),
            record("GNU.sparse.realsize", str(1 << 43)),
        )
        inside = look(tar(sparse, member("y", b"0\n"), {"z": b"1"}))
        assert inside.tree.find("x").size == 1 << 43
        assert inside.tree.find("z").size == 1


def seconds(*layers: bytes) -> float:
    """Return the CPU time that looking takes; what is made before does not count."""
    image = build_image(list(layers), compression="none")
    before = time.process_time()
    looked_into(image)
    return time.process_time() - before


def numbered(count: int, form: str) -> Iterator[bytes]:
    return (block(form.format(number)) for number in range(count))


def joined(blocks: Iterator[bytes]) -> bytes:
    return b"".join(blocks) + END


MANY: dict[str, Callable[[int], tuple[bytes, ...]]] = {
    "whiteouts": lambda n: (joined(numbered(n, "d/{}")), joined(numbered(n, "d/.wh.{}"))),
    "whiteouts of nothing": lambda n: (tar(member("a")), joined(numbered(n, ".wh.{}"))),
    "opaque markers": lambda n: (
        joined(numbered(n, "d/{}")),
        block("d/.wh..wh..opq") * n + END,
    ),
    "opaque folders": lambda n: (
        joined(numbered(n, "{0}/a")),
        joined(numbered(n, "{0}/.wh..wh..opq")),
    ),
    "one file again and again": lambda n: (block("same") * n + END,),
    "a folder and a file in turn": lambda n: (
        joined(numbered(n, "d/{}")),
        (block("d") + block("d/", kind=b"5")) * (n // 2) + END,
    ),
    "a link and a folder in turn, with something in it": lambda n: (
        joined(numbered(n, "t/{}")),
        (symlink("d", "t") + block("d/", kind=b"5") + block("d/x")) * (n // 3) + END,
    ),
    "names of one file": lambda n: (
        block("a") + b"".join(hard_link(f"l{number}", "a") for number in range(n)) + END,
    ),
    "whiteouts far down": lambda n: (
        tar({f"{deep(500)}/x": b""}),
        b"".join(long_name(f"{deep(500)}/.wh.{number}") + block("x") for number in range(n // 10))
        + END,
    ),
    "members far down, while links change": lambda n: (
        tar({f"{deep(500)}/x": b""}),
        b"".join(
            long_name(f"{deep(500)}/{number}") + block("x") + symlink("l", "a") + block("l")
            for number in range(n // 10)
        )
        + END,
    ),
    "members behind forty links": lambda n: (
        b"".join(symlink(f"l{number}", f"l{number + 1}") for number in range(39))
        + symlink("l39", "t")
        + joined(numbered(n // 10, "l0/{}/x")),
    ),
}


@pytest.mark.parametrize("name", MANY)
def test_many_of_them_cost_no_square(name: str) -> None:
    small = min(seconds(*MANY[name](2_000)) for _ in range(2))
    large = min(seconds(*MANY[name](8_000)) for _ in range(2))
    # A square would be 16 times; 0.02 s are noise.
    assert large < 8 * small + 0.02


def gzipped(blocks: Iterator[bytes]) -> tuple[bytes, str]:
    """Return a tar of these blocks as a gzip layer, and its diff ID; never whole in memory."""
    compressor, hasher, pieces = zlib.compressobj(1, wbits=31), hashlib.sha256(), []
    for part in itertools.chain(blocks, [END]):
        hasher.update(part)
        pieces.append(compressor.compress(part))
    return b"".join([*pieces, compressor.flush()]), f"sha256:{hasher.hexdigest()}"


@pytest.mark.soak
def test_a_million_whiteouts_take_seconds(tmp_path: Path) -> None:
    count = 1_000_000
    lower, upper = gzipped(numbered(count, "d/{}")), gzipped(numbered(count, "d/.wh.{}"))
    files = layout([lower[0], upper[0]], diff_ids=[lower[1], upper[1]])
    path = write_files(tmp_path, files)
    before = time.process_time()
    with open_source(str(path)) as opened:
        inside = look_inside(opened.source, opened.root)
    assert paths(inside) == ["d"]
    assert inside.problems == ()
    # dive needs a copy of the whole tree for each of them.
    assert time.process_time() - before < 60


@pytest.mark.soak
def test_folders_that_each_lie_behind_forty_long_links_are_refused_in_seconds() -> None:
    detour = "./" * 2000
    links = b"".join(
        long_name(f"{detour}l{number + 1}", b"K") + symlink(f"l{number}", "x")
        for number in range(38)
    )
    end = symlink("l38", "t") + block("t/", kind=b"5")
    before = time.process_time()
    with pytest.raises(LimitExceeded, match="folders and links"):
        look(links + end + joined(numbered(10_000, "l0/{}/f")))
    assert time.process_time() - before < 30
