"""Which paths and links are safe."""

import pytest

from ocitool.artifacts.paths import collision, parts_of, stays_inside
from ocitool.oci import DEFAULT_LIMITS


class TestPaths:
    @pytest.mark.parametrize(
        ("place", "target", "inside"),
        [
            ("a", "b", True),
            ("a", "b/c", True),
            ("d/a", "../b", True),
            ("d/a", "..", True),
            ("d/a", "../..", False),
            ("a", "..", False),
            ("a", "/b", False),
            # "x" may be a link to the root, from which ".." leads out.
            ("d/e/a", "x/../b", False),
            ("d/e/a", "../x/../b", False),
            ("a", "", False),
            ("a", ".", True),
        ],
    )
    def test_which_links_stay_inside(self, place: str, target: str, *, inside: bool) -> None:
        assert stays_inside(parts_of(place, DEFAULT_LIMITS), target) is inside

    def test_a_neighbour_with_the_same_beginning_is_no_collision(self) -> None:
        assert collision([("a",), ("a-b",), ("ab", "c"), ("b", "a")]) is None

    def test_a_file_in_the_place_of_a_folder_is_one(self) -> None:
        assert collision([("a", "b", "c"), ("z",), ("a", "b")]) == (("a", "b"), ("a", "b", "c"))
