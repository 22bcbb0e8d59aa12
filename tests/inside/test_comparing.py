"""Two images compared: by content, in any split into layers, with what is ignored left out."""

import hashlib
import shutil
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.images.opening import open_source
from ocitool.inside.comparing import DEFAULT, DiffOptions, Image, compare, look_inside_both
from ocitool.inside.config_changes import compare_histories
from ocitool.inside.differences import Comparison, Section, What
from ocitool.inside.globs import path_matcher
from ocitool.oci import Descriptor, HistoryEntry, Platform
from tests.support.examples import part_of
from tests.support.images import (
    BuiltImage,
    Compression,
    blob_path,
    build_image,
    build_index,
    write_layout,
)
from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import CODECS, NAME, file, gone, small_image

FILES = DiffOptions(sections=[Section.FILES])


def compared(
    place: Path,
    a: BuiltImage,
    b: BuiltImage,
    scope: DiffOptions = FILES,
    *,
    damaged: Sequence[Descriptor] = (),
) -> Comparison:
    """Compare two images in layouts of their own, after these blobs of both were overwritten."""
    one = write_layout(place / "a", {NAME: a})
    other = write_layout(place / "b", {NAME: b})
    for layout in (one, other):
        for layer in damaged:
            if (layout / blob_path(layer)).exists():
                (layout / blob_path(layer)).write_bytes(b"x" * layer.size)
    return compared_places(f"oci:{one}", f"oci:{other}", scope)


def compared_places(a: str, b: str, scope: DiffOptions = FILES) -> Comparison:
    with ExitStack() as stack:
        both = [stack.enter_context(open_source(place)) for place in (a, b)]
        one, other = (Image(source=opened.source, root=opened.root) for opened in both)
        return compare(*look_inside_both(one, other, scope), scope)


def told(found: Comparison) -> tuple[list[str], list[str], dict[str, list[str]], int]:
    """Return what was added, removed and changed, and how many paths differ in their time."""
    files = found.files
    assert files is not None
    return (
        [entry.path for entry in files.added],
        [entry.path for entry in files.removed],
        {change.path: [*change.what] for change in files.changed},
        files.mtime_only,
    )


NOTHING: tuple[list[str], list[str], dict[str, list[str]], int] = ([], [], {}, 0)


def sparse_layer(data: bytes) -> bytes:
    """Return a layer with a sparse file of 4,096 bytes that stores 512 bytes of data."""
    member = tarfile.TarInfo("s")
    member.size = 512
    member.pax_headers = {"GNU.sparse.size": "4096", "GNU.sparse.numblocks": "1"}
    return member.tobuf(tarfile.PAX_FORMAT) + data.ljust(512, b"\0") + bytes(1024)


def test_what_cannot_be_compared_is_not_the_same(tmp_path: Path) -> None:
    one, other = (build_image([sparse_layer(data)], compression="none") for data in (b"a", b"b"))
    found = compared(tmp_path, one, other)
    assert told(found) == ([], [], {"s": ["content"]}, 0)
    assert not found.same


