"""Budgets: which limits an image keeps, and which files break the others."""

from pathlib import Path

import pytest

from ocitool.errors import UsageError
from ocitool.inside.budgets import Budget, Budgets, Limit, base_layers, check_budgets
from tests.inside.looking import looking
from tests.support.images import BuiltImage
from tests.support.small_images import file, gone, small_image, with_unread_layer

LOWER = [file("base/a", 1000), file("base/b", 500)]
UPPER = [file("app/x", 300), file("app/y", 200), file("base/a", 1200)]
IMAGE = small_image(LOWER, UPPER, [gone("app/y")])
BASE = small_image(LOWER)


def check(
    tmp_path: Path, budgets: Budgets, *, image: BuiltImage = IMAGE, baseline: BuiltImage = BASE
) -> tuple[Budget, ...]:
    with (
        looking(tmp_path / "image", image) as inside,
        looking(tmp_path / "baseline", baseline) as before,
    ):
        return check_budgets(inside, budgets, before)


def one(tmp_path: Path, **limits: object) -> tuple[float | None, bool, list[tuple[str, int]]]:
    (found,) = check(tmp_path, Budgets(**limits))  # type: ignore[arg-type]
    return found.actual, found.passed, [(cause.path, cause.bytes) for cause in found.causes]


@pytest.mark.parametrize(("limit", "passed"), [(3200, True), (3199, False)])
def test_the_size_is_all_files_of_all_layers(tmp_path: Path, limit: int, passed: bool) -> None:
    actual, kept, causes = one(tmp_path, size=limit)
    assert (actual, kept) == (3200, passed)
    assert causes == (
        []
        if passed
        else [
            ("base/a", 1200),
            ("base/a", 1000),
            ("base/b", 500),
            ("app/x", 300),
            ("app/y", 200),
        ]
    )


def test_the_largest_layer_counts_and_its_files_are_told(tmp_path: Path) -> None:
    assert one(tmp_path, layer=1700) == (1700, True, [])
    assert one(tmp_path / "2", layer=1600) == (
        1700,
        False,
        [("base/a", 1200), ("app/x", 300), ("app/y", 200)],
    )


def test_waste_in_bytes_and_in_percent(tmp_path: Path) -> None:
    assert one(tmp_path / "1", waste=Limit(bytes=1200)) == (1200, True, [])
    causes = [("base/a", 1000), ("app/y", 200)]
    assert one(tmp_path / "2", waste=Limit(bytes=1199)) == (1200, False, causes)
    assert one(tmp_path / "3", waste=Limit(percent=37.5)) == (37.5, True, [])
    assert one(tmp_path / "4", waste=Limit(percent=37.4)) == (37.5, False, causes)


def test_growth_is_that_of_all_files_and_told_by_path(tmp_path: Path) -> None:
    assert one(tmp_path / "1", growth=Limit(bytes=1700)) == (1700, True, [])
    # What is hidden has grown too: the causes add up.
    causes = [("base/a", 1200), ("app/x", 300), ("app/y", 200)]
    assert one(tmp_path / "2", growth=Limit(bytes=1)) == (1700, False, causes)
    actual, kept, _ = one(tmp_path / "3", growth=Limit(percent=113))
    assert actual == pytest.approx(100 * 1700 / 1500)
    assert not kept


def test_growth_by_a_file_in_two_layers_tells_both(tmp_path: Path) -> None:
    image = small_image(LOWER, [file("model", 900)], [file("model", 900)])
    (found,) = check(tmp_path, Budgets(growth=Limit(bytes=500)), image=image)
    assert (found.actual, found.passed) == (1800, False)
    causes = [(cause.path, cause.bytes, cause.layer) for cause in found.causes]
    assert causes == [("model", 900, 2), ("model", 900, 3)]


def test_an_image_that_shrank_keeps_every_limit_of_growth(tmp_path: Path) -> None:
    (found,) = check(tmp_path, Budgets(growth=Limit(bytes=0)), image=BASE, baseline=IMAGE)
    assert (found.actual, found.passed) == (-1700, True)


def test_growth_over_nothing_cannot_be_told_in_percent(tmp_path: Path) -> None:
    empty = small_image([])
    (found,) = check(tmp_path, Budgets(growth=Limit(percent=500)), baseline=empty)
    assert (found.actual, found.passed) == (None, False)


