"""The sizes of an image: layers, waste by path, largest files and folders, duplicates, changes."""

import hashlib
import random
from pathlib import Path

import pytest

from ocitool.errors import LimitExceeded, UsageError
from ocitool.images.opening import open_source
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import ScannedLayer, look_inside
from ocitool.inside.sizing import SizeReport, measure
from ocitool.oci import Limits
from tests.inside.looking import looking, sizes_of
from tests.support.images import Compression, describe, write_layout
from tests.support.root_files import Node, folder, hard_link, link
from tests.support.small_images import CODECS, FORMS, Form, file, gone, opaque, small_image


class TestLayers:
    @pytest.mark.parametrize("codec", CODECS)
    @pytest.mark.parametrize("form", FORMS)
    def test_the_numbers_are_the_same_in_every_codec_and_form(
        self, tmp_path: Path, codec: Compression, form: Form
    ) -> None:
        image = small_image(
            [file("a", 1000), file("b", 300)],
            [file("a", 1000, owner=(5, 5)), gone("b")],
            codec=codec,
        )
        report = sizes_of(tmp_path, image, form)
        first, second = report.layers
        assert (report.file_bytes, report.wasted_bytes, report.live_bytes) == (2300, 1300, 1000)
        assert (first.file_bytes, first.hidden_bytes, first.repeated_bytes) == (1300, 1300, 0)
        assert (second.file_bytes, second.hidden_bytes) == (1000, 0)
        assert (first.metadata_only_bytes, second.metadata_only_bytes) == (0, 1000)
        assert [layer.tar_size for layer in report.layers] == [len(tar) for tar in image.tars]
        assert report.efficiency == pytest.approx(1000 / 2300)

    def test_what_is_stored_counts_a_repeated_layer_once(self, tmp_path: Path) -> None:
        again = [file("a", 1000)]
        image = small_image(again, [gone("a")], again)
        report = sizes_of(tmp_path, image)
        assert len(report.layers) == 3
        assert report.stored == sum({x.digest: x.size for x in image.layers}.values())
        assert (report.file_bytes, report.wasted_bytes) == (2000, 1000)
        assert report.layers[0].digest == report.layers[2].digest
        assert [x.hidden_bytes for x in report.layers] == [1000, 0, 0]

    def test_the_overhead_is_what_is_no_content(self, tmp_path: Path) -> None:
        (layer,) = sizes_of(tmp_path, small_image([file("a", 513)])).layers
        assert layer.overhead == (layer.tar_size or 0) - 513

    def test_each_layer_has_its_instruction(self, tmp_path: Path) -> None:
        image = small_image([file("a", 1)], [file("b", 1)], steps=["COPY a /", "RUN make"])
        assert [x.instruction for x in sizes_of(tmp_path, image).layers] == ["COPY a /", "RUN make"]

    def test_an_image_without_layers_wastes_nothing(self, tmp_path: Path) -> None:
        report = sizes_of(tmp_path, small_image())
        assert (report.file_bytes, report.efficiency, report.layers) == (0, 1.0, ())

    def test_about_so_many_stored_bytes_are_wasted(self, tmp_path: Path) -> None:
        noise = random.Random(1).randbytes(30_000)
        image = small_image(
            [Node(path="a", data=noise), file("b", 10_000)], [gone("a")], codec="gzip"
        )
        report = sizes_of(tmp_path, image)
        assert report.wasted_stored == image.layers[0].size * 30_000 // 40_000


