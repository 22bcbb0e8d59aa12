"""The page of `size --html` in a real browser: its numbers and keys, and nothing leaves it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ocitool.inside.columns import FILE, FOLDER, LINK, ColumnEntry, Columns
from ocitool.inside.page.document import page_document
from tests.inside.page_data import generated, sinful_image
from tests.support.browser import Tab, chromium
from tests.support.command import Command
from tests.support.small_images import write_image

pytestmark = pytest.mark.interop

HOWS = ["overwritten", "deleted"]
NASTY = "<script>alert(1)</script>\x1b[31m\u202egnp.`|"
LIVE = [
    ColumnEntry("etc", FOLDER, 0, 1),
    ColumnEntry("etc/passwd", FILE, 1_000, 1),
    ColumnEntry("opt", FOLDER, 0, 2),
    ColumnEntry("opt/app", FOLDER, 0, 2),
    ColumnEntry("opt/app/big", FILE, 500_000, 2),
    ColumnEntry("opt/app/link", LINK, 0, 2),
    ColumnEntry("opt/app/small", FILE, 20_000, 3),
    ColumnEntry("usr", FOLDER, 0, 1),
    ColumnEntry(f"usr/{NASTY.replace('/', '')}", FILE, 100_000, 1),
    ColumnEntry("usr/lib.so", FILE, 300_000, 1),
]
HIDDEN = [
    ColumnEntry("opt/app/big", FILE, 400_000, 1, 2, 0),
    ColumnEntry("tmp/cache/a", FILE, 60_000, 2, 3, 1),
    ColumnEntry("tmp/cache/b", FILE, 50_000, 2, 3, 1),
]


def facts(live: list[ColumnEntry], hidden: list[ColumnEntry]) -> dict[str, Any]:
    """Return the facts of a page, worked out from its entries."""
    numbers = sorted({entry.layer for entry in live + hidden} - {0})
    total, waste = (sum(entry.size for entry in part) for part in (live + hidden, hidden))

    def layer(number: int) -> dict[str, Any]:
        own, gone = (sum(e.size for e in p if e.layer == number) for p in (live + hidden, hidden))
        return {
            "number": number,
            "instruction": f"RUN make {number} {NASTY if number == 1 else ''}",
            "file_bytes": own,
            "hidden_bytes": gone,
            "problem": None,
        }

    return {
        "identity": ["linux/amd64", "sha256:0123"],
        "totals": {
            "stored": 7,
            "tar_size": total + 512,
            "file_bytes": total,
            "live_bytes": total - waste,
            "wasted_bytes": waste,
            "efficiency": (total - waste) / total if total else 1.0,
            "duplicate_bytes": 0,
            "files": sum(entry.kind == FILE for entry in live),
            "directories": sum(entry.kind == FOLDER for entry in live),
        },
        "layers": [layer(number) for number in numbers],
        "wasted": [
            {
                "path": "opt/app/big",
                "bytes": 400_000,
                "layer": 1,
                "hidden_by": 2,
                "how": "overwritten",
            },
            {
                "path": "tmp/cache",
                "bytes": 110_000,
                "files": 2,
                "layer": 2,
                "hidden_by": 3,
                "how": "deleted",
            },
        ]
        if hidden
        else [],
        "how": HOWS,
        "problems": [],
    }


def write(
    folder: Path,
    live: list[ColumnEntry],
    hidden: list[ColumnEntry],
    title: str = "app:1.0",
    **changed: object,
) -> Path:
    """Write a page and return its path."""
    path = folder / "page.html"
    document = {**facts(live, hidden), **changed}
    path.write_bytes(page_document(title, document, Columns.build(live, hidden)))
    return path


@pytest.fixture(scope="module")
def tabs(
    require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Tab]]:
    """Return a function that opens a tab of one browser."""
    require("chromium")
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser.tab


@pytest.fixture
def tab(tabs: Callable[[], Tab]) -> Iterator[Tab]:
    """A tab, 1200 by 900; at the end it has asked for nothing but its page, without an error."""
    opened = tabs()
    opened.window(1200, 900)
    opened.prefer()
    yield opened
    assert [url for url in opened.requests if not url.startswith("file:")] == []
    assert len(opened.requests) == 1
    assert opened.errors == []


@pytest.fixture
def page(tab: Tab, tmp_path: Path) -> Tab:
    """The small page, opened."""
    tab.open(write(tmp_path, LIVE, HIDDEN))
    return tab


def rows(tab: Tab) -> list[str]:
    """Return the names in the table of sizes."""
    return list(
        tab.value("[...document.querySelectorAll('#rows tbody button')].map(b => b.innerText)")
    )


def chosen(tab: Tab) -> str:
    """Return the name in the chosen row."""
    return str(tab.value("document.querySelector('#rows tr.chosen button')?.innerText ?? ''"))


def folder(tab: Tab) -> str:
    """Return the folder that is shown."""
    return str(tab.value("MODEL.tree.path(MODEL.page.root)"))


class TestNumbers:
    def test_the_totals_that_the_nodes_make_are_those_of_the_facts(self, page: Tab) -> None:
        expected = facts(LIVE, HIDDEN)
        found = page.value("MODEL.totals")
        for name in ("file_bytes", "live_bytes", "wasted_bytes", "files"):
            assert found[name] == expected["totals"][name]
        assert found["folders"] == expected["totals"]["directories"]
        assert found["layers"] == {
            str(one["number"]): {name: one[name] for name in ("file_bytes", "hidden_bytes")}
            for one in expected["layers"]
        }

    def test_the_first_lines_say_how_much_is_hidden_and_where(self, page: Tab) -> None:
        assert "510 kB (36 %)" in page.text("#verdict")
        waste = page.text("#waste")
        first = r"/opt/app/big\s+400 kB\s+from layer 1 RUN make 1.*\s+overwritten by layer 2 "
        assert re.search(first, waste)
        assert re.search(
            r"/tmp/cache\s+110 kB\s+2 files from layer 2 RUN make 2\s+deleted by layer 3 RUN", waste
        )

    def test_the_table_has_the_largest_first_with_what_is_hidden(self, page: Tab) -> None:
        assert rows(page) == ["opt/", "usr/", "tmp/", "etc/"]
        table = page.text("#rows")
        assert re.search(r"opt/\s+920 kB\s+400 kB\s+3", table)

    def test_seen_and_hidden_are_counted_apart(self, page: Tab) -> None:
        page.value("document.querySelector('#views input[value=live]').click()")
        assert rows(page) == ["opt/", "usr/", "etc/"]
        assert page.value("MODEL.page.weights.bytes[0]") == 921_000
        page.value("document.querySelector('#views input[value=hidden]').click()")
        assert rows(page) == ["opt/", "tmp/"]
        assert page.value("MODEL.page.weights.bytes[0]") == 510_000

    @pytest.mark.parametrize("count", [0, 1])
    def test_an_image_of_almost_nothing(self, tab: Tab, tmp_path: Path, count: int) -> None:
        live = [ColumnEntry("only", FILE, 5, 1)][:count]
        tab.open(write(tmp_path, live, []))
        assert rows(tab) == ["only"][:count]
        assert "Nothing is hidden" in tab.text("#verdict")

    @pytest.mark.parametrize("files", [25_000, 200_000])
    def test_a_large_image(self, tab: Tab, tmp_path: Path, files: int) -> None:
        live = list(generated(files))
        path = write(tmp_path, live, [])
        assert path.stat().st_size <= 1_600_000
        tab.open(path)
        expected = facts(live, [])["totals"]
        for name in ("file_bytes", "files"):
            assert tab.value("MODEL.totals")[name] == expected[name]
        assert tab.value("MODEL.tree.count") <= 200_000
        tab.press("/", *"python")
        tab.wait("MODEL.page.matches !== null")
        matching = [
            e for e in live if e.kind == FILE and re.search("python", e.path.rpartition("/")[2])
        ]
        if files > 100_000:
            assert "small files are not in this page" in tab.text("#filter")
        else:
            assert tab.value(
                "MODEL.page.matches.own.filter(i => !MODEL.tree.isFolder(i)).length"
            ) == len(matching)


class TestKeys:
    def test_arrows_choose_a_box_enter_opens_it_and_escape_goes_back(self, page: Tab) -> None:
        assert chosen(page) == "opt/"
        page.press("ArrowRight")
        assert chosen(page) == "usr/"
        page.press("Tab")  # Nothing has the focus at first; the keys work all the same.
        page.value("document.getElementById('map').focus()")
        page.press("Enter")
        assert folder(page) == "/usr"
        assert chosen(page) == "lib.so"
        page.press("Escape")
        assert folder(page) == "/"
        assert chosen(page) == "usr/"

    def test_all_boxes_are_reached_with_arrows(self, page: Tab) -> None:
        seen = {chosen(page)}
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"):
            page.press(key)
            seen.add(chosen(page))
        assert {"opt/", "usr/", "tmp/"} <= seen

    def test_the_table_alone_reaches_every_file(self, page: Tab) -> None:
        page.value("document.querySelector('#rows tr.chosen button').focus()")
        page.press("ArrowDown")
        assert chosen(page) == "usr/"
        page.press("Enter")
        assert folder(page) == "/usr"
        page.press("ArrowDown")
        assert page.value("document.activeElement.innerText") == rows(page)[1]
        page.press("ArrowLeft")
        assert folder(page) == "/"
        page.press("ArrowUp", "ArrowRight", "ArrowRight")
        assert folder(page) == "/opt/app"
        assert rows(page) == ["big", "big", "small", "link"]

    def test_a_slash_searches_and_escape_ends_it(self, page: Tab) -> None:
        page.press("/", *"SMALL|passwd")
        page.wait("MODEL.page.matches !== null && MODEL.page.listed.length === 2")
        assert rows(page) == ["/opt/app/small", "/etc/passwd"]
        assert "2 found, 21.0 kB" in page.text("#filter")
        page.press("ArrowDown", "ArrowDown", "Enter")
        assert folder(page) == "/etc"
        assert chosen(page) == "passwd"
        page.press("/", *"nothing like it")
        page.wait("MODEL.page.matches !== null && MODEL.page.listed.length === 0")
        assert "Nothing found" in page.text("#detail")
        page.press("Escape")
        assert page.value("document.getElementById('search').value") == ""
        assert chosen(page) == "passwd"

    def test_a_search_with_a_slash_is_of_paths_and_any_text_is_one(self, page: Tab) -> None:
        page.press("/", *"app/b")
        page.wait("MODEL.page.matches !== null && MODEL.page.listed.length === 2")
        page.press("Escape", "/", *"lib.so(")
        page.wait("MODEL.page.matches !== null && MODEL.page.listed.length === 0")

    def test_tab_reaches_waste_layers_and_table(self, page: Tab) -> None:
        seen = set()
        for _ in range(24):
            page.press("Tab")
            seen.add(page.value("document.activeElement.closest('[id]')?.id"))
        assert {"waste", "layers", "search", "map", "rows"} <= seen


class TestMouse:
    def test_a_line_of_waste_shows_its_boxes(self, page: Tab) -> None:
        page.value("document.querySelectorAll('#waste button')[1].click()")
        assert folder(page) == "/tmp/cache"
        assert rows(page) == ["a", "b"]
        assert "deleted by layer 3: RUN make 3" in page.text("#detail")

    def test_a_layer_counts_alone_and_again_all(self, page: Tab) -> None:
        page.value("document.querySelector('#layers tr[data-layer=\"3\"]').click()")
        assert page.value("MODEL.page.weights.bytes[0]") == 20_000
        assert rows(page) == ["opt/"]
        assert "only layer 3" in page.text("#filter")
        page.press("Escape")
        assert rows(page) == ["opt/", "usr/", "tmp/", "etc/"]

    def test_a_click_opens_the_folder_under_it_and_a_point_explains_itself(self, page: Tab) -> None:
        corner = page.value(
            "(() => { const box = MODEL.page.map.boxes.find(b => b.label === 'usr');"
            " const r = document.getElementById('map').getBoundingClientRect();"
            " return [r.x + box.x + 5, r.y + box.y + 8]; })()"
        )
        page.click(*corner)
        assert folder(page) == "/usr"
        assert page.value("document.getElementById('tip').hidden") is False


class TestSafety:
    def test_names_are_text_whatever_is_in_them(self, tab: Tab, tmp_path: Path) -> None:
        tab.open(write(tmp_path, LIVE, HIDDEN, title=NASTY))
        tab.press("/", *"alert")
        tab.wait("MODEL.page.matches !== null")
        expected = "/usr/<script>alert(1)<script>\\x1b[31m\\u202egnp.`|"
        assert rows(tab) == [expected]
        assert "\\x1b[31m\\u202egnp" in tab.text("#layers")
        assert tab.value("document.scripts.length") == 2
        assert tab.text("h1") == "<script>alert(1)</script>\ufffd[31m\ufffdgnp.`|"

    def test_the_policy_allows_what_is_in_the_page_and_nothing_else(self, page: Tab) -> None:
        policy = page.value("document.querySelector('meta[http-equiv]').content")
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert page.value(
            "new Promise(done => { const s = document.createElement('script');"
            " s.textContent = 'window.BROKEN = 1'; document.body.append(s);"
            " setTimeout(() => done(window.BROKEN === undefined), 50); })"
        )
        page.errors.clear()  # The browser says that it has refused the script.


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb (WCAG 2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


class TestLook:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_has_contrast(self, page: Tab, scheme: str) -> None:
        page.prefer(scheme=scheme)
        page.settle()
        colours: Mapping[str, str] = page.value(
            "Object.fromEntries(['ground', 'panel', 'text', 'muted', 'accent', 'accent-text',"
            " 'warn', 'folder', 'chosen'].map(name => [name,"
            " getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))"
        )
        for ground in ("ground", "panel", "chosen"):
            for name in ("text", "muted", "accent", "warn"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["text"], colours["folder"]) >= 4.5
        assert contrast(colours["accent-text"], colours["accent"]) >= 4.5
        for colour in page.value("PALETTE"):
            assert contrast("#ffffff", colour) >= 4.5
        assert len(set(page.value("PALETTE"))) == 12

    @pytest.mark.parametrize("width", [320, 500, 1400])
    def test_nothing_is_wider_than_the_window(self, page: Tab, width: int) -> None:
        page.window(width, 800)
        assert page.value("document.documentElement.scrollWidth") <= width

    def test_without_motion_the_map_is_drawn_at_once(self, page: Tab) -> None:
        page.value(
            "window.FRAMES = 0; const draw = MODEL.page.draw.bind(MODEL.page);"
            "MODEL.page.draw = (options) => { window.FRAMES++; draw(options); }; 0"
        )
        page.value("MODEL.page.open(MODEL.page.listed[0])")
        page.settle()
        assert page.value("FRAMES") == 1
        page.press("Escape")
        page.prefer(motion="no-preference")
        page.value("FRAMES = 0; MODEL.page.open(MODEL.page.listed[0])")
        page.wait("FRAMES > 2")


def test_the_command_writes_the_numbers_that_its_json_has(
    tabs: Callable[[], Tab], tmp_path: Path
) -> None:
    path = write_image(tmp_path, sinful_image(), "docker-save")
    ocitool = Command(tmp_path / "store", tmp_path)
    done = ocitool("size", path, "--json", "--html", "page.html")
    assert done.code == 0, done.err
    report: Any = done.json
    tab = tabs()
    tab.open(tmp_path / "page.html")
    totals = tab.value("MODEL.totals")
    for name in ("file_bytes", "live_bytes", "wasted_bytes", "files"):
        assert totals[name] == report[name]
    assert totals["folders"] == report["directories"]
    layers = {str(one["number"]): one for one in report["layers"] if one["file_bytes"]}
    assert set(totals["layers"]) == set(layers)
    for number, sums in totals["layers"].items():
        assert sums == {name: layers[number][name] for name in ("file_bytes", "hidden_bytes")}


def test_the_data_is_json_in_ascii(tmp_path: Path) -> None:
    data = write(tmp_path, LIVE, HIDDEN).read_bytes()
    found = re.search(rb'id="data">(.*?)</script>', data, re.DOTALL)
    assert found is not None
    assert b"<" not in found[1]
    assert found[1].isascii()
    assert json.loads(found[1])["nodes"] == 16