@pytest.mark.parametrize("codec", CODECS)
class TestContent:
    def test_files_of_equal_size_and_time_differ_by_content(
        self, tmp_path: Path, codec: Compression
    ) -> None:
        a = small_image([file("f", 1000, "one "), file("same", 9)], codec=codec)
        b = small_image([file("f", 1000, "two "), file("same", 9)], codec=codec)
        found = compared(tmp_path, a, b)
        assert told(found) == ([], [], {"f": ["content"]}, 0)
        assert not found.same
        assert found.files is not None
        (change,) = found.files.changed
        assert change.a.sha256 == hashlib.sha256(b"one " * 250).hexdigest()
        assert change.b.sha256 == hashlib.sha256(b"two " * 250).hexdigest()

    def test_the_split_into_layers_makes_no_difference(
        self, tmp_path: Path, codec: Compression
    ) -> None:
        whole = [folder("d"), file("d/x", 10), file("d/y", 20), file("z", 30), link("l", "z")]
        a = small_image(whole, codec=codec)
        b = small_image(
            [file("z", 31), link("l", "z"), file("old", 5)],
            [folder("d"), file("d/y", 20)],
            [file("d/x", 10), file("z", 30), gone("old")],
            codec=codec,
        )
        found = compared(tmp_path, a, b)
        assert told(found) == NOTHING
        assert found.same
        assert found.files is not None
        assert found.files.compared == 6

    def test_the_form_of_the_layers_makes_no_difference(
        self, tmp_path: Path, codec: Compression
    ) -> None:
        layers = [[file("a", 1000)], [file("b", 500), gone("a")]]
        plain, other = small_image(*layers), small_image(*layers, codec=codec)
        found = compared(tmp_path, plain, other, DEFAULT)
        assert found.same
        assert found.layers is not None
        assert [one.is_stored_alike for one in found.layers.shared] == [codec == "none"] * 2


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        (file("f", 5), file("f", 6), ["content"]),
        (file("f", 5), file("f", 5, mode=0o4755), ["mode"]),
        (file("f", 5), file("f", 5, owner=(1, 2)), ["owner"]),
        (file("f", 5), file("f", 5, attributes={"SCHILY.xattr.user.a": "b"}), ["xattrs"]),
        (link("f", "a"), link("f", "b"), ["link"]),
        (file("f", 0), link("f", "b"), ["type", "mode"]),
        (folder("f"), file("f", 5, mode=0o755), ["type"]),
        (
            Node(path="f", type=b"3", device=(1, 3)),
            Node(path="f", type=b"3", device=(1, 5)),
            ["device"],
        ),
        (Node(path="f", type=b"3"), Node(path="f", type=b"4"), ["type"]),
        (file("f", 5, time=1), file("f", 6, time=2, mode=0o600), ["content", "mode", "mtime"]),
    ],
)
def test_what_differs_is_named(tmp_path: Path, a: Node, b: Node, what: list[str]) -> None:
    found = compared(tmp_path, small_image([a]), small_image([b]))
    assert told(found) == ([], [], {"f": what}, 0)


class TestTimes:
    A = small_image([folder("d", time=1), file("d/x", 5, time=1.25), file("d/y", 5, time=9)])
    B = small_image([folder("d", time=2), file("d/x", 5, time=1.5), file("d/y", 5, time=9)])

    def test_paths_that_differ_in_time_alone_are_counted(self, tmp_path: Path) -> None:
        found = compared(tmp_path, self.A, self.B)
        assert told(found) == ([], [], {}, 2)
        assert not found.same

    def test_they_can_be_ignored(self, tmp_path: Path) -> None:
        scope = DiffOptions(sections=[Section.FILES], ignored=[What.MTIME])
        found = compared(tmp_path, self.A, self.B, scope)
        assert told(found) == NOTHING
        assert found.same

    def test_a_folder_that_no_layer_describes_has_no_time(self, tmp_path: Path) -> None:
        bare = small_image([file("d/x", 5, time=1.25), file("d/y", 5, time=9)])
        assert told(compared(tmp_path, self.A, bare)) == NOTHING


def test_owners_and_modes_can_be_ignored(tmp_path: Path) -> None:
    a = small_image([file("f", 5), file("g", 5)])
    b = small_image([file("f", 5, owner=(1, 1)), file("g", 6, owner=(1, 1), mode=0o600)])
    scope = DiffOptions(sections=[Section.FILES], ignored=[What.OWNER, What.MODE])
    assert told(compared(tmp_path, a, b, scope)) == ([], [], {"g": ["content"]}, 0)


