"""What the tree on the screen is told: sums, order, paths."""

from hypothesis import given
from hypothesis import strategies as st

from ocitool.cli.explore.listing import Listing
from ocitool.inside.columns import FILE, FOLDER, ColumnEntry, Columns

ENTRIES = [
    ColumnEntry("a", FOLDER, 0, 1),
    ColumnEntry("a/deep", FOLDER, 0, 1),
    ColumnEntry("a/deep/one", FILE, 5, 1),
    ColumnEntry("a/two", FILE, 20, 2),
    ColumnEntry("b", FILE, 30, 1),
    ColumnEntry("c", FOLDER, 0, 1),
]
HIDDEN = [ColumnEntry("a/two", FILE, 7, 1, 2, 0), ColumnEntry("gone/x", FILE, 1, 1, 2, 1)]


def listing() -> Listing:
    return Listing(Columns.build(ENTRIES, HIDDEN))


def names(listing: Listing, folder: int, *, by_name: bool = False) -> list[str]:
    return [listing.name(node) for node in listing.entries(folder, by_name=by_name)]


def test_the_entries_of_a_folder_are_the_largest_first_or_by_name() -> None:
    assert names(listing(), 0) == ["a", "b", "gone", "c"]
    assert names(listing(), 0, by_name=True) == ["a", "b", "c", "gone"]


def test_a_folder_has_the_sum_of_what_is_below_it() -> None:
    found = listing()
    sizes = {found.path(node): found.size_of(node) for node in range(len(found.columns))}
    assert sizes[""] == found.size == 63
    assert sizes["a"] == 32
    assert sizes["a/deep"] == 5
    assert found.file_count == 5
    assert found.files_of(found.way("a", hidden=False)[0]) == 3


def test_the_way_to_a_path_ends_where_there_is_none() -> None:
    found = listing()
    assert [found.path(n) for n in found.way("a/deep/one", hidden=False)] == [
        "a",
        "a/deep",
        "a/deep/one",
    ]
    assert [found.path(n) for n in found.way("a/none/x", hidden=False)] == ["a"]
    assert found.way("none", hidden=False) == []


def test_of_two_entries_with_one_path_the_wanted_one_is_found() -> None:
    found = listing()
    assert found.size_of(found.way("a/two", hidden=True)[-1]) == 7
    assert found.size_of(found.way("a/two", hidden=False)[-1]) == 20


@given(st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)))
def test_every_folder_has_the_entries_that_its_paths_say(paths: set[str]) -> None:
    leaves = {p for p in paths if not any(other.startswith(p + "/") for other in paths)}
    found = Listing(Columns.build([ColumnEntry(p, FILE, 1, 1) for p in sorted(leaves)]))
    expected: dict[str, set[str]] = {"": set()}
    for path in leaves:
        parts = path.split("/")
        for length, part in enumerate(parts):
            expected.setdefault("/".join(parts[:length]), set()).add(part)
    for node in range(len(found.columns)):
        inner = expected.get(found.path(node), set())
        assert names(found, node, by_name=True) == sorted(inner)