class TestChanges:
    def changes(self, tmp_path: Path, *layers: list[Node]) -> list[tuple[object, ...]]:
        report = sizes_of(tmp_path, small_image(*layers))
        return [(layer.added, layer.changed, layer.deleted) for layer in report.layers]

    def test_folders_without_a_member_are_added_too(self, tmp_path: Path) -> None:
        assert self.changes(tmp_path, [file("a/b/c", 1)]) == [(3, 0, 0)]

    def test_a_folder_that_is_only_repeated_is_not_changed(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1)]
        assert self.changes(tmp_path, lower, [folder("d")]) == [(2, 0, 0), (0, 0, 0)]

    def test_a_folder_with_another_mode_or_owner_is_changed(self, tmp_path: Path) -> None:
        layers = [folder("d")], [folder("d", 0o700)], [folder("d", 0o700, owner=(1, 1))]
        assert self.changes(tmp_path, *layers) == [(1, 0, 0), (0, 1, 0), (0, 1, 0)]

    def test_another_time_alone_changes_nothing(self, tmp_path: Path) -> None:
        layers = [file("a", 9), link("l", "a")], [file("a", 9, time=5), link("l", "a")]
        assert self.changes(tmp_path, *layers) == [(2, 0, 0), (0, 0, 0)]

    def test_content_of_the_same_size_is_compared(self, tmp_path: Path) -> None:
        layers = [file("a", 9, "x")], [file("a", 9, "y")], [file("a", 9, "y")]
        assert self.changes(tmp_path, *layers) == [(1, 0, 0), (0, 1, 0), (0, 0, 0)]

    @pytest.mark.parametrize(
        "other",
        [
            link("p", "elsewhere"),
            folder("p"),
            Node(path="p", type=b"6"),
            Node(path="p", type=b"3", device=(1, 3)),
        ],
    )
    def test_another_type_or_target_changes_a_path(self, tmp_path: Path, other: Node) -> None:
        assert self.changes(tmp_path, [link("p", "here")], [other]) == [(1, 0, 0), (0, 1, 0)]

    def test_another_attribute_or_device_changes_a_path(self, tmp_path: Path) -> None:
        lower = [file("f", 1), Node(path="d", type=b"3", device=(1, 3))]
        upper = [file("f", 1, attributes={"user.x": "y"}), Node(path="d", type=b"3", device=(1, 5))]
        assert self.changes(tmp_path, lower, upper) == [(2, 0, 0), (0, 2, 0)]

    def test_all_that_a_deleted_folder_held_is_deleted(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/e/y", 1), file("z", 1)]
        assert self.changes(tmp_path, lower, [gone("d")]) == [(5, 0, 0), (0, 0, 4)]

    def test_what_comes_back_in_the_same_layer_is_not_deleted(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/e/y", 1)]
        upper = [gone("d"), folder("d"), file("d/e/y", 1), file("d/new", 1)]
        assert self.changes(tmp_path, lower, upper) == [(4, 0, 0), (1, 0, 1)]

    def test_an_opaque_folder_deletes_what_does_not_come_back(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/e/y", 1)]
        upper = [folder("d"), opaque("d"), file("d/x", 2)]
        assert self.changes(tmp_path, lower, upper) == [(4, 0, 0), (0, 1, 2)]

    def test_a_file_in_place_of_a_folder_deletes_what_was_in_it(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/e/y", 1)]
        assert self.changes(tmp_path, lower, [file("d", 1)]) == [(4, 0, 0), (0, 1, 3)]

    def test_a_path_twice_in_a_layer_is_one(self, tmp_path: Path) -> None:
        assert self.changes(
            tmp_path, [file("a", 1), file("a", 2)], [file("a", 3), file("a", 4)]
        ) == [
            (1, 0, 0),
            (0, 1, 0),
        ]

    def test_a_whiteout_inside_a_deleted_folder_counts_once(self, tmp_path: Path) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/y", 1)]
        assert self.changes(tmp_path, lower, [gone("d/x"), gone("d")]) == [(3, 0, 0), (0, 0, 3)]

    def test_a_folder_of_this_layer_that_gives_way_deletes_only_lower_paths(
        self, tmp_path: Path
    ) -> None:
        lower = [folder("d"), file("d/x", 1), file("d/y", 1)]
        upper = [file("d/new", 1), file("d/x", 2), file("d", 1)]
        assert self.changes(tmp_path, lower, upper) == [(3, 0, 0), (0, 1, 2)]


class TestWaste:
    def waste(self, tmp_path: Path, *layers: list[Node]) -> list[tuple[object, ...]]:
        report = sizes_of(tmp_path, small_image(*layers))
        return [(x.path, x.bytes, x.layer, x.hidden_by, x.how, x.files) for x in report.wasted]

    def test_a_removed_folder_is_one_line_for_each_layer_in_it(self, tmp_path: Path) -> None:
        layers = [file("d/x", 10), file("d/e/y", 20)], [file("d/z", 5)], [gone("d")]
        assert self.waste(tmp_path, *layers) == [
            ("d", 30, 1, 3, "deleted", 2),
            ("d", 5, 2, 3, "deleted", 1),
        ]

    def test_every_way_to_hide_a_file_has_its_word(self, tmp_path: Path) -> None:
        lower = [
            file("a", 60),
            file("b", 50),
            file("c/x", 40),
            file("d", 30),
            file("e", 20),
            file("f", 10),
            file("g", 4),
            file("h", 3),
        ]
        upper = [
            file("a", 61),
            gone("b"),
            opaque("c"),
            folder("d"),
            file("e", 20, mode=0o600),
            file("f", 5),
            file("f", 6),
            file("g", 4),
            file("h", 3, time=2_000_000),
        ]
        assert self.waste(tmp_path, lower, upper) == [
            ("a", 60, 1, 2, "overwritten", 1),
            ("b", 50, 1, 2, "deleted", 1),
            ("c", 40, 1, 2, "opaque", 1),
            ("d", 30, 1, 2, "replaced", 1),
            ("e", 20, 1, 2, "metadata", 1),
            ("f", 10, 1, 2, "overwritten", 1),
            ("f", 5, 2, 2, "repeated", 1),
            ("g", 4, 1, 2, "identical", 1),
            ("h", 3, 1, 2, "metadata", 1),
        ]

    def test_a_file_is_wasted_when_its_last_name_goes(self, tmp_path: Path) -> None:
        lower = [file("a", 10), hard_link("b", "a"), hard_link("c", "a")]
        found = self.waste(tmp_path, lower, [gone("a")], [gone("c")], [file("b", 1)])
        assert found == [("a", 10, 1, 4, "overwritten", 1)]

    def test_waste_has_its_real_path(self, tmp_path: Path) -> None:
        lower = [folder("usr"), link("lib", "usr"), file("usr/a", 10)]
        assert self.waste(tmp_path, lower, [file("lib/a", 20)], [gone("usr/a")]) == [
            ("usr/a", 20, 2, 3, "deleted", 1),
            ("usr/a", 10, 1, 2, "overwritten", 1),
        ]

    def test_the_largest_come_first_and_only_so_many(self, tmp_path: Path) -> None:
        lower = [file(f"f{n}", n) for n in (3, 9, 5, 7)]
        image = small_image(lower, [gone(f"f{n}") for n in (3, 9, 5, 7)])
        with looking(tmp_path, image) as inside:
            report = measure(inside, top=2)
        assert [(x.path, x.bytes) for x in report.wasted] == [("f9", 9), ("f7", 7)]
        assert report.wasted_bytes == 24


class TestLargest:
    def test_files_and_folders_with_all_that_is_below(self, tmp_path: Path) -> None:
        lower = [file("a/b/x", 100), file("a/y", 10), file("z", 50), file("a/gone", 999)]
        report = sizes_of(tmp_path, small_image(lower, [gone("a/gone")]))
        assert [(x.path, x.bytes, x.layer) for x in report.largest] == [
            ("a/b/x", 100, 1),
            ("z", 50, 1),
            ("a/y", 10, 1),
        ]
        found = [(x.path, x.bytes, x.files) for x in report.directories_by_size]
        assert found == [("a", 110, 2), ("a/b", 100, 1)]
        assert (report.files, report.directories) == (3, 2)

    def test_a_file_has_a_name_that_is_left(self, tmp_path: Path) -> None:
        image = small_image([file("a", 10), hard_link("d/b", "a")], [gone("a")])
        report = sizes_of(tmp_path, image)
        assert [(x.path, x.bytes) for x in report.largest] == [("d/b", 10)]
        assert report.wasted_bytes == 0


class TestDuplicates:
    @pytest.mark.parametrize("codec", CODECS)
    def test_files_of_equal_content_are_found_across_layers(
        self, tmp_path: Path, codec: Compression
    ) -> None:
        lower = [file("a", 5000, "x"), file("other", 5000, "y"), file("gone", 5000, "x")]
        upper = [file("b", 5000, "x"), hard_link("c", "b"), gone("gone"), file("empty", 0)]
        report = sizes_of(tmp_path, small_image(lower, upper, codec=codec))
        (group,) = report.duplicates
        assert (group.paths, group.size, group.reclaimable) == (("a", "b"), 5000, 5000)
        assert group.digest.hex == hashlib.sha256(b"x" * 5000).hexdigest()
        assert report.duplicate_bytes == 5000
        assert report.wasted_bytes == 5000

    def test_the_group_that_would_save_most_comes_first(self, tmp_path: Path) -> None:
        files = [file(f"s{n}", 10, "s") for n in range(9)] + [
            file(f"l{n}", 60, "l") for n in (1, 2)
        ]
        report = sizes_of(tmp_path, small_image(files))
        assert [(len(x.paths), x.reclaimable) for x in report.duplicates] == [(9, 80), (2, 60)]


class TestLooking:
    def test_layers_are_told_in_their_order_as_they_are_merged(self, tmp_path: Path) -> None:
        sizes = (10, 200_000, 3, 70_000)
        image = small_image(*([file(f"f{n}", size)] for n, size in enumerate(sizes)), codec="gzip")
        told: list[tuple[int, int]] = []

        def tell(layer: ScannedLayer) -> None:
            told.append((layer.number, len(layer.table or ())))

        with looking(tmp_path, image, on_layer=tell):
            pass
        assert told == [(1, 1), (2, 1), (3, 1), (4, 1)]

    def test_only_the_wanted_layers_are_merged(self, tmp_path: Path) -> None:
        image = small_image([file("a", 1)], [file("b", 1)], [file("c", 1)])
        with looking(tmp_path / "1", image, up_to=2) as inside:
            assert [node.path for node in inside.tree.walk()] == ["", "a", "b"]
        with looking(tmp_path / "2", image, layers=[3]) as inside:
            assert [node.path for node in inside.tree.walk()] == ["", "c"]
            assert [layer.table is None for layer in inside.layers] == [True, True, False]

    @pytest.mark.parametrize("number", [0, 4, -1])
    def test_a_layer_that_the_image_does_not_have_is_refused(
        self, tmp_path: Path, number: int
    ) -> None:
        image = small_image([file("a", 1)], [file("b", 1)], [file("c", 1)])
        with pytest.raises(UsageError, match="no layer"), looking(tmp_path, image, layers=[number]):
            pass

    def test_a_missing_layer_is_told_and_the_others_are_counted(self, tmp_path: Path) -> None:
        image = small_image([file("a", 10)], [file("b", 20)])
        layout = write_layout(tmp_path / "l", {"1": image}, without=[image.layers[0].digest])
        report = report_of(layout)
        assert [(x.layer, x.kind) for x in report.problems] == [(1, "missing")]
        assert (report.read, len(report.layers), report.file_bytes) == (1, 2, 20)
        assert report.layers[0].file_bytes is None

    def test_what_a_missing_layer_may_hold_is_not_called_odd(self, tmp_path: Path) -> None:
        image = small_image([file("a", 10)], [gone("a"), hard_link("b", "a"), file("c", 20)])
        layout = write_layout(tmp_path / "l", {"1": image}, without=[image.layers[0].digest])
        assert [x.kind for x in report_of(layout).problems] == ["missing"]
        with looking(tmp_path / "whole", image, layers=[2]) as inside:
            assert inside.problems == ()

    def test_a_damaged_layer_is_told_and_the_others_are_counted(self, tmp_path: Path) -> None:
        image = small_image([file("a", 10)], [file("b", 20)], codec="gzip")
        layout = write_layout(tmp_path / "l", {"1": image})
        blob = layout / "blobs" / "sha256" / image.layers[1].digest.hex
        blob.write_bytes(b"\xff" * image.layers[1].size)
        report = report_of(layout)
        assert [(x.layer, x.kind) for x in report.problems] == [(2, "damaged")]
        assert (report.read, report.file_bytes) == (1, 10)

    @pytest.mark.parametrize(
        ("media_type", "urls", "kind"),
        [
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", [], "encrypted"),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                ["https://x.example/"],
                "foreign",
            ),
            ("application/vnd.example.odd", [], "not_a_layer"),
        ],
    )
    def test_a_layer_that_cannot_be_looked_into_is_named(
        self, tmp_path: Path, media_type: str, urls: list[str], kind: str
    ) -> None:
        known = small_image([file("a", 10)], [file("b", 20)])
        odd = {**describe(b"opaque", media_type).to_json(), "urls": urls}
        image = small_image(
            [file("a", 10)],
            [file("b", 20)],
            manifest={"layers": [odd, known.layers[1].to_json()]},
        )
        layout = write_layout(tmp_path / "l", {"1": image})
        (layout / "blobs" / "sha256" / hashlib.sha256(b"opaque").hexdigest()).write_bytes(b"opaque")
        report = report_of(layout)
        assert [(x.layer, x.kind) for x in report.problems] == [(1, kind)]
        assert (report.read, report.file_bytes) == (1, 20)

    def test_too_many_members_are_refused(self, tmp_path: Path) -> None:
        image = small_image([file(f"f{n}", 1) for n in range(4)])
        limits = Limits(extracted_entries=3)
        with (
            pytest.raises(LimitExceeded, match="more than 3"),
            looking(tmp_path, image, limits=limits),
        ):
            pass

    def test_content_is_hashed_only_where_that_matters(self, tmp_path: Path) -> None:
        image = small_image([file("a", 10), file("b", 20), file("c", 20)])
        with looking(tmp_path / "1", image, hashes=Hashes.DOUBTFUL) as inside:
            assert inside.table(1).digests is None
        with looking(tmp_path / "2", image, hashes=Hashes.ALL) as inside:
            digests = [inside.table(1).digest(row) for row in range(3)]
        contents = [b"a\n" * 5, b"b\n" * 10, b"c\n" * 10]
        assert digests == [hashlib.sha256(data).digest() for data in contents]


def report_of(layout: Path) -> SizeReport:
    """Return the sizes of the one image of a layout."""
    with open_source(f"oci:{layout}") as opened:
        return measure(look_inside(opened.source, opened.root))