class TestTrees:
    def test_what_only_one_image_has_is_in_the_order_of_a_walk(self, tmp_path: Path) -> None:
        a = small_image([file("a/x", 1), file("a-b", 1), file("z/only", 7)], [gone("z")])
        b = small_image([file("a/x", 1), file("c/d/e", 2), file("c-", 3), file("a-b", 1)])
        assert told(compared(tmp_path, a, b)) == (["c", "c/d", "c/d/e", "c-"], [], {}, 0)
        assert told(compared(tmp_path, b, a)) == ([], ["c", "c/d", "c/d/e", "c-"], {}, 0)

    def test_a_folder_in_place_of_a_file(self, tmp_path: Path) -> None:
        a, b = small_image([file("x", 5, mode=0o755)]), small_image([folder("x"), file("x/y", 5)])
        assert told(compared(tmp_path, a, b)) == (["x/y"], [], {"x": ["type"]}, 0)
        assert told(compared(tmp_path, b, a)) == ([], ["x/y"], {"x": ["type"]}, 0)

    def test_hard_links_are_compared_by_the_names_that_both_have(self, tmp_path: Path) -> None:
        linked = [file("a", 5), hard_link("b", "a"), hard_link("c", "a")]
        apart = [file("a", 5), hard_link("b", "a"), file("c", 5, "a\n")]
        found = compared(tmp_path, small_image(linked), small_image(apart))
        assert told(found) == ([], [], {"c": ["link"]}, 0)

    def test_further_paths_of_a_file_name_the_first_one(self, tmp_path: Path) -> None:
        a = small_image([file("b", 5), hard_link("c", "b")])
        b = small_image([file("b", 6), hard_link("c", "b"), hard_link("a", "b"), file("d", 1)])
        files = compared(tmp_path, a, b).files
        assert files is not None
        changed = {change.path: (change.a, change.b) for change in files.changed}
        assert {path: (a.hard_link, b.hard_link) for path, (a, b) in changed.items()} == {
            "b": (None, "a"),
            "c": ("b", "a"),
        }
        assert [(e.path, e.hard_link) for e in files.added] == [("a", None), ("d", None)]

    def test_another_first_name_is_no_difference(self, tmp_path: Path) -> None:
        a = small_image([file("a", 5, "x"), hard_link("b", "a")])
        b = small_image([file("b", 5, "x"), hard_link("a", "b")])
        assert told(compared(tmp_path, a, b)) == NOTHING
        c = small_image([file("a", 5, "x"), hard_link("b", "a")], [gone("a")])
        assert told(compared(tmp_path, a, c)) == ([], ["a"], {}, 0)

    def test_names_that_are_not_utf_8(self, tmp_path: Path) -> None:
        a = small_image([file("caf\udce9", 5)])
        b = small_image([file("caf\udce9", 6), file("x\n", 1)])
        assert told(compared(tmp_path, a, b)) == (["x\n"], [], {"caf\udce9": ["content"]}, 0)

    def test_images_without_layers(self, tmp_path: Path) -> None:
        found = compared(tmp_path, small_image(), small_image([file("a", 1)]), DEFAULT)
        assert told(found)[0] == ["a"]
        assert found.size.a.live_bytes == 0


class TestOnly:
    A = small_image([file("etc/passwd", 9, "a"), file("opt/big", 9, "a"), file("etc/x/y", 1)])
    B = small_image([file("etc/passwd", 9, "b"), file("opt/big", 9, "b")])

    def test_only_what_fits_a_pattern_is_compared(self, tmp_path: Path) -> None:
        scope = DiffOptions(sections=[Section.FILES], wanted=path_matcher(["etc/**"]))
        found = compared(tmp_path, self.A, self.B, scope)
        assert told(found) == ([], ["etc/x", "etc/x/y"], {"etc/passwd": ["content"]}, 0)

    @pytest.mark.parametrize(
        ("pattern", "fitting", "other"),
        [
            ("*.conf", ["a.conf", "etc/a.conf", "x.conf/below"], ["a.confx", "a.conf.d"]),
            ("/etc", ["etc", "etc/a"], ["a/etc", "etcetera"]),
            ("etc/*.d", ["etc/a.d", "etc/a.d/b"], ["etc/a/b.d", "x/etc/a.d"]),
            ("usr/**/x", ["usr/x", "usr/a/b/x"], ["usr/ax", "x"]),
            ("etc/**", ["etc/a", "etc/a/b"], ["etcetera"]),
            ("?b", ["ab", "c/ab"], ["/b", "abc"]),
            ("[ab]c", ["ac", "x/bc"], ["cc", "[ab]c"]),
            ("[!a]c", ["bc"], ["ac", "x/c"]),
            ("a[", ["a["], ["a"]),
            ("a\nb", ["a\nb"], ["a", "b"]),
        ],
    )
    def test_patterns(self, pattern: str, fitting: list[str], other: list[str]) -> None:
        fits = path_matcher([pattern])
        assert [path for path in fitting if not fits(path)] == []
        assert [path for path in other if fits(path)] == []

    def test_of_plain_layers_only_that_content_is_read(self, tmp_path: Path) -> None:
        scope = DiffOptions(sections=[Section.FILES], wanted=path_matcher(["etc"]))
        layout = write_layout(tmp_path / "b", {NAME: self.B})
        (blob,) = self.B.layers
        path = layout / "blobs" / "sha256" / blob.digest.hex
        data = path.read_bytes()
        at = data.index(b"bbbbbbbbb", data.index(b"opt/big"))
        # What is not read is not found to be damaged either.
        path.write_bytes(data[:at] + b"aaaaaaaaa" + data[at + 9 :])
        one = write_layout(tmp_path / "a", {NAME: self.A})
        assert "opt/big" not in told(compared_places(f"oci:{one}", f"oci:{layout}", scope))[2]
        found = compared_places(f"oci:{one}", f"oci:{layout}", FILES)
        assert "opt/big" not in told(found)[2]


