"""The data of the page: one order, the same sums folded or not, and nothing lost on the way."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.inside.columns import FILE, FOLDED, FOLDER, LINK, ColumnEntry, Columns
from ocitool.inside.page.document import packed
from ocitool.inside.page.folding import folded
from tests.inside.page_data import Row, generated, sums, unpacked
from tests.support.examples import part_of

NAMES = st.sampled_from(["a", "a.b", "b", "B", "ü", "\udcff", "new\nline", "<script>", " "])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
HIDDEN = st.lists(
    st.builds(
        ColumnEntry,
        path=PATHS,
        kind=st.just(FILE),
        size=st.integers(0, 1 << 40),
        layer=st.integers(1, 300),
        hidden_by=st.integers(2, 300),
        how=st.integers(0, 5),
    ),
    max_size=12,
)


def live_entries(sizes: dict[str, int]) -> list[ColumnEntry]:
    """Return files, and the folders above them, as a walk does."""
    paths = {path for path in sizes if not any(other.startswith(path + "/") for other in sizes)}
    folders = {
        "/".join(path.split("/")[:length])
        for path in paths
        for length in range(1, path.count("/") + 1)
    }
    entries = [ColumnEntry(path, FOLDER, 0, 1) for path in folders]
    entries += [ColumnEntry(path, FILE, sizes[path], 1 + sizes[path] % 5) for path in paths]
    return sorted(entries, key=lambda entry: entry.path.split("/"))


LIVE = st.dictionaries(PATHS, st.integers(0, 1 << 40), max_size=12).map(live_entries)


def read(columns: Columns) -> list[Row]:
    return unpacked(packed(columns), len(columns))


def shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def facts(entries: list[ColumnEntry]) -> Counter[tuple[object, ...]]:
    return Counter((shown(e.path), e.kind, e.size, e.layer, e.hidden_by, e.how) for e in entries)


def found(rows: list[Row]) -> Counter[tuple[object, ...]]:
    return Counter((r.path, r.kind, r.size, r.layer, r.hidden_by, r.how) for r in rows)


class TestBuilding:
    @given(LIVE, HIDDEN)
    def test_every_entry_is_there_once_at_its_path(
        self, live: list[ColumnEntry], hidden: list[ColumnEntry]
    ) -> None:
        rows = read(Columns.build(live, hidden))
        files = [entry for entry in live + hidden if entry.kind != FOLDER]
        assert found([row for row in rows if row.kind != FOLDER]) == facts(files)
        folders = {shown(entry.path) for entry in live if entry.kind == FOLDER}
        assert [row.path for row in rows if row.kind == FOLDER and not row.hidden] == [
            "",
            *(shown(entry.path) for entry in live if entry.kind == FOLDER),
        ]
        gone = Counter(row.path for row in rows if row.kind == FOLDER and row.hidden)
        assert not gone or (set(gone.values()) == {1} and not set(gone) & folders)

    def test_a_folder_that_is_gone_is_hidden_with_what_was_in_it(self) -> None:
        live = [ColumnEntry("x", FILE, 7, 2), ColumnEntry("y", LINK, 0, 2)]
        hidden = [ColumnEntry("x/in/a", FILE, 5, 1, 2, 3), ColumnEntry("x", FILE, 1, 1, 2, 0)]
        rows = read(Columns.build(live, hidden))
        assert [(row.path, row.kind, row.hidden, row.size) for row in rows] == [
            ("", FOLDER, False, 0),
            ("x", FILE, True, 1),
            ("x", FILE, False, 7),
            ("x", FOLDER, True, 0),
            ("x/in", FOLDER, True, 0),
            ("x/in/a", FILE, True, 5),
            ("y", LINK, False, 0),
        ]

    def test_nothing_at_all_is_the_root(self) -> None:
        assert [row.path for row in read(Columns.build([], []))] == [""]

    def test_a_path_of_a_thousand_folders(self) -> None:
        path = "/".join(["d"] * 1000)
        rows = read(Columns.build([], [ColumnEntry(path, FILE, 3, 1, 2, 0)]))
        assert len(rows) == 1001
        assert rows[-1].path == path


class TestFolding:
    @settings(max_examples=part_of(40))
    @given(LIVE, HIDDEN, st.integers(5, 20))
    def test_the_sums_of_each_layer_stay(
        self, live: list[ColumnEntry], hidden: list[ColumnEntry], most: int
    ) -> None:
        columns = Columns.build(live, hidden)
        before, after = read(columns), read(folded(columns, most))
        assert _without_nothing(sums(before)) == _without_nothing(sums(after))
        count = sum(row.files for row in before if row.kind == FILE)
        assert sum(row.files for row in after if row.kind in (FILE, FOLDED)) == count

    def test_the_largest_files_stay_and_small_ones_are_added_up(self) -> None:
        live = [ColumnEntry("d", FOLDER, 0, 1)]
        live += [
            ColumnEntry(f"d/{number:03}", FILE, number, 1 + number % 2) for number in range(200)
        ]
        rows = read(folded(Columns.build(live), 50))
        assert len(rows) <= 50
        kept = [row.size for row in rows if row.kind == FILE]
        assert kept == list(range(200 - len(kept), 200))
        assert len(kept) >= 36
        rest = {row.layer: (row.files, row.size) for row in rows if row.kind == FOLDED}
        small = range(200 - len(kept))
        assert rest == {
            layer: (len(own), sum(own))
            for layer in (1, 2)
            if (own := [size for size in small if 1 + size % 2 == layer])
        }

    def test_small_folders_are_added_up_in_the_one_above(self) -> None:
        live = [ColumnEntry("big", FILE, 10**6, 1)]
        for folder in range(100):
            live += [ColumnEntry(f"d{folder:02}", FOLDER, 0, 1)]
            live += [ColumnEntry(f"d{folder:02}/{name}", FILE, 1, 1) for name in "abc"]
        rows = read(folded(Columns.build(live), 60))
        assert [(row.path, row.kind, row.size, row.files) for row in rows] == [
            ("", FOLDER, 0, 1),
            ("", FOLDED, 300, 300),
            ("big", FILE, 10**6, 1),
        ]

    def test_few_nodes_are_left_alone(self) -> None:
        columns = Columns.build(generated(100))
        assert folded(columns, len(columns)) is columns


def _without_nothing(found: dict[tuple[int, bool], int]) -> dict[tuple[int, bool], int]:
    return {key: size for key, size in found.items() if size}
