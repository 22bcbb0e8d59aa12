"""The screen with a large image: a key does as much work as a folder has entries."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ocitool.cli.explore.listing import Listing
from ocitool.cli.explore.look import Look
from ocitool.events import Observer
from ocitool.inside.columns import FILE, FOLDER, ColumnEntry, Columns
from tests.cli.explore.driving import Shown, drive, look_at
from tests.inside.page_data import sinful_image
from tests.support.small_images import write_image

KEYS = [*["down"] * 6, "enter", *["down"] * 6, "enter", "s", *["up"] * 4, "s"]


class LargeLook(Look):
    """A look at an image that has many files more, and counts the folders it is asked for."""

    def __init__(self, look: Look, folders: int) -> None:
        super().__init__(look._image, title="large")
        self.folders = folders
        self.asked: list[int] = []

    def listing(self, what: str, layer: int) -> Listing:
        """Return folders with thirty files and one with very many."""
        many = [ColumnEntry("many", FOLDER, 0, 1)]
        many += [ColumnEntry(f"many/{n:06}", FILE, n, 1) for n in range(self.folders)]
        for number in range(self.folders):
            name = f"y{number % 50:02}"
            if number < 50:
                many.append(ColumnEntry(name, FOLDER, 0, 1))
            many.append(ColumnEntry(f"{name}/d{number}", FOLDER, 0, 1))
            many += [ColumnEntry(f"{name}/d{number}/f{n}", FILE, 9, 1) for n in range(30)]
        listing = Listing(Columns.build(sorted(many, key=lambda e: e.path.split("/"))))
        entries = listing.entries

        def counted(folder: int, **options: Any) -> list[int]:
            self.asked.append(folder)
            return entries(folder, **options)

        listing.entries = counted  # type: ignore[method-assign]
        return listing


def seconds_of_keys(folder: Path, folders: int) -> tuple[float, int, int]:
    """Return how long the keys take, how many folders were read, and how many files there are."""
    took: list[float] = []

    async def journey(shown: Shown) -> None:
        assert shown.tree.listing is not None
        shown.tree.focus()
        large.asked.clear()
        begin = time.monotonic()
        await shown.press(*KEYS)
        took.append(time.monotonic() - begin)
        took.append(shown.tree.listing.file_count)
        assert shown.tree.last_line < 700

    with look_at(write_image(folder, sinful_image())) as look:
        large = LargeLook(look, folders)
        drive(large, journey)
    return took[0], len(large.asked), int(took[1])


def test_only_folders_that_are_opened_are_read(tmp_path: Path) -> None:
    _, asked, files = seconds_of_keys(tmp_path, 1000)
    assert files == 31_000
    # Two folders were opened, and twice all three that are open were sorted.
    assert asked <= 10


def test_a_folder_with_many_files_is_shown_in_parts(tmp_path: Path) -> None:
    async def journey(shown: Shown) -> None:
        await shown.choose("many")
        first = shown.lines()
        assert first[1] == "000999 999 B #1"
        assert first[501] == "… 500 more"
        shown.tree.move_cursor_to_line(501)
        await shown.press("enter")
        assert shown.lines()[501] == "000499 499 B #1"
        assert "… 500 more" not in shown.lines()
        await shown.choose("many/000007")
        assert shown.said().startswith("/many/000007")

    with look_at(write_image(tmp_path, sinful_image())) as look:
        drive(LargeLook(look, 1000), journey)


@pytest.mark.soak
def test_a_key_costs_the_same_at_a_million_files(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    few, _, _ = seconds_of_keys(tmp_path / "small", 1000)
    many, asked, files = seconds_of_keys(tmp_path / "large", 33_000)
    print(f"\n{len(KEYS)} keys: {few:.2f} s at 31,000 files, {many:.2f} s at {files:,}")
    assert files > 1_000_000
    assert asked <= 10
    assert many < 3 * few + 1


def test_the_screen_answers_while_layers_are_read(tmp_path: Path) -> None:
    go = threading.Event()

    class SlowLook(Look):
        def scan(self, observer: Observer) -> None:
            observer.begin("reading", 2_000_000)
            observer.advance(1_000_000)
            go.wait(30)
            super().scan(observer)

    async def journey(shown: Shown) -> None:
        await shown.until(lambda: "reading 1.00 MB of 2.00 MB" in shown.text())
        assert [row[3] for row in shown.rows("layers")][1:] == [
            *("COPY . /", "RUN </script>", "RUN rm", "RUN chown")
        ]
        await shown.press("down", "w", "v", "e", "s", "enter", "tab")
        assert shown.app.focused is not None
        assert shown.app.focused.id == "waste"
        go.set()
        await shown.titled("Files")

    with look_at(write_image(tmp_path, sinful_image())) as look:
        drive(SlowLook(look._image, title="slow"), journey, waits=False)