class TestSections:
    A = small_image([file("a", 5)], [file("b", 5)], steps=["one", "two"])
    B = small_image([file("a", 5)], [file("c", 5)], steps=["one", "other"])

    @pytest.mark.parametrize("section", [Section.CONFIG, Section.LAYERS])
    def test_without_files_no_layer_is_read(self, tmp_path: Path, section: Section) -> None:
        scope = DiffOptions(sections=[section])
        found = compared(tmp_path, self.A, self.B, scope, damaged=self.B.layers)
        assert (found.files, found.problems, found.same) == (None, (), False)
        assert (found.layers is None) == (section is Section.CONFIG)
        assert (found.config is None) == (section is Section.LAYERS)

    def test_everything_is_compared_by_default(self, tmp_path: Path) -> None:
        found = compared(tmp_path, self.A, self.B, DEFAULT)
        assert told(found) == (["c"], ["b"], {}, 0)
        assert found.config == ()
        assert found.history is not None
        assert [(one.is_added, one.step, one.instruction) for one in found.history.changes] == [
            (False, 2, "two"),
            (True, 2, "other"),
        ]
        assert found.layers is not None
        assert [one.number for one in found.layers.only_b] == [2]
        assert (found.size.a.live_bytes, found.size.b.live_bytes) == (10, 10)

    def test_an_image_is_the_same_as_itself(self, tmp_path: Path) -> None:
        found = compared(tmp_path, self.A, self.A, DEFAULT)
        assert found.same
        assert found.a.digest == found.b.digest == self.A.descriptor.digest