def test_every_failed_rule_is_told_in_one_run(tmp_path: Path) -> None:
    budgets = Budgets(size=1, layer=1, waste=Limit(bytes=1), growth=Limit(percent=1))
    found = check(tmp_path, budgets)
    assert [(x.rule, x.passed, x.unit) for x in found] == [
        ("max-size", False, "bytes"),
        ("max-layer", False, "bytes"),
        ("max-waste", False, "bytes"),
        ("max-growth", False, "percent"),
    ]


def test_the_layers_of_the_base_do_not_count(tmp_path: Path) -> None:
    assert one(tmp_path / "1", base=1, size=1700) == (1700, True, [])
    # A file of the base that is hidden is not waste of this image.
    assert one(tmp_path / "2", base=1, waste=Limit(bytes=199)) == (200, False, [("app/y", 200)])
    actual, kept, _ = one(tmp_path / "3", base=1, waste=Limit(percent=11))
    assert actual == pytest.approx(100 * 200 / 1700)
    assert not kept
    # Nor is there any waste without files.
    assert one(tmp_path / "4", base=2, waste=Limit(percent=0)) == (0, True, [])


def test_the_layers_of_the_base_do_not_count_for_growth(tmp_path: Path) -> None:
    new = small_image(LOWER, [file("app/x", 350), file("base/a", 1200)])
    limits = {"base": 1, "growth": Limit(bytes=1249)}
    before = small_image(LOWER, [file("app/x", 300)])
    (found,) = check(tmp_path, Budgets(**limits), image=new, baseline=before)  # type: ignore[arg-type]
    assert (found.actual, found.passed) == (1250, False)
    causes = [(cause.path, cause.bytes) for cause in found.causes]
    assert causes == [("base/a", 1200), ("app/x", 50)]
    budgets = Budgets(base=1, growth=Limit(percent=400))
    (found,) = check(tmp_path / "2", budgets, image=new, baseline=before)
    assert found.actual == pytest.approx(100 * 1250 / 300)


def test_ignored_files_below_a_removed_folder_do_not_count(tmp_path: Path) -> None:
    image = small_image([file("d/x.doc", 1000), file("d/e/y", 500)], [gone("d")])
    budgets = Budgets(waste=Limit(bytes=499), ignored=lambda path: path.endswith(".doc"))
    (found,) = check(tmp_path, budgets, image=image)
    assert (found.actual, found.passed) == (500, False)
    assert [(cause.path, cause.bytes) for cause in found.causes] == [("d", 500)]
    budgets = Budgets(waste=Limit(percent=99), ignored=lambda path: path.endswith(".doc"))
    (found,) = check(tmp_path / "2", budgets, image=image)
    assert found.actual == 100


class TestUnreadLayers:
    ALL = Budgets(size=10**9, layer=10**9, waste=Limit(percent=100), growth=Limit(bytes=10**9))

    @pytest.mark.parametrize("kind", ["encrypted", "missing", "damaged", "not_a_layer"])
    @pytest.mark.parametrize("side", ["image", "baseline"])
    def test_no_limit_is_kept_that_one_counts_for(
        self, tmp_path: Path, kind: str, side: str
    ) -> None:
        broken = with_unread_layer(IMAGE, kind)
        both = {"image": IMAGE, "baseline": BASE, side: broken}
        found = check(tmp_path, self.ALL, **both)
        assert len(found) == 4
        failed = [one for one in found if side == "image" or one.rule == "max-growth"]
        for one in failed:
            assert (one.actual, one.passed, one.unread) == (None, False, kind)
            whose = "layer 2 could not" if side == "image" else "layer 2 of the baseline could"
            assert (one.problem or "").startswith(whose)
        assert all(one.passed for one in found if one not in failed)


def test_ignored_paths_do_not_count(tmp_path: Path) -> None:
    def ignored(path: str) -> bool:
        return path.startswith("base/")

    assert one(tmp_path / "1", ignored=ignored, size=500) == (500, True, [])
    assert one(tmp_path / "2", ignored=ignored, waste=Limit(bytes=200)) == (200, True, [])
    assert one(tmp_path / "3", ignored=ignored, growth=Limit(bytes=500)) == (500, True, [])


def test_a_base_is_told_by_its_layers(tmp_path: Path) -> None:
    with looking(tmp_path / "1", IMAGE) as inside, looking(tmp_path / "2", BASE) as base:
        assert base_layers(inside, base.chosen, base.config) == 1
        with pytest.raises(UsageError, match="not built on"):
            base_layers(base, inside.chosen, inside.config)
