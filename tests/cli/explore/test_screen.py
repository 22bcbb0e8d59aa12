"""The screen of `explore`, driven by its keys. A start takes long, so one test presses many."""

from pathlib import Path

import pytest
from textual.widgets import Input

from ocitool.cli.explore.screens import ExtractScreen, FileView, KeysScreen
from ocitool.errors import NotFound
from ocitool.oci import Platform
from tests.cli.explore.driving import Journey, Shown, drive, look_at
from tests.support.root_files import Node, folder
from tests.support.small_images import file, gone, small_image, write_image

STEPS = ["COPY model /opt", "RUN chown -R app /opt", "RUN rm -rf /cache && touch /etc/new"]
FILES = ["▶ opt/ 4.03 kB", "bin 64 B #1", "▶ etc/ 10 B", "evil\\x1b]0;x\\x07 1 B #3"]


def layers() -> list[list[Node]]:
    """Return the layers of an image with the usual sins."""
    return [
        [
            folder("opt"),
            file("opt/model", 4000, text="weights\n"),
            file("opt/notes.txt", 30, text="read \x1b[31mme\n"),
            folder("cache"),
            file("cache/a", 500),
            file("cache/b", 700),
            file("bin", 64, text="\0\1\2\3"),
        ],
        [file("opt/model", 4000, text="weights\n", owner=(7, 0))],
        [gone("cache"), folder("etc"), file("etc/new", 10), file("evil\x1b]0;x\x07", 1)],
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(
        tmp_path_factory.mktemp("small"), small_image(*layers(), codec="gzip", steps=STEPS)
    )


def show(path: Path, journey: Journey, size: tuple[int, int] = (100, 30)) -> list[str]:
    """Show an image, make a journey, and return where files were written."""
    with look_at(path) as look:
        return drive(look, journey, size).written


def test_layers_waste_and_the_largest_files_are_there(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.until(lambda: shown.rows("waste")[0][1] == "1→2")
        assert shown.rows("layers") == [
            ["all", "9.30 kB", "5.20 kB", ""],
            ["1", "5.29 kB", "5.20 kB", STEPS[0]],
            ["2", "4.00 kB", "-", STEPS[1]],
            ["3", "11 B", "-", STEPS[2]],
        ]
        assert shown.rows("waste") == [
            ["4.00 kB", "1→2", "/opt/model"],
            ["1.20 kB", "1→3", "/cache"],
        ]
        assert shown.lines() == FILES
        assert "9.30 kB of files, 5.20 kB (56 %) hidden" in shown.text()
        focused = []
        for _ in range(4):
            assert shown.app.focused is not None
            focused.append(shown.app.focused.id)
            await shown.press("tab")
        assert focused == ["layers", "waste", "filter", "files"]
        await shown.press("q")
        await shown.until(lambda: not shown.app.is_running)

    show(small, journey)


def test_a_question_mark_tells_the_keys(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.press("question_mark")
        await shown.until(lambda: isinstance(shown.app.screen, KeysScreen))
        text = shown.text()
        for what in ("go from layers to waste", "by a regular expression", "write the chosen file"):
            assert what in text
        await shown.press("question_mark")
        await shown.until(lambda: not isinstance(shown.app.screen, KeysScreen))

    show(small, journey)


def test_letters_show_what_a_layer_did_and_again_all_files(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.press("w")
        await shown.titled("Hidden in all layers")
        assert shown.lines() == ["▶ opt/ 4.00 kB", "▶ cache/ 1.20 kB"]
        await shown.press("w", "down", "a")
        await shown.titled("Added by layer 1")
        assert len(shown.lines()) == 3
        await shown.press("down", "c")
        await shown.titled("Changed by layer 2")
        assert shown.lines() == ["▶ opt/ 4.00 kB"]
        await shown.press("down")
        await shown.titled("Changed by layer 3")
        assert shown.lines() == []
        assert shown.said() == f"layer 3: {STEPS[2]}"
        await shown.press("r")
        await shown.titled("Removed by layer 3")
        assert shown.lines() == ["▶ cache/ 1.20 kB"]
        await shown.press("r")
        await shown.titled("Files")
        assert shown.lines() == FILES
        await shown.press("enter")
        await shown.titled("Added by layer 3")
        assert shown.lines() == ["▶ etc/ 10 B", "evil\\x1b]0;x\\x07 1 B #3"]
        await shown.press("escape")
        await shown.titled("Files")

    show(small, journey)


def test_enter_on_waste_shows_where_it_is_and_it_can_be_saved(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"

    async def journey(shown: Shown) -> None:
        await shown.until(lambda: shown.rows("waste")[0][1] == "1→2")
        await shown.press("tab", "down")
        assert shown.said().splitlines() == [
            "/cache  2 files, deleted",
            f"from layer 1: {STEPS[0]}",
            f"by layer 3: {STEPS[2]}",
        ]
        await shown.press("enter")
        await shown.titled("Hidden in layer 1")
        assert shown.lines() == [
            "▶ opt/ 4.00 kB",
            "▼ cache/ 1.20 kB",
            "b 700 B #1",
            "a 500 B #1",
        ]
        await shown.press("down")
        assert "hidden: deleted by layer 3" in shown.said()
        await shown.press("e")
        await shown.until(lambda: isinstance(shown.app.screen, ExtractScreen))
        shown.app.screen.query_one(Input).value = str(target)
        await shown.press("enter")
        await shown.until(lambda: shown.app.written)

    show(small, journey)
    assert target.read_bytes() == (b"cache/b\n" * 100)[:700]


def test_the_tree_opens_sorts_and_says_what_is_chosen(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        shown.tree.focus()
        await shown.press("enter", "down")
        assert shown.lines()[:3] == ["▼ opt/ 4.03 kB", "model 4.00 kB #2", "notes.txt 30 B #1"]
        assert shown.said().splitlines() == [
            "/opt/model",
            "-rw-r--r-- 7:0  4,000 bytes  1970-01-12 13:46  layer 2: RUN chown -R app /opt",
        ]
        await shown.press("down", "s")
        assert shown.lines() == [
            *("bin 64 B #1", "▶ etc/ 10 B", "evil\\x1b]0;x\\x07 1 B #3"),
            *("▼ opt/ 4.03 kB", "model 4.00 kB #2", "notes.txt 30 B #1"),
        ]
        assert shown.said().startswith("/opt/notes.txt")
        assert str(shown.tree.border_subtitle).endswith("by name")
        await shown.press("s")
        assert shown.lines()[0] == "▼ opt/ 4.03 kB"

    show(small, journey)


def test_a_slash_searches_paths_by_regular_expression(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.press("slash", *"MODEL|new$")
        await shown.until(lambda: shown.lines() == ["▶ opt/ 4.00 kB", "▶ etc/ 10 B"])
        assert shown.tree.border_title == "Found"
        await shown.press("enter")
        assert shown.app.focused is shown.tree
        await shown.press("escape")
        await shown.titled("Files")
        assert shown.app.query_one("#filter", Input).value == ""
        await shown.press("slash", "(")
        await shown.until(lambda: shown.lines() == [])
        assert shown.said() == "nothing is here"

    show(small, journey)


def test_files_are_shown_and_written_where_nothing_is(small: Path, tmp_path: Path) -> None:
    target, taken = tmp_path / "out", tmp_path / "taken"
    taken.write_text("mine")

    async def journey(shown: Shown) -> None:
        await shown.choose("opt/notes.txt")
        await shown.press("v")
        await shown.until(lambda: isinstance(shown.app.screen, FileView))
        assert "read \\x1b[31mme" in shown.text()
        await shown.press("escape")
        await shown.choose("bin")
        await shown.press("enter")
        await shown.until(lambda: isinstance(shown.app.screen, FileView))
        assert "00000000  00 01 02 03 00 01 02 03" in shown.text()
        await shown.press("q")
        await shown.choose("opt")
        await shown.press("v")
        await shown.until(lambda: "/opt is not a file" in shown.notes())
        await shown.choose("opt/model")
        await shown.press("e")
        await shown.until(lambda: isinstance(shown.app.screen, ExtractScreen))
        shown.app.screen.query_one(Input).value = str(taken)
        await shown.press("enter")
        await shown.until(lambda: "is there already" in shown.said(".wrong"))
        shown.app.screen.query_one(Input).value = str(target)
        await shown.press("enter")
        await shown.until(lambda: shown.app.written)
        assert f"wrote {target}" in shown.notes()

    assert show(small, journey) == [str(target)]
    assert target.read_bytes() == b"weights\n" * 500
    assert taken.read_text() == "mine"


def test_d_shows_what_differs_in_a_second_image(small: Path, tmp_path: Path) -> None:
    first, *rest = layers()
    changed = [file("opt/notes.txt", 12, text="other words\n"), file("opt/extra", 5)]
    other = write_image(tmp_path, small_image(first, *rest, changed, [gone("bin")]))

    async def journey(shown: Shown) -> None:
        await shown.press("d")
        await shown.titled("Differs")
        assert shown.tree.border_subtitle == "+1 -1 ~1, by size"
        await shown.press("down", "enter")
        assert shown.lines() == ["bin 64 B -", "▼ opt/ 17 B", "notes.txt 12 B ~", "extra 5 B +"]
        await shown.press("down")
        assert shown.said().splitlines()[0] == "/opt/notes.txt  content changed"
        await shown.press("v")
        await shown.until(lambda: isinstance(shown.app.screen, FileView))
        assert "+other words" in shown.text()
        assert "-read \\x1b[31mme" in shown.text()
        await shown.press("escape", "d")
        await shown.titled("Files")

    with look_at(small, other) as look:
        drive(look, journey)


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
def test_it_fits_the_terminal(small: Path, size: tuple[int, int]) -> None:
    async def journey(shown: Shown) -> None:
        text = shown.text()
        assert all(word in text for word in ("Layers", "Hidden", "Files", "opt/"))
        await shown.press("d")
        await shown.until(lambda: "ocitool explore A B" in shown.notes())

    show(small, journey, size)


def test_an_image_that_is_not_there_ends_the_screen_with_the_reason(small: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.until(lambda: not shown.app.is_running)

    with look_at(small) as look:
        look.platform, look.required = Platform.parse("plan9/mips"), True
        assert isinstance(drive(look, journey).failure, NotFound)