class TestLayers:
    def test_they_are_matched_wherever_they_stand(self, tmp_path: Path) -> None:
        x, y, z = ([file(name, 100)] for name in "xyz")
        found = compared(
            tmp_path,
            small_image(x, y),
            small_image(z, y, x),
            DiffOptions(sections=[Section.LAYERS]),
        )
        assert found.layers is not None
        assert [(one.a.number, one.b.number) for one in found.layers.shared] == [(1, 3), (2, 2)]
        assert [one.number for one in found.layers.only_b] == [1]
        assert not found.layers.same

    def test_a_layer_that_is_there_twice_is_matched_twice(self, tmp_path: Path) -> None:
        x = [file("x", 100)]
        scope = DiffOptions(sections=[Section.LAYERS])
        layers = compared(tmp_path, small_image(x, x), small_image(x), scope).layers
        assert layers is not None
        assert [(one.a.number, one.b.number) for one in layers.shared] == [(1, 1)]
        assert [one.number for one in layers.only_a] == [2]

    def test_a_diff_id_that_is_a_lie_hides_nothing(self, tmp_path: Path) -> None:
        a = small_image([file("f", 50, "good")])
        bad = small_image([file("f", 50, "evil")], config={"rootfs": _rootfs(a)}, codec="gzip")
        found = compared(tmp_path, a, bad, DEFAULT)
        assert told(found) == ([], [], {"f": ["content"]}, 0)

    def test_a_layer_that_cannot_be_read_is_a_problem(self, tmp_path: Path) -> None:
        a, b = (small_image([file("a", size)], codec="gzip") for size in (5, 6))
        found = compared(tmp_path, a, b, damaged=b.layers)
        assert not found.same
        (problem,) = found.problems
        assert (problem.image, problem.layer, problem.kind) == ("b", 1, "damaged")

    def test_one_that_both_have_is_none(self, tmp_path: Path) -> None:
        a = small_image([file("a", 5)], codec="gzip")
        found = compared(tmp_path, a, a, damaged=a.layers)
        assert (found.same, found.problems) == (True, ())

    @pytest.mark.parametrize("codec", ["none", "gzip"])
    @pytest.mark.parametrize("broken", ["a", "b"])
    def test_one_that_only_one_could_read_counts_for_both(
        self, tmp_path: Path, broken: str, codec: Compression
    ) -> None:
        base = [file("base", 5), file("moved", 70, "one"), file("kept", 70, "one")]
        again = [file("kept", 70, "one"), file("moved", 70, "two"), file("more", 7)]
        one = small_image(base, codec=codec)
        other = small_image(base, again, codec=codec)

        def found(a: BuiltImage, b: BuiltImage) -> Comparison:
            for name, image in (("a", a), ("b", b)):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
                write_layout(tmp_path / name, {NAME: image})
            (tmp_path / broken / blob_path(one.layers[0])).unlink()
            return compared_places(f"oci:{tmp_path / 'a'}", f"oci:{tmp_path / 'b'}", FILES)

        same = found(one, one)
        assert (same.same, same.problems) == (True, ())
        differs = found(one, other)
        assert told(differs) == (["more"], [], {"moved": ["content"]}, 0)
        assert differs.problems == ()


def _rootfs(image: BuiltImage) -> Mapping[str, object]:
    return {"type": "layers", "diff_ids": [str(digest) for digest in image.diff_ids]}


def test_of_an_index_the_same_platform_is_taken_on_both_sides(tmp_path: Path) -> None:
    images = [small_image([file("a", 5)], platform=name) for name in ("linux/arm64", "linux/amd64")]
    other = [small_image([file("a", 6)], platform="linux/amd64")]
    one = write_layout(tmp_path / "a", {NAME: build_index(images)})
    two = write_layout(tmp_path / "b", {NAME: build_index(other)})
    with open_source(f"oci:{one}") as a, open_source(f"oci:{two}") as b:
        insides = look_inside_both(
            Image(source=a.source, root=a.root),
            Image(source=b.source, root=b.root),
            FILES,
            platform=Platform.parse("linux/amd64"),
        )
        found = compare(*insides, FILES)
    assert str(found.a.platform) == str(found.b.platform) == "linux/amd64"
    assert told(found) == ([], [], {"a": ["content"]}, 0)


@pytest.mark.parametrize(
    ("a", "b", "taken"),
    [
        (["linux/arm64"], ["linux/amd64", "linux/arm64"], ("linux/arm64", "linux/arm64")),
        (["linux/amd64", "linux/arm64"], ["linux/arm64"], ("linux/arm64", "linux/arm64")),
        (["linux/s390x"], ["linux/arm64"], ("linux/s390x", "linux/arm64")),
    ],
)
def test_unless_it_is_asked_for_a_platform_of_both_is_taken(
    tmp_path: Path, a: list[str], b: list[str], taken: tuple[str, str]
) -> None:
    places = []
    for name, platforms in (("a", a), ("b", b)):
        index = build_index([small_image([file(one, 5)], platform=one) for one in platforms])
        places.append(f"oci:{write_layout(tmp_path / name, {NAME: index})}")
    with open_source(places[0]) as one, open_source(places[1]) as other:
        insides = look_inside_both(
            Image(source=one.source, root=one.root),
            Image(source=other.source, root=other.root),
            platform=Platform.parse("linux/amd64"),
        )
        found = compare(*insides)
    assert (str(found.a.platform), str(found.b.platform)) == taken


class TestTextDiffs:
    SCOPE = DiffOptions(sections=[Section.FILES], content=True)

    @pytest.mark.parametrize("codec", CODECS)
    def test_small_text_files_are_compared_line_by_line(
        self, tmp_path: Path, codec: Compression
    ) -> None:
        a = small_image([Node(path="f", data=b"one\ntwo\nthree\n")], codec=codec)
        b = small_image([Node(path="f", data=b"one\n2\r\nthree")], codec=codec)
        files = compared(tmp_path, a, b, self.SCOPE).files
        assert files is not None
        assert files.changed[0].diff == (
            "@@ -1,3 +1,3 @@",
            " one",
            "-two",
            "-three",
            "+2\r",
            "+three",
            "\\ No newline at end of file",
        )

    @pytest.mark.parametrize(
        "data",
        [b"a\0b", b"\xff\xfe", b"x" * (65 << 10), b"\n" * 3000],
        ids=["nul", "latin", "large", "lines"],
    )
    def test_others_are_not(self, tmp_path: Path, data: bytes) -> None:
        a, b = small_image([Node(path="f", data=b"a")]), small_image([Node(path="f", data=data)])
        files = compared(tmp_path, a, b, self.SCOPE).files
        assert files is not None
        assert files.changed[0].diff is None


def test_histories_of_ten_thousand_steps_take_no_square() -> None:
    one = [HistoryEntry(created_by=f"{number % 7}") for number in range(10_000)]
    other = [HistoryEntry(created_by=f"{number % 5}") for number in range(10_000)]
    began = time.process_time()
    assert len(compare_histories(one, other).changes) > 10_000
    assert time.process_time() - began < 3


def test_texts_that_are_hard_to_compare_are_few(tmp_path: Path) -> None:
    lines = [f"{number % 100}\n".encode() for number in range(2000)]
    one = [Node(path=f"{n}", data=b"".join(lines)) for n in range(30)]
    other = [Node(path=f"{n}", data=b"".join(lines[n + 1 :])) for n in range(30)]
    scope = DiffOptions(sections=[Section.FILES], content=True)
    began = time.process_time()
    files = compared(tmp_path, small_image(one), small_image(other), scope).files
    assert files is not None
    assert sum(change.diff is not None for change in files.changed) == 5
    assert time.process_time() - began < 10


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/f"])
TREES = st.dictionaries(NAMES, st.sampled_from(["", "x", "y", "xy"]), max_size=7)


def nodes(tree: Mapping[str, str]) -> list[Node]:
    """Return the members of a tree; a path that has others below it is a folder."""
    parents = {path for path in tree if any(other.startswith(f"{path}/") for other in tree)}
    members = []
    for path, text in sorted(tree.items()):
        plain = Node(path=path, data=text.encode(), mode=0o755)
        members.append(folder(path) if path in parents else plain)
    return members


def content(tree: Mapping[str, str]) -> dict[str, str | None]:
    """Return what a tree has at each path, None for a folder."""
    found: dict[str, str | None] = {}
    for node in nodes(tree):
        for parent in [node.path[:at] for at, letter in enumerate(node.path) if letter == "/"]:
            found[parent] = None
        found[node.path] = None if node.type == b"5" else node.data.decode()
    return found


@settings(deadline=None, max_examples=part_of(60))
@given(TREES, TREES, st.integers(0, 7))
def test_it_finds_what_two_dictionaries_differ_in(
    tmp_path_factory: pytest.TempPathFactory,
    a: Mapping[str, str],
    b: Mapping[str, str],
    split: int,
) -> None:
    members = nodes(b)
    layered = small_image(members[:split], members[split:])
    found = compared(tmp_path_factory.mktemp("x"), small_image(nodes(a)), layered)
    one, other = content(a), content(b)
    added, removed, changed, _ = told(found)
    assert sorted(added) == sorted(other.keys() - one.keys())
    assert sorted(removed) == sorted(one.keys() - other.keys())
    assert set(changed) == {path for path in one.keys() & other.keys() if one[path] != other[path]}
